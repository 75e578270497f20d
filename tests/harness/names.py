"""Names that lead where a test wants them to, for the programs that it starts, and can be moved while these run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


class Names:
    """`/etc/hosts` as those see it that start under `under` (as `Bridge.under` takes it), in a mount namespace."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "hosts"
        self._file.write_text("127.0.0.1 localhost\n")
        self.under = ["unshare", "--mount", "sh", "-c", f'mount --bind {self._file} /etc/hosts && exec "$@"', "sh"]
        tried = subprocess.run([*self.under, "true"], capture_output=True, text=True)
        if tried.returncode:
            pytest.skip(f"names of its own take the right to mount: {tried.stderr.strip()}")

    def lead(self, name: str, *addresses: str) -> None:
        """From now on the name has these addresses. The file is written in place: it is the one that is mounted."""
        lines = [f"{address} {name}" for address in addresses]
        self._file.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
