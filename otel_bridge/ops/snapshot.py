"""The snapshot of what is counted: saved in the journal with its sequence number, restored at the start."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from otel_bridge import clock
from otel_bridge.clock import CLOCK
from otel_bridge.errors import StartRefused
from otel_bridge.journal import Reader, Segment, Store, StoreError
from otel_bridge.metrics.own import OwnCounts, SelfMetrics, dump, loaded
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


def save(store: Store, counted: Counted, state: tuple[int, bytes] | None = None) -> Saved:
    """Saves it in the open transaction, in the writer thread. `state`: as `MetricState.dump_at` gave it last; a restart
    folds what came since. None: as it is now. Raises StoreError."""
    own = counted.own.counts()
    seq, body = state or counted.state.dump_at()
    document = {
        "state": body,
        "own": dump(own),
        "scrapers": counted.scrapers.dump(),
        "clock": CLOCK.known_us(),
        "held": CLOCK.held,
    }
    store.save_snapshot(seq, msgspec.msgpack.encode(document))
    return Saved(seq, own)


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
    CLOCK.begin(_witness(store, saved, reader))
    held = msgspec.msgpack.decode(saved[1]).get("held") if saved else None
    CLOCK.held = None if held is None else (held[0], held[1])
    if saved is None:
        first = reader.segments(0, 1)
        counted.scrapers.began_us = first[0].arrived_us if first else clock.now_us()
    folded = 0
    while segments := reader.segments(state.seq, 1_000):
        for segment in segments:
            missing = segment.last - segment.size - state.seq
            if missing > 0:
                log.error(
                    "records %d to %d are not in the journal: the ledger shows a gap",
                    state.seq + 1,
                    state.seq + missing,
                )
                state.skip(missing, state.seq + missing)
            fold(state, segment)
            if not segment.damaged:
                folded += segment.size
    reader.close()
    if not tells_scrapers:
        counted.scrapers.stand(counted.label_sets())  # that release showed values at once
    log.info(
        "journal %s: %d records, %d of them folded since the snapshot, in %.2f s",
        store.place, store.last, folded, time.monotonic() - started,
    )  # fmt: skip


def fold(state: MetricState, segment: Segment) -> None:
    """Folds a segment in; of a damaged one its spans are counted as accepted."""
    if not segment.damaged:
        state.apply(decode(segment.body), segment.last)
        return
    log.error(
        "records %d to %d of the journal are damaged: %s%d of them are accepted and in no other series",
        segment.last - segment.size + 1, segment.last, "" if segment.exact else "up to ", segment.spans,
    )  # fmt: skip
    state.skip(segment.spans, segment.last)


def of_replica(counts: OwnCounts) -> bytes:
    """What a replica saves of itself in its lane."""
    return msgspec.msgpack.encode({"own": dump(counts), "clock": CLOCK.known_us(), "held": CLOCK.held})


def own_of(saved: bytes) -> OwnCounts:
    """The bridge's own counters in what `of_replica`, or a bridge on one machine, has saved."""
    return loaded(msgspec.msgpack.decode(saved)["own"])


def doubt_of(saved: bytes) -> object:
    """When the replica that has saved this did not believe its clock last; None: never."""
    held = msgspec.msgpack.decode(saved).get("held")
    return None if held is None else tuple(held)


def _witness(store: Store, saved: tuple[int, bytes] | None, reader: Reader) -> int | None:
    """When the journal's last bridge believed its clock last: 0 where that is not known, None of an empty journal."""
    known = msgspec.msgpack.decode(saved[1]).get("clock") if saved else None
    if known is None:  # a bridge of 0.1.0, or one that has saved nothing yet
        newest = reader.segments(store.last - 1, 1) if store.last else None
        known = newest[0].arrived_us if newest else 0 if store.last else None
    return known


def _load(place: str, saved: tuple[int, bytes], counted: Counted) -> bool:
    """Whether the snapshot tells what scrapers were shown: 0.1.0's does not. Raises StartRefused."""
    seq, body = saved
    try:
        document = msgspec.msgpack.decode(body)
        state_body, own_body = document["state"], document["own"]
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise StartRefused(
            f"diario {place}: la foto de las métricas no se puede leer ({type(error).__name__}). El diario está "
            "dañado y queda como está: restáuralo de una copia (`otel-bridge journal restore ARCHIVO --replace` "
            "aparta este), o apártalo para empezar con un diario vacío: lo que contenía y no se exportó se "
            "pierde entonces."
        ) from None
    try:
        counted.state.load(seq, state_body)
    except (ValueError, KeyError) as error:
        raise StartRefused(f"diario {place}: {error}. Lo escribió otra versión: usa esa.") from None
    counted.own.load(own_body)
    scrapers = document.get("scrapers")
    if scrapers is not None:
        counted.scrapers.load(scrapers)
    return scrapers is not None
