"""The package as others get it: an archive of the sources, and the wheel that is built of that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.install import Install

ROOT = Path(__file__).parents[2]
NOT_COPIED = (
    ".*cache*", ".git", ".hypothesis", ".venv", ".run", "node_modules", "__pycache__", "*.egg-info", "build", "dist",
    "data",
)  # fmt: skip
"""`.hypothesis`: other tests write and delete there meanwhile."""
ELSEWHERE = {"tests", "benchmarks", "clients"}
"""What no package is made of, but for `PAGES`."""
PAGES = ("benchmarks/RESULTS.md", "clients/*/README.md")


@dataclass(frozen=True)
class Packages:
    sdist: Path
    wheel: Path


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Built from a copy, so that the checkout stays clean; the wheel from the sdist, as an index's is."""
    source, made = tmp_path_factory.mktemp("source") / "otel-bridge", tmp_path_factory.mktemp("made")
    ignore = shutil.ignore_patterns(*NOT_COPIED)

    def leave(folder: str, names: list[str]) -> set[str]:
        return ignore(folder, names) | (ELSEWHERE if folder == str(ROOT) else set())

    shutil.copytree(ROOT, source, ignore=leave)
    for page in (page for pattern in PAGES for page in ROOT.glob(pattern)):
        copied = source / page.relative_to(ROOT)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, copied)
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, str(made)], cwd=source, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (sdist,) = made.glob("*.tar.gz")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", made, sdist], check=True, timeout=120)
    (wheel,) = made.glob("*.whl")
    return Packages(sdist, wheel)


@pytest.fixture(scope="session")
def wheel(packages: Packages) -> Path:
    return packages.wheel


@pytest.fixture(scope="session")
def plain(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an environment that has the wheel and what it asks for, no extra: what
    `pip install otel-bridge` makes. Skips where no index of packages is reached."""
    folder = tmp_path_factory.mktemp("plain")
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    installing = Install("what the wheel asks for", [*pip, "--retries=1", str(wheel)], folder)
    try:
        installing.wait()
    finally:
        installing.close()
    return folder / "bin"


def clean_environ() -> dict[str, str]:
    """The environment without settings of a bridge, or of a Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHON"))}
