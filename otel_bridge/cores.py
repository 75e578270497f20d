"""The processors that this process may use: by its affinity, and by the share of their time that its control groups
allow. A container's limit of processors (`cpus` of Compose, `limits.cpu` of Kubernetes) is such a share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


def has_second_core() -> bool:
    """Whether a second process of ours has time of its own. With the share of a single processor it takes the first
    one's: a batch takes 1.1 times as long with a process for batches as without; with one and a half, 0.73."""
    return cores() > 1


def cores(root: Path = _ROOT) -> float:
    """So many; 1.5 is one and half of another's time. `root`: of the file system."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([float(allowed), *_shares(root)])


def _shares(root: Path) -> Iterator[float]:
    """What each control group of this process allows, those above it included (Linux: cgroups(7); the kernel's
    admin-guide/cgroup-v2, `cpu.max`; scheduler/sched-bwc, `cpu.cfs_quota_us`)."""
    for folder in _folders(root):
        told = _read(folder / "cpu.max") or _read(folder / "cpu.cfs_quota_us") + _read(folder / "cpu.cfs_period_us")
        if len(told) == 2 and all(word.isdigit() for word in told):  # no limit is told as «max», or -1
            quota_us, period_us = map(int, told)
            yield quota_us / period_us


def _folders(root: Path) -> Iterator[Path]:
    """Where such groups may be. A container sees its own group as the root, though its path may be told as the
    host's."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounted = root / "sys/fs/cgroup" / controllers
        group = PurePosixPath(path)
        for above in (group, *group.parents):
            yield mounted / above.relative_to("/")


def _read(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
