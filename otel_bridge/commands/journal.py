"""`otel-bridge journal`: looks into the journal of a bridge, running or not, and sends parked records again."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from otel_bridge import journal
from otel_bridge.commands import replicas
from otel_bridge.commands.configuration import load
from otel_bridge.export.batch import DAMAGED
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.ids import uuid_text
from otel_bridge.journal import WentBack
from otel_bridge.ops.going_back import moment, summary
from otel_bridge.records import (
    Event,
    Feedback,
    Session,
    decode,
    event_span_id,
    feedback_span_id,
    part_trace_id,
    session_span_id,
)

POLL_SECONDS = 0.2
PROGRESS_SECONDS = 1.0
LABELS = {
    "journal": "diario",
    "records": "registros",
    "exported": "exportados",
    "pending": "pendientes",
    "parked": "apartados",
    "unreadable": "ilegibles",
    "oldest_pending": "más antiguo",
    "bytes": "bytes",
    "id": "id",
    "went_back": "volvió atrás",
    "bytes_pending": "b. pendientes",
    "bytes_exported": "b. exportados",
    "bytes_rest": "b. del resto",
}
"""What `--json` names, as a person reads it."""


def status(arguments: argparse.Namespace) -> int:
    loaded = load(arguments)
    reader = journal.open_reader(loaded.journal, CONSUMER)
    ledger = reader.ledger()
    used = reader.bytes_used()
    pending_bytes, exported_bytes = reader.bytes_of_segments() if arguments.space else (0, 0)
    identity = reader.identity()
    reader.close()
    shared = journal.describe(loaded.journal, CONSUMER)
    oldest = ledger.oldest_pending_us
    values = {
        "journal": loaded.journal_shown,
        "records": ledger.last,
        "exported": ledger.exported,
        "pending": ledger.pending,
        "parked": ledger.parked,
        "unreadable": ledger.unreadable,
        "oldest_pending": None if oldest is None else datetime.fromtimestamp(oldest / 1e6, UTC).isoformat(),
        "bytes": used,
        "id": identity.id or None,
        "went_back": None if identity.went_back is None else _went_back(identity.went_back),
    }
    if arguments.space:
        values |= {
            "bytes_pending": pending_bytes,
            "bytes_exported": exported_bytes,
            "bytes_rest": max(0, used - pending_bytes - exported_bytes),
        }
    if arguments.json:
        print(json.dumps(values | ({} if shared is None else replicas.values(shared))))
        return 0
    for name, value in values.items():
        if name == "went_back" and identity.went_back is not None:
            value = f"{moment(identity.went_back.since_us)}, {summary(identity.went_back)}"
        print(f"{LABELS[name]:15} {'-' if value is None else value}")
    if shared is not None:
        print(*replicas.lines(shared), sep="\n")
    if ledger.parked:
        print(
            "\nHay registros apartados que esperan por ti: `otel-bridge journal parked` muestra por qué, "
            "`journal replay` los envía otra vez."
        )
    if ledger.unreadable:
        print(
            "\nHay páginas dañadas en el diario: lo ilegible es parte de lo pendiente, y se aparta cuando la "
            "entrega llega a ello (runbook BridgeRecordsParked)."
        )
    return 0


def _went_back(found: WentBack) -> dict[str, object]:
    return {"at": moment(found.since_us), "kind": found.kind, "records": found.last, "records_before": found.before}


def parked(arguments: argparse.Namespace) -> int:
    reader = journal.open_reader(load(arguments).journal, CONSUMER)
    records = reader.parked(arguments.limit)
    reader.close()
    if not records and not arguments.json:
        print("no hay nada apartado")
    for record in records:
        at = datetime.fromtimestamp(record.parked_us / 1e6, UTC).isoformat(timespec="seconds")
        if arguments.json:
            print(json.dumps({"seq": record.seq, "parked_at": at, "reason": record.reason, "words": record.message,
                              "records": record.spans, **_identity(record.body)}, ensure_ascii=False))  # fmt: skip
        else:
            ids = " ".join(f"{name}={value}" for name, value in _identity(record.body).items())
            print(f"{record.seq}  {at}  {record.reason}  {ids}\n    {record.message}")
    return 0


def _identity(body: bytes) -> dict[str, str]:
    """Which trace and span a parked record is; never its content."""
    try:
        record = decode(body)[0]
    except (msgspec.DecodeError, IndexError):
        return {}
    if isinstance(record, Event):
        return {
            "gpt": record.gpt,
            "session": uuid_text(record.session),
            "trace": part_trace_id(record.session, record.part).hex(),
            "span": event_span_id(record.id).hex(),
        }
    if isinstance(record, Feedback):
        return {
            "gpt": record.gpt,
            "session": uuid_text(record.session),
            "trace": part_trace_id(record.session, record.part).hex(),
            "span": feedback_span_id(record.id).hex(),
        }
    if isinstance(record, Session):
        return {"gpt": record.gpt, "session": uuid_text(record.id), "span": session_span_id(record.id).hex()}
    return {}


def replay(arguments: argparse.Namespace) -> int:
    """Marks, waits for what becomes of it, and says it. 1 where none of the numbers is a parked record's."""
    url = load(arguments).journal
    with contextlib.closing(journal.open_reader(url, CONSUMER)) as reader:
        return _replay(arguments, url, reader)


def _replay(arguments: argparse.Namespace, url: str, reader: journal.Reader) -> int:
    parked_now = reader.replay_marks()
    asked = [seq for seq in arguments.seq or parked_now if seq in parked_now]
    unknown = sorted(set(arguments.seq) - set(asked))
    if unknown:
        print(f"no apartados: {', '.join(map(str, unknown))}", file=sys.stderr)
    if not asked:
        print("nada que enviar otra vez: `otel-bridge journal parked` muestra lo que hay")
        return 1 if unknown else 0
    said = (
        f"{len(asked)} registro(s) apartado(s) se enviarán otra vez desde el puente en marcha, o desde el próximo "
        "que arranque"
    )
    interrupted = False
    try:
        journal.mark_replay(url, arguments.seq or None)
        print(said, flush=True)
        replayed = _await(reader, asked, arguments.wait)
    except KeyboardInterrupt:
        replayed, interrupted = _Replayed.of(reader, asked), True
    damaged = [one.seq for one in reader.parked(len(parked_now)) if one.reason == DAMAGED] if replayed.again else []
    print(replayed)
    if replayed.again:
        print(
            "Lo que se rechazó otra vez queda apartado como antes; `otel-bridge journal parked` muestra qué dijo el "
            "destino."
        )
    if set(damaged) & set(asked):
        print(
            "Lo apartado por dañado no se puede enviar: el archivo del diario lo ha perdido, y sigue apartado. "
            "El runbook BridgeRecordsParked dice qué se puede salvar aún."
        )
    if replayed.waiting and arguments.wait:
        print(
            "Lo que aún no se ha entregado sigue esperando: ¿hay un puente en marcha con destino, y responde el "
            "destino? Su log lo dice; con --wait se espera más."
        )
    return 130 if interrupted else 0


class _Replayed(NamedTuple):
    """What has become of records that were marked."""

    delivered: int
    again: int
    waiting: int

    @classmethod
    def of(cls, reader: journal.Reader, asked: Sequence[int]) -> _Replayed:
        marks = reader.replay_marks()
        waiting = sum(marks.get(seq, False) for seq in asked)
        still_parked = sum(seq in marks for seq in asked)
        return cls(len(asked) - still_parked, still_parked - waiting, waiting)

    def __str__(self) -> str:
        return f"{self.delivered} entregados, {self.again} apartados otra vez, {self.waiting} aún no"


def _await(reader: journal.Reader, asked: Sequence[int], seconds: float) -> _Replayed:
    """What has become of the records once none waits, or after `seconds`. Says how it goes on standard error."""
    deadline = time.monotonic() + seconds
    told = replayed = _Replayed.of(reader, asked)
    next_line = time.monotonic() + PROGRESS_SECONDS
    while replayed.waiting and time.monotonic() < deadline:
        time.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))
        replayed = _Replayed.of(reader, asked)
        if replayed.waiting and replayed != told and time.monotonic() >= next_line:
            print(replayed, file=sys.stderr, flush=True)
            told, next_line = replayed, time.monotonic() + PROGRESS_SECONDS
    return replayed
