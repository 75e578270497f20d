"""`make demo` without make: its program, and what it has started."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]


def native(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "deploy.native", "--folder", str(folder / "demo"), *arguments]
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**env, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ours(folder: Path) -> list[str]:
    """Processes that were started for this folder and still run: it is in their command, or they log into it."""
    commands = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        command = " ".join(process.info["cmdline"] or ())
        log = ""
        with contextlib.suppress(OSError):
            log = str(Path(f"/proc/{process.info['pid']}/fd/1").readlink())
        if str(folder) in f"{command} {log}" and process.info["status"] != psutil.STATUS_ZOMBIE:
            commands.append(command)
    return commands


def assert_told(story: Sequence[str], said: str) -> None:
    """That each of these was said."""
    missing = [text for text in story if text not in said]
    assert missing == [], said
