"""Helm and a reader of Kubernetes' own types, of the versions in `tests/deploy/go`: each built once, from Go's index of
modules, into the user's cache folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.harness.install import Install, lack

SOURCE = Path(__file__).parents[1] / "deploy" / "go"
GO = (1, 26)
"""As go.mod says."""
PROGRAMS = {"kinds": ".", "helm": "helm.sh/helm/v4/cmd/helm"}
"""Program → its package."""


def program(name: str) -> Path:
    """Skips the test where it is neither there nor to be built. On two cores Helm takes a minute and a half the first
    time, the other a quarter of that."""
    sources = b"".join((SOURCE / file).read_bytes() for file in ("main.go", "tools.go", "go.mod", "go.sum"))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-bridge"
    built = cache / f"{name}-{hashlib.sha256(sources).hexdigest()[:16]}"
    if built.exists():
        return built
    if (reason := lack("go", GO, "version")) is not None:
        pytest.skip(f"{name} cannot be built: {reason}")
    cache.mkdir(parents=True, exist_ok=True)
    made = cache / f"{built.name}.{os.getpid()}"
    # Not optimised, not linked for a debugger: two thirds of the time.
    command = ["go", "build", "-mod=readonly", "-gcflags=all=-N -l", "-ldflags=-s -w", "-o", str(made), PROGRAMS[name]]
    build = Install(f"the Go modules of {name}", command, SOURCE, CGO_ENABLED="0", GOTOOLCHAIN="local")
    try:
        build.wait()
        made.rename(built)
    finally:
        build.close()
        made.unlink(missing_ok=True)
    return built
