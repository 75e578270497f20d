"""A small disk, to be filled; a disk that fails."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


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


@contextmanager
def mounted(under: Path, size: str) -> Iterator[SmallDisk]:
    """A mounted disk of this size ("8m")."""
    folder = under / f"disk-{uuid.uuid4().hex[:6]}"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "otel-bridge-chaos", str(folder)], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"a small disk takes the right to mount a tmpfs: {made.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


class FailingDisk:
    """A disk that can be made to fail: its file system is in an image on a small disk. With that full, what has no
    place in the image yet cannot be written."""

    def __init__(self, folder: Path, image: Path, under: SmallDisk) -> None:
        self.folder = folder
        self._image = image
        self._under = under
        self._device = ""

    def mount(self) -> None:
        made = subprocess.run(["losetup", "--find", "--show", str(self._image)], capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"a disk that fails takes the right to a loop device: {made.stderr.strip()}")
        self._device = made.stdout.strip()
        # A loop device calls a write whole that was cut short. One of a page is written, or it is not.
        Path("/sys/block", Path(self._device).name, "queue", "max_sectors_kb").write_text("4")
        subprocess.run(["mount", "-o", OPTIONS, self._device, str(self.folder)], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.folder)], check=True)
        subprocess.run(["losetup", "--detach", self._device], check=True)

    def fail(self) -> None:
        self._under.fill()

    def mend(self) -> None:
        self._under.free()

    def forget(self) -> None:
        """What is in memory alone is gone, as in a power failure. Nobody uses it now."""
        self.unmount()
        self.mount()


OPTIONS = "nodelalloc,dioread_lock"
"""So that what fails is the data, and not what the file system notes of it: that would be lost for good."""


@contextmanager
def on_little_room(under: Path) -> Iterator[FailingDisk]:
    """A mounted disk that can be made to fail."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("a disk that fails takes mkfs.ext4 (Debian's e2fsprogs)")
    with mounted(under, "24m") as small:
        image = small.folder / "image"
        with image.open("wb") as file:
            file.truncate(64 << 20)  # more than there is
        subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "4096", "-O", "^has_journal", str(image)], check=True)
        folder = under / f"failing-{uuid.uuid4().hex[:6]}"
        folder.mkdir()
        disk = FailingDisk(folder, image, small)
        disk.mount()
        try:
            yield disk
        finally:
            small.free()
            disk.unmount()
