"""The snapshot of what is counted: saved in the journal with its sequence number, restored at the start."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from otel_bridge.errors import StartRefused
from otel_bridge.journal import Store, StoreError
from otel_bridge.metrics.own import OwnCounts, SelfMetrics, dump
from otel_bridge.metrics.scrapers import LabelSet, Scrapers
from otel_bridge.metrics.state import MetricState
from otel_bridge.records import decode

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Counted:
    """What is counted: it is saved and restored as one."""

    state: MetricState
    own: SelfMetrics
    scrapers: Scrapers

    def label_sets(self) -> Iterator[LabelSet]:
        yield from self.state.label_sets()
        yield from self.own.counts().label_sets()


class Saved(NamedTuple):
    """A snapshot that is saved: its sequence number, and the bridge's own counters in it."""

    seq: int
    own: OwnCounts


def save(store: Store, counted: Counted) -> Saved:
    """Saves it in the open transaction. Called in the writer thread, before the group's new records are folded: state
    and sequence number agree. Raises StoreError."""
    own = counted.own.counts()
    document = {"state": counted.state.dump(), "own": dump(own), "scrapers": counted.scrapers.dump()}
    store.save_snapshot(counted.state.seq, msgspec.msgpack.encode(document))
    return Saved(counted.state.seq, own)


def restore(store: Store, counted: Counted) -> None:
    """The state as of the last snapshot, and every record since folded in. Raises StartRefused."""
    try:
        _restore(store, counted)
    except StoreError as error:
        raise StartRefused(error.advice) from error


def _restore(store: Store, counted: Counted) -> None:
    started = time.monotonic()
    state = counted.state
    saved = store.snapshot()
    tells_scrapers = True
    if saved is not None:
        tells_scrapers = _load(store.place, saved, counted)
    else:
        counted.scrapers.stand(counted.label_sets())  # more than these zeros was shown to nobody
    reader = store.reader()
    folded = 0
    while segments := reader.segments(state.seq, 1_000):
        for segment in segments:
            if segment.damaged:
                log.error("segment %d of the journal is damaged: its records cannot be counted", segment.last)
                state.seq = segment.last
                continue
            state.apply(decode(segment.body), segment.last)
            folded += segment.size
    reader.close()
    if not tells_scrapers:
        counted.scrapers.stand(counted.label_sets())  # that release showed values at once
    log.info(
        "journal %s: %d records, %d of them folded since the snapshot, in %.2f s",
        store.place, store.last, folded, time.monotonic() - started,
    )  # fmt: skip


def _load(place: str, saved: tuple[int, bytes], counted: Counted) -> bool:
    """Whether the snapshot tells what scrapers were shown: 0.1.0's does not. Raises StartRefused."""
    seq, body = saved
    try:
        document = msgspec.msgpack.decode(body)
        state_body, own_body = document["state"], document["own"]
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise StartRefused(
            f"journal {place}: the snapshot of metrics cannot be read ({type(error).__name__}). The journal is damaged "
            "and is left as it is: restore it from a backup (`otel-bridge journal restore FILE --replace` moves this "
            "one aside), or move it away to start with an empty journal: what it held and was not exported is then "
            "lost."
        ) from None
    try:
        counted.state.load(seq, state_body)
    except (ValueError, KeyError) as error:
        raise StartRefused(f"journal {place}: {error}. It was written by another release: run that one.") from None
    counted.own.load(own_body)
    scrapers = document.get("scrapers")
    if scrapers is not None:
        counted.scrapers.load(scrapers)
    return scrapers is not None
