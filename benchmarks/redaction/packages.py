"""Debian packages, fetched and unpacked without being installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote


class NoApt(RuntimeError):
    """The corpus cannot be made here."""


def unpacked(packages: list[str], cache: Path) -> dict[str, tuple[str, Path]]:
    """For each package its version and the folder where its files are; fetches what `cache` does not hold."""
    cache.mkdir(parents=True, exist_ok=True)
    missing = [name for name in packages if not list(cache.glob(f"{name}_*.deb"))]
    if missing:
        _fetch(missing, cache)
    found = {}
    for name in packages:
        archive = max(cache.glob(f"{name}_*.deb"))
        folder = archive.with_suffix("")
        if not folder.is_dir():
            subprocess.run(["dpkg-deb", "-x", archive, folder.with_suffix(".part")], check=True)
            folder.with_suffix(".part").rename(folder)
        found[name] = unquote(archive.name.split("_")[1]), folder
    return found


def _fetch(packages: list[str], cache: Path) -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise NoApt("apt-get and dpkg-deb are needed: the corpus is made from packages of Debian (or Ubuntu)")
    done = subprocess.run(["apt-get", "download", *packages], cwd=cache, capture_output=True, text=True)
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise NoApt(f"apt-get download failed ({why[0]}); after `apt-get update` it may go")
