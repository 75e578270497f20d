"""The snapshot of what is counted: saved in the journal with its sequence number, restored at the start."""

from __future__ import annotations

import logging
import time

import msgspec

from otel_bridge.errors import StartRefused
from otel_bridge.journal import Store, StoreError
from otel_bridge.metrics.own import SelfMetrics
from otel_bridge.metrics.state import MetricState
from otel_bridge.records import decode

log = logging.getLogger(__name__)


def save(store: Store, state: MetricState, own: SelfMetrics) -> int:
    """Saves it in the open transaction; returns the sequence number it stands at. Called in the writer thread, before
    the group's new records are folded: state and sequence number agree. Raises StoreError."""
    store.save_snapshot(state.seq, msgspec.msgpack.encode({"state": state.dump(), "own": own.dump()}))
    return state.seq


def restore(store: Store, state: MetricState, own: SelfMetrics) -> None:
    """The state as of the last snapshot, and every record since folded in. Raises StartRefused."""
    try:
        _restore(store, state, own)
    except StoreError as error:
        raise StartRefused(error.advice) from error


def _restore(store: Store, state: MetricState, own: SelfMetrics) -> None:
    started = time.monotonic()
    saved = store.snapshot()
    if saved is not None:
        _load(store.place, saved, state, own)
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
    log.info(
        "journal %s: %d records, %d of them folded since the snapshot, in %.2f s",
        store.place, store.last, folded, time.monotonic() - started,
    )  # fmt: skip


def _load(place: str, saved: tuple[int, bytes], state: MetricState, own: SelfMetrics) -> None:
    seq, body = saved
    try:
        document = msgspec.msgpack.decode(body)
        state_body, own_body = document["state"], document["own"]
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise StartRefused(
            f"journal {place}: the snapshot of metrics cannot be read ({type(error).__name__}). The journal is damaged "
            "and is left as it is: restore it from a backup, or move it away to start with an empty journal: what it "
            "held and was not exported is then lost."
        ) from None
    try:
        state.load(seq, state_body)
    except (ValueError, KeyError) as error:
        raise StartRefused(f"journal {place}: {error}. It was written by another release: run that one.") from None
    own.load(own_body)
