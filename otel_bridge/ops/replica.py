"""One of several replicas: it folds nothing of what it journals, for the steward does that for all (`steward.py`). What
it counts of itself it saves in its lane, and the steward's page has the sum.

A replica that was taken for dead goes on in another lane, in which others have counted before. So what is saved is what
stood in the lane when this process came to it, and what this process has counted since it saved in the lane before.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future

import msgspec

from otel_bridge.clock import CLOCK
from otel_bridge.config import Config
from otel_bridge.errors import StartRefused
from otel_bridge.journal import Journal, Replicas, Store, StoreError
from otel_bridge.metrics import own as own_counts
from otel_bridge.metrics.own import NOTHING, OwnCounts, SelfMetrics
from otel_bridge.metrics.scrapers import Scraper, Scrapers
from otel_bridge.metrics.shared import Shared
from otel_bridge.ops import snapshot
from otel_bridge.ops.steward import Stewardship
from otel_bridge.ops.supervisor import Worker
from otel_bridge.privacy.users import fingerprint
from otel_bridge.records import Record

QUIET_SAVE_SECONDS = 3_600.0
"""Where nothing is counted: what is saved tells the next start until when the clock was believed."""
OWN_PAGE_SECONDS = 1.0
"""That a page waits for this replica's own counters to be saved: without them it shows those of a second ago."""


class Replica:
    """A `Counting`."""

    def __init__(self, config: Config, store: Store, replicas: Replicas, own: SelfMetrics, key: bytes) -> None:
        """`key`: of the user hash. Raises StartRefused."""
        self._config = config
        self._replicas = replicas
        self._own = own
        self.scrapers = Scrapers()
        self._zeros = own.counts()
        self._lane = replicas.lane
        self._elsewhere = NOTHING
        """What of this process's counters is saved in lanes that it had before."""
        self._saved = NOTHING
        """This process's counters as they were saved last."""
        self._saved_at = 0.0
        self._saved_doubt: tuple[int, int] | None = None
        self._written = self._noted = 0
        """How often they were written, and which of these writes is the last that is known to be committed."""
        try:
            if not replicas.claim_key(fingerprint(key)):
                store.close()
                raise StartRefused(
                    f"diario {config.journal_shown}: sus usuarios llevan un hash con otra clave. Todas las "
                    f"réplicas necesitan la misma: copia el archivo {config.key_path} de una que lo sirva, o "
                    "define user_hash_key como allí."
                )
            saved = store.snapshot()
            self._before = _own_of(saved)
            """What others have saved in this lane."""
            self._begin_clock(store, saved)
        except StoreError as error:
            raise StartRefused(error.advice) from error

    def _begin_clock(self, store: Store, saved: tuple[int, bytes] | None) -> None:
        """The clock's witness is whichever replica has believed its clock last."""
        steward = self._replicas.steward()
        try:
            shared = steward.load()[1]
        finally:
            steward.close()
        told = [msgspec.msgpack.decode(body) for body in (shared, saved and saved[1]) if body]
        known = [document["clock"] for document in told if document.get("clock") is not None]
        if known:
            CLOCK.begin(max(known))
        else:
            reader = store.reader()
            newest = reader.segments(store.last - 1, 1) if store.last else []
            reader.close()
            CLOCK.begin(newest[0].arrived_us if newest else None)
        held = msgspec.msgpack.decode(saved[1]).get("held") if saved else None
        CLOCK.held = None if held is None else (held[0], held[1])

    # --- the journal's ------------------------------------------------------------------------------------------------

    def fold(self, records: Sequence[Record], seq: int) -> None:
        pass

    def begin(self, journal: Journal) -> None:
        self._journal = journal
        self._stewardship = Stewardship(
            self._replicas.steward(), self._config, self.scrapers, self._zeros, journal.damage
        )

    # --- the steward's ------------------------------------------------------------------------------------------------

    @property
    def is_steward(self) -> bool:
        return self._stewardship.leads

    @property
    def doubts(self) -> Mapping[int, object]:
        return self._stewardship.doubts

    def workers(self) -> list[Worker]:
        return [Worker("steward", self._stewardship.run)]

    def configure(self, config: Config) -> None:
        self._stewardship.configure(config)

    def stop(self) -> None:
        self._stewardship.stop()

    def shared(self, scraper: Scraper) -> Shared | None:
        if not self._stewardship.leads:
            return None
        if self._own.counts() != self._saved:
            try:
                self._save_own().result(OWN_PAGE_SECONDS)
            except (StoreError, TimeoutError):
                pass  # housekeeping and `/readyz` say so
        return self._stewardship.page(scraper)

    def close(self) -> None:
        pass

    def readiness(self) -> dict[str, object]:
        """For `/readyz`."""
        if self.is_steward:
            words = "esta réplica lleva la cuenta de todas"
        elif self._stewardship.failure is not None:
            words = "no se sabe cuál lleva la cuenta: el diario no responde; el log dice por qué"
        else:
            words = "cuenta otra réplica"
        return {"estado": words, "carril": self._replicas.lane}

    # --- its own counters ---------------------------------------------------------------------------------------------

    def save_if_due(self) -> None:
        is_old = time.monotonic() - self._saved_at > QUIET_SAVE_SECONDS
        if is_old or self._own.counts() != self._saved or CLOCK.held != self._saved_doubt:
            self.save()

    def save(self) -> None:
        self._save_own().result()

    def _save_own(self) -> Future[tuple[int, OwnCounts]]:
        future = self._journal.transact(self._write)
        # By the writer, before it commits anything else: what is saved must be known when the lane changes.
        future.add_done_callback(self._note_saved)
        return future

    def _note_saved(self, future: Future[tuple[int, OwnCounts]]) -> None:
        if not future.cancelled() and future.exception() is None:
            number, counts = future.result()
            if number > self._noted:
                self._noted, self._saved, self._saved_at = number, counts, time.monotonic()

    def _write(self, store: Store) -> tuple[int, OwnCounts]:
        """In the writer's transaction."""
        lane = self._replicas.lane
        if lane != self._lane:
            self._before, self._elsewhere, self._lane = _own_of(store.snapshot()), self._saved, lane
        now = self._own.counts()
        in_lane = own_counts.total([self._before, own_counts.since(now, self._elsewhere)])
        self._saved_doubt = CLOCK.held
        store.save_snapshot(store.last, snapshot.of_replica(in_lane))
        self._written += 1
        return self._written, now


def _own_of(saved: tuple[int, bytes] | None) -> OwnCounts:
    return NOTHING if saved is None else snapshot.own_of(saved[1])
