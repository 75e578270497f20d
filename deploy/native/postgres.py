"""A PostgreSQL of the demo's own: its cluster is made for it, listens on 127.0.0.1 alone, and goes with it."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from deploy.native.processes import Account, ProgramEnded, Programs

USER = "otel_bridge"
DATABASE = "otel_bridge"
_PREFIX = "otel-bridge-demo-"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_connections": "240",  # nine replicas, each twice during a restart
    "autovacuum_freeze_max_age": "1500000000",  # as docker-compose.scale.yml has it
}


def binaries() -> Path | None:
    """Where PostgreSQL's programs are: of the newest that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def account() -> Account | None:
    """Whom it runs as: PostgreSQL refuses root, and its Debian package has made a user for it. None: as we are. Raises
    KeyError: there is no such user."""
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}


class Postgres:
    def __init__(self, folder: Path, port: int, programs: Path) -> None:
        """`folder`: where its data is to be; of another user's only a link to it, who could not reach it there."""
        self._link = folder / "postgres"
        self._programs = programs
        self._account = account()
        self._password = secrets.token_hex(16)
        self._port = port
        self._data = self._link

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self._port}/{DATABASE}"

    def start(self, running: Programs) -> None:
        """Raises TimeoutError or ProgramEnded."""
        if self._account is None:
            self._data.mkdir(mode=0o700)
        else:
            self._data = Path(tempfile.mkdtemp(prefix=_PREFIX))
            os.chown(self._data, self._account["user"], self._account["group"])
            self._link.symlink_to(self._data)
        password = self._data / "password"
        password.touch(0o600)
        if self._account is not None:
            os.chown(password, self._account["user"], self._account["group"])
        password.write_text(self._password, "utf-8")
        cluster = self._data / "cluster"
        self._run("initdb", f"--pgdata={cluster}", f"--username={USER}", "--auth=scram-sha-256",
                  f"--pwfile={password}", "--encoding=UTF8", "--no-locale", "--no-sync")  # fmt: skip
        password.unlink()
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        running.start(
            "postgres",
            [str(self._programs / "postgres"), "-D", str(cluster), "-p", str(self._port), *settings],
            os.environ,
            cwd=self._data,
            stop_signal=signal.SIGINT,  # SIGTERM would wait for its clients
            account=self._account,
        )
        running.wait_for(self._answers, "PostgreSQL listo", 60)
        self._run("createdb", *self._place(), f"--username={USER}", DATABASE, PGPASSWORD=self._password)

    def remove(self) -> None:
        """Its data, once it has stopped."""
        remove_left_over(self._link.parent)

    def _place(self) -> list[str]:
        return ["--host=127.0.0.1", f"--port={self._port}"]

    def _answers(self) -> bool:
        command = [str(self._programs / "pg_isready"), *self._place(), "--quiet"]
        return subprocess.run(command, timeout=10).returncode == 0

    def _run(self, name: str, *arguments: str, **environ: str) -> None:
        done = subprocess.run(
            [str(self._programs / name), *arguments],
            cwd=self._data,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=120,
            **(self._account or {}),
        )
        if done.returncode:
            raise ProgramEnded(f"{name} terminó con {done.returncode}:\n{done.stderr.strip()}")


def remove_left_over(folder: Path) -> None:
    """The data of a cluster that does not run, also of a demo that was killed."""
    link = folder / "postgres"
    data = link.resolve()
    if not link.is_symlink() or data.name.startswith(_PREFIX):
        shutil.rmtree(data, ignore_errors=True)
    link.unlink(missing_ok=True)
