"""What pyproject.toml cannot say: what an operator runs beside the bridge goes into the package, as otel_bridge/files/.

There is one copy of it in the repository, where it is used from. `otel-bridge files` writes it elsewhere
(otel_bridge/commands/files.py), and asks this file what it is where it runs in a repository.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHIPPED = (
    *("grafana/dashboards", "grafana/provisioning", "prometheus", "deploy", "docs"),
    *("docker-compose*.yml", "Dockerfile", ".dockerignore", "requirements/run.txt", "scripts/make-env", ".env.example"),
    *("otel-bridge.toml", "benchmarks/RESULTS.md", "clients/*/README.md"),
)
"""Patterns of files and whole folders. One that nothing fits is left out: an image is built without any of them."""
LEFT_OUT = ("deploy/native", "prometheus/tests", "prometheus/alertmanager/secrets")
"""Within them: programs of the repository, and what is never to leave the machine."""
TARGET = Path("otel_bridge/files")


def shipped() -> list[Path]:
    """The files, relative to the repository, in order."""
    found: set[Path] = set()
    for pattern in SHIPPED:
        for path in ROOT.glob(pattern):
            found.update([path] if path.is_file() else _below(path))
    names = (path.relative_to(ROOT) for path in found if path.is_file())
    return sorted(name for name in names if not _is_left_out(name))


def _below(folder: Path) -> Iterator[Path]:
    """Through links to folders, too: the chart has its boards and rules by such ones."""
    for place, _, names in os.walk(folder, followlinks=True):
        yield from (Path(place, name) for name in names)


def _is_left_out(name: Path) -> bool:
    return name.suffix in (".py", ".pyc") or any(name.is_relative_to(folder) for folder in LEFT_OUT)


class BuildPy(build_py):
    """Copies them into a wheel; names them for an sdist. In an editable installation they stay where they are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for name in shipped():
            target = Path(self.build_lib) / TARGET / name
            self.mkpath(str(target.parent))
            self.copy_file(str(ROOT / name), str(target))

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *(str(name) for name in shipped())]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        ours = () if self.editable_mode else shipped()
        return [*super().get_outputs(include_bytecode), *(str(Path(self.build_lib) / TARGET / name) for name in ours)]


if __name__ == "__main__":
    setup(cmdclass={"build_py": BuildPy})
