"""docker-compose (Debian's 1.29) reads the shipped files: there is no Docker engine where the tests run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from deploy.native.stack import find

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
SCALE = ROOT / "docker-compose.scale.yml"


def compose(
    *arguments: str, folder: Path, files: Sequence[Path] = (FILE,), **environ: str
) -> subprocess.CompletedProcess[str]:
    program = find("docker-compose")
    assert program, "docker-compose is not installed: apt-get install docker-compose"
    empty = folder / "empty.env"  # an .env of this checkout decides nothing here
    empty.touch()
    names = {line.split("=")[0].lstrip("# ") for line in (ROOT / ".env.example").read_text("utf-8").splitlines()}
    env = {name: value for name, value in os.environ.items() if name not in names and name != "COMPOSE_FILE"}
    named = [argument for file in files for argument in ("--file", str(file))]
    command = [program, *named, "--env-file", str(empty), *arguments]
    return subprocess.run(command, cwd=ROOT, env={**env, **environ}, capture_output=True, text=True, timeout=60)


def render(folder: Path, files: Sequence[Path] = (FILE,), **environ: str) -> dict[str, Any]:
    """The files as compose reads it, all profiles included, in the words of 1.29: 2.x leaves out services whose profile
    is not asked for, and writes a port and a dependency at length."""
    done = compose("--profile", "demo", "--profile", "doctor", "config", folder=folder, files=files, **environ)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = yaml.safe_load(done.stdout)
    for service in document["services"].values():
        service["ports"] = [
            f"{port['host_ip']}:{port['published']}:{port['target']}/{port['protocol']}"
            if isinstance(port, dict)
            else str(port)
            for port in service.get("ports", ())
        ]
        for dependency in service.get("depends_on", {}).values():
            assert dependency.pop("required", True) is True
    return document
