"""The JavaScript client as its users have it: packed, and installed in a project of its own beside the real packages
that it works with. Those come from npm, as the client's lock file says; where none is reached, tests are skipped."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.harness.bridge import ROOT
from tests.harness.install import Install, lack

CLIENT = ROOT / "clients" / "javascript"
NODE = (20, 19)
"""The oldest that the packages run on."""


def npm_packages() -> Path:
    """`node_modules` of the client, installed once for all the workers of a run."""
    missing = lack("node", NODE, "--version") or lack("npm", (0, 0), "--version")
    if missing is not None:
        pytest.skip(missing)
    modules = CLIENT / "node_modules"
    lock = hashlib.sha256((CLIENT / "package-lock.json").read_bytes()).hexdigest()
    modules.mkdir(exist_ok=True)
    with (CLIENT / ".npm-lock").open("w") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        stamp = modules / ".of-lock"
        if not stamp.exists() or stamp.read_text() != lock:
            # No scripts of packages: none of these needs its own.
            quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
            patience = ["--fetch-retries=1", "--fetch-timeout=60000"]
            install = Install("npm packages", ["npm", "ci", *quiet, *patience], CLIENT)
            try:
                install.wait()
            finally:
                install.close()
            stamp.write_text(lock)
    return modules


def tool(name: str, *arguments: str, folder: Path = CLIENT) -> subprocess.CompletedProcess[str]:
    """Runs a command of one of those packages."""
    command = [str(npm_packages() / ".bin" / name), *arguments]
    environ = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=200)


class Project:
    """A folder with the packed client in `node_modules`, and what it is used with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        packages = npm_packages()
        (folder / "package.json").write_text('{"name": "uses-the-client", "private": true}\n')
        self.npm("pack", str(CLIENT), "--ignore-scripts")
        (self.tarball,) = folder.glob("*.tgz")
        # It has no dependencies: no index of packages is asked.
        self.npm("install", "--offline", "--no-audit", "--no-fund", str(self.tarball))
        self.modules = folder / "node_modules"
        for name in ("@modelcontextprotocol", "openai", "zod"):
            (self.modules / name).symlink_to(packages / name)

    def npm(self, *arguments: str) -> None:
        done = subprocess.run(["npm", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr

    def node(self, *arguments: str) -> str:
        """What a program prints."""
        done = subprocess.run(["node", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout
