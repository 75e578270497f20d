"""A real PostgreSQL: a cluster of its own on a free port, which a test starts, breaks and starts again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import psycopg.conninfo

from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

LAX = {"fsync": "off", "synchronous_commit": "on", "full_page_writes": "off"}
"""For tests that kill no server: a commit does not wait for the disk."""


def libpq(url: str) -> dict[str, Any] | None:
    """What libpq reads in a URL; None where it reads none."""
    try:
        return dict(psycopg.conninfo.conninfo_to_dict(url))
    except psycopg.Error:
        return None


def programs() -> Path | None:
    """Where PostgreSQL's programs are: of the newest that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def account() -> dict[str, Any]:
    """PostgreSQL does not run as root: there it runs as its own user."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}


def own(folder: Path) -> None:
    """Gives it to PostgreSQL's account."""
    if user := account():
        os.chown(folder, user["user"], user["group"])


@contextmanager
def public() -> Iterator[Path]:
    """A folder that PostgreSQL's account can reach, as pytest's cannot be."""
    with tempfile.TemporaryDirectory(prefix="otel-bridge-pg-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def _signal(processes: list[psutil.Process], what: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(what)


class Cluster:
    """One server and its data. `settings` go into its postgresql.conf."""

    def __init__(
        self, settings: Mapping[str, str] | None = None, copy_of: Cluster | None = None, under: Path | None = None
    ) -> None:
        """Makes the data folder (`under`: there), and starts nothing. `copy_of`: as a standby of this one, which
        runs."""
        bin_folder = programs()
        assert bin_folder is not None, "PostgreSQL is not installed"
        self._bin = bin_folder
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="otel-bridge-pg-", dir=under))
        self._account = account()
        own(self.folder)
        self.data = self.folder / "data"
        self.process: subprocess.Popen[bytes] | None = None
        self.log = self.folder / "log"
        if copy_of is None:
            self.program("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale",
                         "--no-sync")  # fmt: skip
        else:
            self.program("pg_basebackup", "-D", str(self.data), "-h", "127.0.0.1", "-p", str(copy_of.port),
                         "-U", "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync")  # fmt: skip
        self.configure(
            {
                "port": str(self.port),
                "listen_addresses": "'127.0.0.1'",
                "unix_socket_directories": f"'{self.folder}'",
                "max_connections": "60",
                "shared_buffers": "64MB",
                "logging_collector": "off",
                "cluster_name": f"'pg{self.port}'",
                **(settings or {}),
            }
        )

    def program(self, name: str, *arguments: str) -> str:
        """Runs one of PostgreSQL's programs to its end; what it says."""
        done = subprocess.run(
            [str(self._bin / name), *arguments], cwd=self.folder, capture_output=True, text=True, timeout=120,
            **self._account,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Adds settings: they hold from the next start, or `reload`."""
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def reload(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def start(self) -> Cluster:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self.data)], cwd=self.folder, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True, **self._account,
            )  # fmt: skip
        wait_for(self.answers, "a PostgreSQL that answers", 60)
        return self

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
        try:
            with psycopg.connect(self.dsn("postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: fast; SIGQUIT: immediate, as a crash is; SIGTERM waits for its clients."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        self.process = None

    def crash(self) -> None:
        """As an immediate restart does: nothing is written any more, and recovery begins from the log."""
        self.stop(signal.SIGQUIT)

    def restart(self) -> None:
        """An immediate one."""
        self.crash()
        self.start()

    def processes(self) -> list[psutil.Process]:
        """The postmaster and all its children."""
        assert self.process is not None
        postmaster = psutil.Process(self.process.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stands still meanwhile, whole, and closes no connection: as a machine that hangs."""
        processes = self.processes()
        try:
            _signal(processes, signal.SIGSTOP)
            yield
        finally:
            _signal(processes, signal.SIGCONT)

    def close(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- what is in it ------------------------------------------------------------------------------------------

    def dsn(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, *values: Any, database: str = "postgres") -> list[tuple[Any, ...]]:
        """As somebody else with access to the data would. Each statement is a transaction of its own."""
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def database(self, template: str = "template1") -> str:
        """Makes a new database; its name."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def terminate(self, database: str, like: str = "%", waits: str = "%", how: str = "terminate") -> int:
        """Ends the back ends of this database whose statement is like that, and that wait for something like `waits`
        ("SyncRep"); how many there were. `how`: "cancel" ends the statement alone."""
        return len(
            self.sql(
                f"SELECT pg_{how}_backend(pid) FROM pg_stat_activity WHERE datname = %s AND query LIKE %s "
                "AND coalesce(wait_event, '') LIKE %s AND pid <> pg_backend_pid()",
                database, like, waits,
            )
        )  # fmt: skip

    def connections(self, database: str) -> int:
        """That clients hold to this database."""
        return int(self.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", database)[0][0])

    def alter(self, **settings: str) -> None:
        """Settings that hold at once; "DEFAULT": as configured."""
        for name, value in settings.items():
            self.sql(f"ALTER SYSTEM SET {name} = {value}")
        self.sql("SELECT pg_reload_conf()")
        for name, value in settings.items():
            if value != "DEFAULT":
                wait_for(lambda name=name, value=value: self._shows(name, value), f"{name} = {value}", 10)  # type: ignore[misc]

    def _shows(self, name: str, value: str) -> bool:
        return bool(self.sql(f"SHOW {name}")[0][0] == value.strip("'"))

    def promote(self) -> None:
        """Makes a standby the primary; returns when it takes writes."""
        self.program("pg_ctl", "promote", "-D", str(self.data), "-w")
        deadline = time.monotonic() + 60
        while self.sql("SELECT pg_is_in_recovery()")[0][0]:
            assert time.monotonic() < deadline, "the standby was not promoted"
            time.sleep(0.05)
