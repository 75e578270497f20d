"""A real PgBouncer before a cluster of `postgres.py`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import psycopg

from tests.harness.ports import free_port
from tests.harness.postgres import Cluster, account
from tests.harness.waiting import wait_for


class PgBouncer:
    def __init__(self, cluster: Cluster, mode: str) -> None:
        """`mode`: session, transaction or statement. It runs until `close`."""
        self.port = free_port()
        folder = cluster.folder / f"pgbouncer-{mode}"
        folder.mkdir()
        (folder / "users").write_text('"postgres" ""\n', encoding="utf-8")
        (folder / "ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={cluster.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {self.port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {folder / 'users'}\n"
            f"pool_mode = {mode}\n",
            encoding="utf-8",
        )
        program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        assert Path(program).exists(), "PgBouncer is not installed (scripts/ensure-tools)"
        self._process = subprocess.Popen(
            [program, str(folder / "ini")], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            **account(),
        )  # fmt: skip
        wait_for(self._answers, "a PgBouncer that answers")

    def _answers(self) -> bool:
        assert self._process.poll() is None, "PgBouncer has ended"
        try:
            with psycopg.connect(self.dsn("postgres"), connect_timeout=2, prepare_threshold=None):
                return True
        except psycopg.OperationalError:
            return False

    def dsn(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)
