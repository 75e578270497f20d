"""What a post or a look at a session is answered with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import UNSET

from otel_bridge import contract
from otel_bridge.contract import (
    BatchOut,
    EventIn,
    EventOut,
    FeedbackOut,
    ItemOut,
    ReportedEventIn,
    ReportedEventOut,
    SessionOut,
    SessionState,
    SessionTrace,
    Unmeasured,
)
from otel_bridge.errors import Problem
from otel_bridge.ids import uuid_text
from otel_bridge.intake.draft import EventResult
from otel_bridge.journal.store import SessionRow
from otel_bridge.records import Event, Feedback, Record, event_span_id, feedback_span_id, part_trace_id
from otel_bridge.times import format_time

TRACES_SHOWN = 100
"""Of a session: 7 KB of an answer, and more with links."""

_encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """A status and a JSON body, with a `Location` where something was made."""

    status: int
    body: bytes
    location: str | None = None


def session_answer(status: int, session_id: bytes, gpt_id: str, user_id: str, started_us: int) -> Answer:
    text = uuid_text(session_id)
    body = SessionOut(text, gpt_id, user_id, format_time(started_us), session_id.hex())
    return Answer(status, _encode(body), f"/api/sessions/{text}")


_HOST = re.compile(r"[a-z]+://[^/?#]*", re.IGNORECASE).match


def as_uri(trace_url: str) -> str:
    """A template of links to traces as RFC 3986 has URIs: an address copied from Grafana holds braces and quotes."""
    host = _HOST(trace_url)
    start = host.end() if host else 0
    rest = trace_url[start:].split("{trace_id}")
    return trace_url[:start] + "{trace_id}".join(quote(part, safe="%/:?#@!$&'()*+,;=") for part in rest)


def session_state(session_id: bytes, row: SessionRow, trace_url: str | None) -> Answer:
    """`trace_url`: a URI with `{trace_id}` where the link to a trace wants it."""

    def link(trace_id: str) -> str | msgspec.UnsetType:
        return trace_url.replace("{trace_id}", trace_id) if trace_url else UNSET

    shown = range(max(0, row.parts - TRACES_SHOWN), row.parts)
    traces = [part_trace_id(session_id, part).hex() for part in shown]
    state = SessionState(
        id=uuid_text(session_id),
        gpt_id=row.gpt,
        usuario_hash=row.user,
        timestamp_inicio=format_time(row.started_us),
        trace_id=session_id.hex(),
        eventos=row.events,
        eventos_con_error=row.failed,
        tokens_entrada=UNSET if row.events and row.unmeasured[1] == row.events else row.tokens_in,
        tokens_salida=UNSET if row.events and row.unmeasured[2] == row.events else row.tokens_out,
        eventos_sin_medir=Unmeasured(*row.unmeasured) if any(row.unmeasured) else UNSET,
        activa=row.live,
        trazas=[SessionTrace(trace_id, link(trace_id)) for trace_id in traces],
        primer_evento=UNSET if row.first_event_us is None else format_time(row.first_event_us),
        ultimo_evento=UNSET if row.last_event_us is None else format_time(row.last_event_us),
        enlace_traza=link(session_id.hex()),
    )
    return Answer(200, _encode(state))


@lru_cache(maxsize=4096)
def _session_texts(session_id: bytes, part: int) -> tuple[str, str]:
    """A session's id as a UUID, and the id of its trace: events that come together share them (0.4 µs)."""
    return uuid_text(session_id), part_trace_id(session_id, part).hex()


def event_answer(event: EventIn, status: int, record: Event) -> Answer:
    session, trace_id = _session_texts(record.session, record.part)
    if event.__class__ is ReportedEventIn:
        return Answer(status, _encode(_reported(event, record, session, trace_id)))
    body = EventOut(
        uuid_text(record.id),
        session,
        event.tipo,
        int(event.latency_ms) if event.latency_ms.is_integer() else event.latency_ms,
        event.tokens_entrada,
        event.tokens_salida,
        format_time(record.end_us),
        trace_id,
        event_span_id(record.id).hex(),
    )
    return Answer(status, _encode(body))


def _reported(event: EventIn, record: Event, session: str, trace_id: str) -> ReportedEventOut:
    measured = {name: getattr(event, name) for name in contract.MEASURED if contract.is_measured(event, name)}
    if event.latency_ms.is_integer() and "latency_ms" in measured:
        measured["latency_ms"] = int(event.latency_ms)
    return ReportedEventOut(
        id=uuid_text(record.id),
        sesion_id=session,
        tipo=event.tipo,
        timestamp=format_time(record.end_us),
        trace_id=trace_id,
        span_id=event_span_id(record.id).hex(),
        **measured,
    )


def feedback_answer(status: int, record: Feedback) -> Answer:
    session, trace_id = _session_texts(record.session, record.part)
    body = FeedbackOut(
        uuid_text(record.id),
        uuid_text(record.event),
        session,
        int(record.value) if record.value.is_integer() else record.value,
        format_time(record.arrived_us),
        trace_id,
        feedback_span_id(record.id).hex(),
    )
    return Answer(status, _encode(body))


def batch_answer(results: Sequence[EventResult | Problem]) -> Answer:
    """The answer to a batch: 207 where an item is refused, else 201."""
    items = [
        ItemOut(i, result.kind.status, error=result.document())
        if isinstance(result, Problem)
        else ItemOut(i, result.status, uuid_text(result.record.id))
        for i, result in enumerate(results)
    ]
    refused = sum(isinstance(result, Problem) for result in results)
    return Answer(207 if refused else 201, _encode(BatchOut(len(items) - refused, refused, items)))


def all_taken(records: Sequence[Record]) -> Answer:
    """The answer to a batch of which every item is new, without an object an item."""
    # uuid_text written out: the call would cost as much as the text. Three of the seven hyphens of the hex go.
    items = ",".join(
        [
            f'{{"indice":{i},"estado":201,"id":"{(h := record.id.hex("-", 2))[:4]}{h[5:29]}{h[30:34]}{h[35:]}"}}'  # type: ignore[union-attr]
            for i, record in enumerate(records)
        ]
    )
    return Answer(201, f'{{"aceptados":{len(records)},"rechazados":0,"resultados":[{items}]}}'.encode())
