"""Programs that are built from Go's index of modules: each once, into the user's cache folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

import pytest

from tests.harness.install import INSTALL_SECONDS, Install, lack


def go_program(
    name: str,
    source: Path,
    least: tuple[int, int],
    *,
    package: str = ".",
    tags: str | None = None,
    build: bool = True,
    optimised: bool = False,
    seconds: float = INSTALL_SECONDS,
) -> Path:
    """The program of a package, by the go.mod and the Go files in `source`. `least`: the Go that go.mod asks for.
    `optimised`: as it is released, for a measurement. Skips the test where it is neither there nor to be built."""
    files = [*sorted(source.glob("*.go")), source / "go.mod", source / "go.sum"]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-bridge"
    kept = f"{name}-optimised" if optimised else name
    program = cache / f"{kept}-{hashlib.sha256(b''.join(file.read_bytes() for file in files)).hexdigest()[:16]}"
    if program.exists():
        return program
    if not build:
        pytest.skip(f"{name} is not built; make chaos builds it")
    if (reason := lack("go", least, "version")) is not None:
        pytest.skip(f"{name} cannot be built: {reason}")
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:  # tests of several files run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(name, source, package, tags, optimised, program, seconds)
    return program


def _build(
    name: str, source: Path, package: str, tags: str | None, optimised: bool, program: Path, seconds: float
) -> None:
    made = program.with_name(f"{program.name}.{os.getpid()}")
    flags = ["-mod=readonly", "-ldflags=-s -w"]
    if tags is not None:
        flags.append(f"-tags={tags}")
    if not optimised:  # two thirds of the time, with no tables for a debugger
        flags.append("-gcflags=all=-N -l")
    command = ["go", "build", *flags, "-o", str(made), package]
    building = Install(f"the Go modules of {name}", command, source, CGO_ENABLED="0", GOTOOLCHAIN="local", GOFLAGS="")
    try:
        building.wait(seconds)
        made.rename(program)
    finally:
        building.close()
        made.unlink(missing_ok=True)
