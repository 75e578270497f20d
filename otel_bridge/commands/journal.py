"""`otel-bridge journal`: looks into the journal of a bridge, running or not, and sends parked records again."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime

import msgspec

from otel_bridge import journal
from otel_bridge.commands.configuration import load
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.ids import uuid_text
from otel_bridge.records import Event, Session, decode, event_span_id, session_span_id


def status(arguments: argparse.Namespace) -> int:
    loaded = load(arguments)
    reader = journal.open_reader(loaded.journal, CONSUMER)
    ledger = reader.ledger()
    used = reader.bytes_used()
    reader.close()
    oldest = ledger.oldest_pending_us
    values = {
        "journal": loaded.journal,
        "records": ledger.last,
        "exported": ledger.exported,
        "pending": ledger.pending,
        "parked": ledger.parked,
        "oldest_pending": None if oldest is None else datetime.fromtimestamp(oldest / 1e6, UTC).isoformat(),
        "bytes": used,
    }
    if arguments.json:
        print(json.dumps(values))
        return 0
    for name, value in values.items():
        print(f"{name.replace('_', ' '):15} {'-' if value is None else value}")
    if ledger.parked:
        print(
            "\nParked records wait for you: `otel-bridge journal parked` shows why, `journal replay` sends them again."
        )
    return 0


def parked(arguments: argparse.Namespace) -> int:
    reader = journal.open_reader(load(arguments).journal, CONSUMER)
    records = reader.parked(arguments.limit)
    reader.close()
    if not records and not arguments.json:
        print("nothing is parked")
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
            "span": event_span_id(record.id).hex(),
        }
    if isinstance(record, Session):
        return {"gpt": record.gpt, "session": uuid_text(record.id), "span": session_span_id(record.id).hex()}
    return {}


def replay(arguments: argparse.Namespace) -> int:
    count = journal.mark_replay(load(arguments).journal, arguments.seq or None)
    print(f"{count} parked record(s) will be sent again by the running bridge, or by the next one that starts")
    return 0 if count or not arguments.seq else 1
