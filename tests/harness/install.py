"""Programs that tests install for themselves, from an index of packages; where none is reached, the tests say so and
are skipped."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

INSTALL_SECONDS = 400

_UNREACHABLE = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ECONNRESET|ENETUNREACH|ERR_SOCKET_TIMEOUT|network timeout|"
    r"no such host|i/o timeout|TLS handshake timeout|connection refused|network is unreachable|module lookup disabled|"
    r"Failed to establish a new connection|Name or service not known|Temporary failure in name resolution|"
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|dns error|"
    r"error sending request|client error \(Connect\)"
)
"""What npm, Go, pip and uv say where no index can be reached. Anything else is a fault of ours."""


class Install:
    """A program that installs something, begun at once, so that two of them run side by side."""

    def __init__(self, what: str, command: list[str], folder: Path, **environ: str) -> None:
        self._what = what
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 — `close` closes it
        self._process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environ}, stdout=self._output, stderr=subprocess.STDOUT
        )

    def wait(self, seconds: float = INSTALL_SECONDS) -> None:
        """Skips the test where no index was reached."""
        code = self._process.wait(seconds)
        self._output.seek(0)
        said = self._output.read()
        if code and _UNREACHABLE.search(said):
            pytest.skip(f"{self._what} were not installed, for no index of packages was reached: {said[-200:]}")
        assert code == 0, said

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._output.close()


class NpmPackages:
    """The packages of a folder's package-lock.json, in its node_modules: installed once for each lock."""

    def __init__(self, folder: Path) -> None:
        self._stamp = folder / "node_modules" / ".of-lock"
        self._lock = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
        self._install = None
        if not (self._stamp.exists() and self._stamp.read_text() == self._lock):
            # No scripts of packages: none of ours needs its own, and one reports to its makers.
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
            self._install = Install("npm packages", [*command, "--fetch-retries=1", "--fetch-timeout=60000"], folder)

    def wait(self) -> None:
        """Skips the test where no index was reached."""
        if self._install is not None:
            self._install.wait()
            self._stamp.write_text(self._lock)

    def close(self) -> None:
        if self._install is not None:
            self._install.close()


def lack(program: str, least: tuple[int, int], *asking: str) -> str | None:
    """Why a program cannot be used here; None where it can."""
    if shutil.which(program) is None:
        return f"{program} is not installed"
    said = subprocess.run([program, *asking], capture_output=True, text=True, timeout=60).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < least:
        return f"{program} is older than {least[0]}.{least[1]}: {said.strip()}"
    return None
