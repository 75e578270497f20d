"""Housekeeping: what the journal needs done about once a second, off the way of the answers."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from otel_bridge.clock import CLOCK
from otel_bridge.config import Config
from otel_bridge.journal import (
    DamagedPart,
    Journal,
    Reader,
    Store,
    StoreDamaged,
    StoreUnavailable,
    Trimmed,
)
from otel_bridge.ops.counting import Counting
from otel_bridge.ops.space import Space
from otel_bridge.ops.timekeeping import Timekeeping
from otel_bridge.records import Idle, Record

log = logging.getLogger(__name__)

STEP_SECONDS = 1.0
TRIM_ROWS = 50
"""Of each table that one step deletes. Answers wait for a step: p99 beside it is 8.3 ms with 100, 5.9 with 50; with
30 it is no lower, and fewer go."""
TRIM_PAUSES = 4
"""Times that a step of trimming took, in which answers have the writer to themselves before the next."""
IDLE_BATCH = 500
IDLE_ROWS = 50
"""Of those that one transaction lets fall idle: 500 in one took 12 ms."""
SIZE_TRIM_SHARE = 0.9
"""Share of the size limit from which exported segments go before their retention is over. What they are remembered by
(sessions, usage, dedup keys) stays: without it a retry would count twice."""


class Housekeeping:
    """Measures the journal, has what is counted saved, and the store maintained; where this process is the steward, it
    lets sessions fall idle, trims, forgets dedup keys, and mends what a wrong clock has stamped. `step` is a supervised
    worker's; the rest is called from any thread."""

    def __init__(
        self,
        journal: Journal,
        reader: Reader,
        space: Space,
        counting: Counting,
        config: Config,
        stopping: threading.Event,
        refuse: Callable[[Sequence[bytes]], bool],
        readmit: Callable[[Sequence[bytes]], bool],
        keep_key: Callable[[], None],
        tend: Callable[[], None],
    ) -> None:
        """`reader`: for `step` alone. `refuse`: told before sessions (ids) are deleted; from its return on no event of
        theirs comes to the journal, unless it returns False. `readmit`: they are not deleted after all. Both are called
        in the worker's thread. `keep_key`: sees that the key of the user hash is where the next start looks for it; may
        raise OSError. `tend`: what others want done once a second."""
        self._journal = journal
        self._reader = reader
        self._space = space
        self._counting = counting
        self._stopping = stopping
        self._refuse = refuse
        self._readmit = readmit
        self._keep_key = keep_key
        self._tend = tend
        self._is_shared = journal.store.replicas is not None
        self.went_back = reader.identity().went_back
        """What was recognised of the journal last, at this start or an earlier one, or by another replica."""
        self._waits_for: str | None = None
        """Why the last step could not be done."""
        self._timekeeping = Timekeeping(journal, reader, config)
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Takes on a configuration; the next step goes by it."""
        self._retention_us = int(config.retention_days * 86_400e6)
        self._own_retention_us = {
            gpt.id: int(gpt.retention_days * 86_400e6)
            for gpt in config.gpts.values()
            if gpt.retention_days is not None and gpt.retention_days < config.retention_days
        }
        """Of GPTs whose records stay for less."""
        self._idle_after_us = int(config.idle_after_seconds * 1e6)
        self._space.configure(config)
        self._timekeeping.configure(config)

    def measure(self) -> None:
        """Takes the journal's size anew, and what others have recognised of it. Raises StoreError."""
        self._space.measure(self._reader)
        if self._is_shared:
            self.went_back = self._reader.identity().went_back

    def step(self) -> None:
        """Everything, once. A store that cannot be written is told and waited for, and what is damaged holds up nothing
        else; raises StoreError for the rest."""
        CLOCK.watch()
        self._tend()
        try:
            try:
                self._journal.store.keep_in_place()
            finally:
                with contextlib.suppress(OSError):  # what hinders this hinders the journal, which says so
                    self._keep_key()
            self._step()
        except StoreUnavailable as error:
            # The journal says so to its senders, and `/readyz` to everyone; this goes on as soon as it can.
            if self._journal.fatal_error is not None:
                raise
            if self._waits_for != str(error):
                log.error("housekeeping waits: %s", error)
            self._waits_for = str(error)
            self._journal.last_error = self._journal.last_error or str(error)
        else:
            if self._waits_for is not None:
                log.info("housekeeping goes on")
            self._waits_for = None

    def _step(self) -> None:
        clock = self._timekeeping
        parts = [self.measure, self._check, self._save, clock.step]
        if self._counting.is_steward:
            parts += [lambda: clock.mend(self._counting.doubts), self._fall_idle, self._trim]
        for part in (*parts, self._maintain):
            try:
                part()
            except StoreDamaged as error:
                self._journal.damage.note(error)

    def _check(self) -> None:
        """Nothing more is taken into a journal that the next start would refuse."""
        try:
            self._check_or_mend()
        except StoreDamaged as error:
            self._journal.damage.refuses = error
            raise
        self._journal.damage.refuses = None

    def _check_or_mend(self) -> None:
        try:
            self._reader.check()
        except StoreDamaged as error:
            if error.part != DamagedPart.SEGMENTS or self._journal.damage.refuses is not None:
                raise
            self._journal.transact(lambda store: store.rewrite_newest()).result()
            self._reader.check()
            log.warning("%s; it was still in memory, and is written again", error)

    def _save(self) -> None:
        if self._journal.last_error is not None:
            # Nobody may be posting: whether the journal can be written again shows by writing.
            self._counting.save()
            self._journal.last_error = None
        self._counting.save_if_due()

    def _maintain(self) -> None:
        self._journal.store.maintain(self._space.max_size, lambda run: self._journal.run_between_commits(run).result())

    def _fall_idle(self) -> None:
        if not CLOCK.believed:
            return
        before_us = CLOCK.now_us() - self._idle_after_us
        idles = self._reader.idle_candidates(before_us, IDLE_BATCH)
        for start in range(0, len(idles), IDLE_ROWS):
            fall = partial(_fall_idle, idles[start : start + IDLE_ROWS], before_us)
            self._journal.transact(fall).result()

    def _trim(self) -> None:
        make_room = self._needs_room()
        if not (CLOCK.believed or make_room):
            return
        now_us = CLOCK.now_us()
        before_us = now_us - self._retention_us if CLOCK.believed else 0
        own = {gpt: now_us - kept_us for gpt, kept_us in self._own_retention_us.items()} if CLOCK.believed else {}
        pauses = 0 if make_room else TRIM_PAUSES
        deadline = time.monotonic() + STEP_SECONDS / 2
        while time.monotonic() < deadline and not self._stopping.is_set():
            started = time.monotonic()
            sessions = self._old_sessions(before_us, own)
            try:
                trimmed, forgotten = self._journal.transact(
                    partial(_trim_and_forget, before_us, now_us, sessions, make_room, own)
                ).result()
            except StoreDamaged:  # it was undone, and noted; the next step leaves that out
                trimmed, forgotten = Trimmed(1, sessions), 0
            if trimmed.kept_sessions:
                self._readmit(trimmed.kept_sessions)
            if not trimmed.rows and not forgotten:
                return
            if make_room:
                self.measure()
                make_room = self._needs_room()
            now = time.monotonic()
            self._stopping.wait(min(pauses * (now - started), max(0.0, deadline - now)))

    def _needs_room(self) -> bool:
        return self._space.used > SIZE_TRIM_SHARE * self._space.max_size

    def _old_sessions(self, before_us: int, own: Mapping[str, int]) -> list[bytes]:
        """Sessions to delete, of which nothing comes to the journal any more. What came before is in front of the
        deletion, and keeps its session."""
        try:
            sessions = self._reader.old_sessions(before_us, TRIM_ROWS, own)
        except StoreDamaged as error:
            self._journal.damage.note(error)
            return []
        return sessions if sessions and self._refuse(sessions) else []


def _fall_idle(idles: list[Idle], before_us: int, store: Store) -> list[Record]:
    return store.fall_idle(idles, before_us)


def _trim_and_forget(
    before_us: int,
    now_us: int,
    sessions: Sequence[bytes],
    make_room: bool,
    own: Mapping[str, int],
    store: Store,
) -> tuple[Trimmed, int]:
    forgotten = store.forget(TRIM_ROWS) if CLOCK.believed else 0
    return store.trim(before_us, now_us, TRIM_ROWS, sessions, make_room, own), forgotten
