"""What the chaos suite shares: its length, its voice, a small disk."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.ledger import Say

LONG = os.environ.get("CHAOS") == "long"
long_form = pytest.mark.skipif(not LONG, reason="of the long form: make chaos")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Say:
    """Prints a line of figures whatever pytest captures."""

    def line(text: str) -> None:
        with capsys.disabled():
            print(f"\n  {request.node.name}: {text}", flush=True)

    return line


class SmallDisk:
    """A file system of its own, in memory, of a few megabytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ballast = folder / "ballast"

    def fill(self) -> None:
        """Takes what is left, to the last byte."""
        with self.ballast.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while file.write(b"\0" * size) == size:
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        self.ballast.unlink(missing_ok=True)

    def remount(self, *options: str) -> None:
        subprocess.run(["mount", "-o", ",".join(("remount", *options)), str(self.folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], SmallDisk]]:
    """`small_disk("8m")` → a mounted disk of that size."""
    mounted: list[Path] = []

    def make(size: str) -> SmallDisk:
        folder = tmp_path / f"disk-{uuid.uuid4().hex[:6]}"
        folder.mkdir()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "otel-bridge-chaos", str(folder)],
            capture_output=True,
            text=True,
        )
        if made.returncode:
            pytest.skip(f"a small disk takes the right to mount a tmpfs: {made.stderr.strip()}")
        mounted.append(folder)
        return SmallDisk(folder)

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False)
