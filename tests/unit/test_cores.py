"""How many processors this process may use, as a control group's files tell it, and as a real one does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_bridge.cores import cores
from tests.harness.waiting import wait_for

V1 = Path("/sys/fs/cgroup/cpu")
V2 = Path("/sys/fs/cgroup")


def tree(root: Path, groups: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return root


OF_V1 = "5:memory:/a\n4:cpu,cpuacct:/docker/1f\n1:name=systemd:/b\n0::/\n"


@pytest.mark.parametrize(
    "groups,files,share",
    [
        ("0::/\n", {"cpu.max": "50000 100000"}, 0.5),  # a container's own view
        ("0::/kubepods/pod1/2c\n", {"cpu.max": "25000 100000"}, 0.25),  # the host's path, the container's mount
        ("0::/a/b\n", {"a/cpu.max": "30000 60000", "a/b/cpu.max": "max 100000"}, 0.5),  # of the group above
        ("0::/a/b\n", {"a/cpu.max": "80000 100000", "a/b/cpu.max": "20000 100000"}, 0.2),
        (OF_V1, {"cpu,cpuacct/cpu.cfs_quota_us": "75000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 0.75),
        (
            OF_V1,
            {"cpu,cpuacct/docker/1f/cpu.cfs_quota_us": "5000", "cpu,cpuacct/docker/1f/cpu.cfs_period_us": "10000"},
            0.5,
        ),
    ],
)
def test_a_share_of_the_processors(tmp_path: Path, groups: str, files: dict[str, str], share: float) -> None:
    assert cores(tree(tmp_path, groups, files)) == share


@pytest.mark.parametrize(
    "groups,files",
    [
        ("0::/\n", {}),
        ("0::/\n", {"cpu.max": "max 100000"}),
        ("0::/\n", {"cpu.max": ""}),
        (OF_V1, {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"}),
        ("5:memory:/a\n", {"memory/a/cpu.max": "50000 100000"}),
        ("0::/\n", {"cpu.max": "900000000 100000"}),  # more than there are
    ],
)
def test_no_share(tmp_path: Path, groups: str, files: dict[str, str]) -> None:
    assert cores(tree(tmp_path / "a", groups, files)) == cores(tmp_path / "a system that tells nothing")


@pytest.fixture
def half_a_core() -> Iterator[Path]:
    """A control group whose processes get half of a processor's time."""
    is_v1 = (V1 / "cpu.cfs_quota_us").exists() or (V1 / "cpu.shares").exists()
    group = (V1 if is_v1 else V2) / f"otel-bridge-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    try:
        try:
            if is_v1:
                (group / "cpu.cfs_period_us").write_text("100000")
            (group / ("cpu.cfs_quota_us" if is_v1 else "cpu.max")).write_text("50000" if is_v1 else "50000 100000")
        except OSError as error:
            pytest.skip(f"control groups limit no processors here: {error.strerror}")
        yield group
    finally:
        wait_for(lambda: group.rmdir() or True, "its process is gone from the group")


def test_a_real_group(half_a_core: Path) -> None:
    within = f"import os; open({str(half_a_core / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))"
    script = f"{within}; from otel_bridge.cores import cores, has_second_core; print(cores(), has_second_core())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "0.5 False\n", done.stderr
