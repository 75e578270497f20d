"""Two real PostgreSQL servers: a primary and its standby, which takes its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.harness.postgres import LAX, Cluster
from tests.harness.waiting import wait_for


class Pair:
    """`synchronous`: a commit returns when the standby has it on its disk, too. What crashes here are servers, never
    the machine: so nothing waits for the disk itself."""

    def __init__(self, synchronous: bool = True, settings: Mapping[str, str] | None = None) -> None:
        self.synchronous = synchronous
        self._settings = {**LAX, "full_page_writes": "on", "wal_receiver_status_interval": "1s", **(settings or {})}
        self._gone: list[Cluster] = []
        self.primary = Cluster(self._settings).start()
        self.standby: Cluster | None = None
        self.ports = [self.primary.port]
        self.add_standby()

    def add_standby(self) -> Cluster:
        """A new standby for the primary, and its port in the DSN. Returns when it follows (and commits wait for it)."""
        made = Cluster({**self._settings, "synchronous_standby_names": "''"}, copy_of=self.primary)
        self.standby = made.start()
        self.ports.append(made.port)
        state = "sync" if self.synchronous else "async"
        if self.synchronous:
            self.primary.alter(synchronous_standby_names=f"'pg{made.port}'")
        wait_for(
            lambda: [(state,)] == self.primary.sql("SELECT sync_state FROM pg_stat_replication"), f"{state} standby"
        )
        return made

    def dsn(self, database: str) -> str:
        """Of all hosts: whoever takes writes is found."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"postgresql://postgres@{hosts}/{database}?target_session_attrs=read-write"

    @contextmanager
    def behind(self) -> Iterator[None]:
        """The standby gets nothing meanwhile: of a synchronous pair, commits hang within COMMIT."""
        assert self.standby is not None
        with self.standby.stopped():
            yield

    def cut_off(self) -> None:
        """The standby of an asynchronous pair gets nothing any more: what is committed from now on goes with the
        primary."""
        assert self.standby is not None and not self.synchronous
        self.standby.alter(primary_conninfo="''")
        wait_for(lambda: not self.primary.sql("SELECT 1 FROM pg_stat_replication"), "a standby that is cut off")

    def fail_over(self) -> Cluster:
        """The primary crashes and stays away, the standby takes its place."""
        assert self.standby is not None
        self._gone.append(self.primary)
        self.primary.crash()
        self.standby.promote()
        self.primary, self.standby = self.standby, None
        return self.primary

    def close(self) -> None:
        for one in (self.standby, self.primary, *self._gone):
            if one is not None:
                one.close()
