"""A replica's hold on its lane: the connection that it writes through, the row as it left it, and what becomes of a
commit whose answer is lost.

The states are those of `lane.py`. Whoever calls anything here that may change the row goes on from `held` afterwards.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from otel_bridge.clock import CLOCK
from otel_bridge.errors import StartRefused
from otel_bridge.journal.postgres import identity, lane, migrations, schema
from otel_bridge.journal.postgres.connection import (
    CANCELLED,
    CONFIRM,
    Connection,
    connect,
    is_lost,
    place,
    store_error,
    translated,
    words,
)
from otel_bridge.journal.postgres.generations import Generations
from otel_bridge.journal.postgres.lane import Held
from otel_bridge.journal.postgres.patience import Patience
from otel_bridge.journal.postgres.prepared import Prepared
from otel_bridge.journal.store import (
    DamagedPart,
    OutcomeUnknown,
    StoreError,
    StoreLost,
    StoreUnavailable,
    WentBack,
)

log = logging.getLogger(__name__)

LOCK_SECONDS = 5
"""For which the question what became of a commit waits for that commit, before it is asked anew."""
RETRY_SECONDS = 0.5
"""After a server could not be reached, before it is tried again."""

PATIENCE_SECONDS = 20.0
"""For which an answer is waited for. Longer than a server takes over a commit when it is busiest."""


class Holding:
    """Belongs to the writer thread."""

    def __init__(self, dsn: str, orphan: tuple[Connection, Held, uuid.UUID] | None = None) -> None:
        """Claims a lane, or makes one. `orphan`: drains this one, and takes no other in its place. Raises
        StartRefused."""
        self.dsn = dsn
        self.patience = Patience(PATIENCE_SECONDS)
        self.generations = Generations()
        self._drains = orphan is not None
        self._uncertain: tuple[Held, Held] | None = None
        """The row before and after the commit whose outcome is not known; the same twice where it is known not to be
        taken."""
        self._cancelled = False
        self._retry_at, self._why_away = 0.0, ""
        if orphan is not None:
            self.db, self.held, self._owner = orphan
            self._watch(self.db)
            self._take_on(self.held)
            return
        self._owner = uuid.uuid4()
        try:
            self.db = self._connect()
        except psycopg.Error as error:
            raise StartRefused(store_error(error).advice) from error
        try:
            unfit = migrations.unfit(migrations.found(self.db))
            if unfit is not None:
                raise StartRefused(f"diario {place(dsn)}: {unfit}.")
            self._take_lane()
        except BaseException as error:
            self.db.close()
            if isinstance(error, psycopg.Error):
                raise StartRefused(store_error(error).advice) from error
            raise

    def _connect(self) -> Connection:
        db = connect(self.dsn, self.patience)
        self._watch(db)
        return db

    def _watch(self, db: Connection) -> None:
        self.prepared = Prepared(db)
        db.add_notice_handler(self._on_notice)

    def _on_notice(self, notice: psycopg.errors.Diagnostic) -> None:
        # A COMMIT whose wait for its standby was cancelled «succeeds» with a warning: it may be lost in a failover.
        if notice.sqlstate == CANCELLED:
            self._cancelled = True

    # --- the row --------------------------------------------------------------------------------------------------

    def _take_lane(self) -> None:
        held = lane.claim(self.db, self._owner)
        assert held is not None
        self._take_on(held)

    def _take_on(self, held: Held) -> None:
        # The turn first: where it cannot be loaded now, the row is still not as this replica knows it, and the next
        # commit finds that out again. The other way round keys would go where no other replica looks.
        if self.generations.now != held.turn or not self.generations.now.turn:
            self.generations.load(self.db, held.turn)
        self.held = held

    def again(self) -> None:
        """Finds out why the row is not as this replica left it, and takes on what it may. Raises StoreLost,
        psycopg.Error."""
        found = lane.look(self.db, self.held.lane)
        if found is not None:
            self._refuse_gone_back(self.held, found[1])
        if found is None or found[0] != self._owner:
            self._fence()
            return
        now = found[1]
        if now.commits != self.held.commits:
            self._confirmed(CONFIRM)
            raise StoreLost(f"lane {self.held.lane} was written by another process that says it is this one")
        if now.turn != self.held.turn or now.epoch != self.held.epoch:
            self._take_on(now)

    def turn(self) -> None:
        """Takes on a turn that was just told to all lanes, also within a transaction. Raises psycopg.Error."""
        found = lane.look(self.db, self.held.lane)
        if found is not None and found[1].epoch == self.held.epoch and found[1].commits == self.held.commits:
            self.generations.load(self.db, found[1].turn)
            self.held.turn = found[1].turn

    def _fence(self) -> None:
        """Another has taken this lane, for this replica was silent for long: it goes on with another lane."""
        before = self.held.lane
        if self._drains:
            raise StoreLost(f"lane {before} is drained by another replica now")
        self._take_lane()
        log.warning(
            "lane %d was taken over while this replica was silent: it goes on in lane %d", before, self.held.lane
        )

    def _refuse_gone_back(self, before: Held, now: Held) -> None:
        """Whoever has the lane by now: it only grows. Another may have claimed it first, in a failover that took longer
        than its lease. Raises StoreLost."""
        if now.commits >= before.commits and now.last >= before.last:
            return
        base = schema.base(self.held.lane)
        found = WentBack("older", now.last - base, self.held.last - base, 0, CLOCK.now_us())
        # Whoever starts next would not see it: the journal says it.
        self._confirmed("UPDATE otel_bridge.journal SET went_back = %s", identity.encoded(found))
        raise StoreLost(
            f"the journal went back: lane {self.held.lane} had {found.before} records, and has {found.last} now. A "
            "standby that was behind was promoted, or a backup put in place: records that were acknowledged are gone. "
            "Nothing more is taken by this process; see the runbook of a journal that went back"
        )

    def _confirmed(self, write: str, *values: Any) -> None:
        """Ends a write before anything is concluded from what was read: a primary that was taken for gone, and that its
        standby has followed, has less than the journal, and cannot end one. Raises psycopg.Error."""
        self._cancelled = False
        self.db.execute(write, values or None)
        if self._cancelled:
            self.db.close()
            raise psycopg.OperationalError("the server may not be the one that takes writes any more")

    def renew(self) -> None:
        """Lengthens the lease. Raises StoreUnavailable, StoreLost."""
        self.ready()
        with self.server():
            if not lane.renew(self.db, self.held):
                self.again()

    # --- the server -----------------------------------------------------------------------------------------------

    @contextmanager
    def server(self, part: DamagedPart = DamagedPart.ANY) -> Iterator[None]:
        """Whatever is asked of the server: its errors as the store's."""
        try:
            with translated(part):
                yield
        except StoreError as error:
            if isinstance(error.__cause__, psycopg.errors.ReadOnlySqlTransaction):
                self.db.close()  # it is a standby now: the next connection looks for the primary
            raise

    def ready(self) -> None:
        """A connection that is open, and a row that is as it was left. Raises StoreUnavailable, StoreLost."""
        if not self.db.closed:
            return
        if time.monotonic() < self._retry_at:
            raise StoreUnavailable(self._why_away)
        try:
            with self.server():
                self.db = self._connect()
                if not lane.renew(self.db, self.held):
                    self.again()
        except StoreUnavailable as error:
            # Whoever comes next is told at once, and does not wait for a server that does not answer.
            self._retry_at, self._why_away = time.monotonic() + RETRY_SECONDS, str(error)
            raise

    def roll_back(self) -> None:
        """Raises nothing."""
        if not self.db.closed and self.db.info.transaction_status != TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                self.db.execute("ROLLBACK")

    def close(self) -> None:
        """Gives the lane to whoever wants it, but where an outcome was not learnt."""
        if self._uncertain is None and not self.db.closed:
            with suppress(psycopg.Error):
                self.roll_back()
                lane.release(self.db, self.held)
        self.db.close()

    # --- a commit -------------------------------------------------------------------------------------------------

    def after(self, last: int, total: int) -> Held:
        """The row as a commit will leave it."""
        held = self.held
        return Held(held.lane, held.epoch, last, total, held.commits + 1, held.turn)

    def refuse(self) -> OutcomeUnknown:
        """What says that a commit was not taken and is to be written again, on the row as it is by then."""
        self._uncertain = self.held, self.held
        return OutcomeUnknown("the lane's row has changed")

    @property
    def refused(self) -> bool:
        """Whether the commit in hand is known not to be taken."""
        return self._uncertain is not None and self._uncertain[0] is self._uncertain[1]

    @contextmanager
    def committing(self, after: Held) -> Iterator[None]:
        """Around what commits, at once or last of all. Raises OutcomeUnknown, and StoreError where nothing was taken.
        When it is left the row is `after`."""
        self._uncertain = self.held, after
        try:
            with self.server():
                yield
        except StoreError as error:
            if is_lost(error.__cause__):
                raise OutcomeUnknown(str(error), error.advice) from error.__cause__
            self._uncertain = None
            raise
        except BaseException:
            self._uncertain = None
            raise
        if self._cancelled:
            raise OutcomeUnknown("the wait of a commit for its synchronous standby was cancelled")
        self._uncertain = None
        self.held = after

    def forget(self) -> None:
        """No commit is in hand."""
        self._uncertain = None

    def resolve(self) -> bool | None:
        """As `Store.resolve_outcome`."""
        assert self._uncertain is not None
        before, after = self._uncertain
        self._cancelled = False
        try:
            if self.db.closed:
                self.db = self._connect()
            else:
                self.roll_back()
            self.db.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
            now = lane.take_again(self.db, before.lane, self._owner)
            self.db.execute("SET lock_timeout = 0")
            if self._cancelled:
                return None  # this answer, too, is not on the standby
            taken = self._taken(before, after, now)
        except psycopg.Error as error:
            log.debug("the outcome is not known yet: %s", words(error))
            return None
        self._uncertain = None
        return taken

    def _taken(self, before: Held, after: Held, now: Held | None) -> bool:
        if now is None:
            found = lane.look(self.db, before.lane)
            if found is not None:
                self._refuse_gone_back(before, found[1])
            # The lane is another's. What this life wrote there bears its epoch.
            row = self.db.execute(
                "SELECT 1 FROM otel_bridge.segment WHERE last = %s AND epoch = %s", (after.last, before.epoch)
            ).fetchone()
            self._fence()
            return row is not None and after.last > before.last
        self._refuse_gone_back(before, now)
        self._take_on(now)
        return now.commits == after.commits and after is not before
