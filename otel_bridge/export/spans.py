"""Records → OTLP spans, as protobuf bytes.

The bytes are joined from templates instead of built as messages: concatenating serialised protobuf merges it, so
what is constant for a GPT, type and model is serialised once (`docs/decisions/0002-delivery.md` has the
figures). The field numbers are those of opentelemetry-proto 1.x `trace.proto`, `common.proto`; a test reads
every span back with the official classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from struct import Struct

import msgspec
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from otel_bridge import __version__, catalog
from otel_bridge.config import UNKNOWN, Gpt
from otel_bridge.ids import uuid_text
from otel_bridge.records import (
    UNMEASURED_LATENCY,
    UNMEASURED_TOKENS_IN,
    UNMEASURED_TOKENS_OUT,
    Event,
    Extras,
    Feedback,
    Record,
    Session,
    ToolCall,
    event_span_id,
    feedback_span_id,
    part_trace_id,
    session_span_id,
    tool_span_id,
)
from otel_bridge.times import format_time

FAR_US = 86_400_000_000
"""A session's claimed start further than this from its arrival, either way, is not its span's: a trace from the guide's
own example of a start lasts years, and trace stores keep a duration in 32 bits of milliseconds."""

REMEMBERED = 8192
"""Numbers of tokens, and sizes, below this are serialised once."""
SESSIONS = 4096
"""Sessions whose part of a span is remembered from request to request."""

_KIND_INTERNAL = b"\x30\x01"  # Span.kind (6) = SPAN_KIND_INTERNAL
_KIND_SERVER = b"\x30\x02"  # Span.kind (6) = SPAN_KIND_SERVER
_STATUS_ERROR = b"\x7a\x02\x18\x02"  # Span.status (15) { code (3) = STATUS_CODE_ERROR }
_FLAGS = b"\x85\x01\x01\x01\x00\x00"  # Span.flags (16): sampled, and «is remote» is known to be false
_ids = Struct("<2s16s2s8s2s8s").pack  # trace_id (1), span_id (2), parent_span_id (4)
_times = Struct("<cQcQ").pack  # start_time_unix_nano (7), end_time_unix_nano (8), fixed64 each
_double = Struct("<d").pack
_json = msgspec.json.Encoder().encode


def _varint(value: int) -> bytes:
    return _VARINTS[value] if value < 16384 else _long_varint(value)


def _long_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_VARINTS = [_long_varint(value) for value in range(1 << 14)]


def _field(tag: bytes, body: bytes) -> bytes:
    """A length-delimited field."""
    return tag + _varint(len(body)) + body


def _text_attribute(key: str, value: str | bytes) -> bytes:
    """Span.attributes (9): KeyValue { key (1), value (2) { string_value (1) } }."""
    text = value.encode() if isinstance(value, str) else value
    return _field(b"\x4a", _field(b"\x0a", key.encode()) + _field(b"\x12", _field(b"\x0a", text)))


class _Numbered(dict[int, bytes]):
    """What `make` makes of a number, remembered for small ones: a look-up takes a third of a call's time."""

    def __init__(self, make: Callable[[int], bytes]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, number: int) -> bytes:
        made = self._make(number)
        if number < REMEMBERED:
            self[number] = made
        return made


def _int_attribute(key: str) -> _Numbered:
    """Span.attributes (9): KeyValue { key (1), value (2) { int_value (3) } }, by the value."""
    name = _field(b"\x0a", key.encode())
    return _Numbered(lambda value: _field(b"\x4a", name + _field(b"\x12", b"\x18" + _varint(value))))


@_Numbered
def _span_head(size: int) -> bytes:
    """ScopeSpans.spans (2), up to a span of `size` bytes."""
    return b"\x12" + _varint(size)


_tokens_in = _int_attribute(catalog.GEN_AI_USAGE_INPUT_TOKENS)
_tokens_cached = _int_attribute(catalog.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS)
_tokens_out = _int_attribute(catalog.GEN_AI_USAGE_OUTPUT_TOKENS)
_tokens_reasoning = _int_attribute(catalog.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS)
_part = _int_attribute(catalog.SESSION_PART)


def resource_attributes(gpt_id: str, configured: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Resource of a GPT's spans: OTEL_RESOURCE_ATTRIBUTES, with the GPT as the service."""
    attributes = {catalog.SERVICE_NAMESPACE: catalog.SERVICE_NAMESPACE_DEFAULT, **dict(configured)}
    attributes[catalog.SERVICE_NAME] = gpt_id
    return attributes


_OfSession = tuple[str, bytes, bytes, bytes]
"""What a session's user is, and what its spans have before their own id, after it, and among their attributes."""


class SpanProjection:
    """Encodes records of any GPTs as one `ExportTraceServiceRequest`."""

    def __init__(self, gpts: Mapping[str, Gpt], resource: Iterable[tuple[str, str]] = ()) -> None:
        self._gpts = gpts
        self._resource = tuple(resource)
        self._templates: dict[tuple[str, str, str | None], bytes] = {}
        self._roots: dict[str, bytes] = {}
        self._sessions: dict[bytes, _OfSession] = {}
        self._heads: dict[str, bytes] = {}

    def request(self, records: Sequence[Record]) -> bytes:
        """Serialised `ExportTraceServiceRequest` of the records that are spans (an idle session is none)."""
        spans_of: dict[str, list[bytes]] = {}  # by GPT: each span's tag and length, then the span
        for record in records:
            if record.__class__ is Event:
                span = self._event(record)
                if record.opens:
                    root = self._part_root(record)
                    spans_of.setdefault(record.gpt, []).extend((_span_head[len(root)], root))
            elif record.__class__ is Session:
                span = self._session(record)
            elif record.__class__ is Feedback:
                span = self._feedback(record)
            else:
                continue
            spans = spans_of.get(record.gpt)
            if spans is None:
                spans_of[record.gpt] = spans = []
            spans += (_span_head[len(span)], span)
            if record.__class__ is Event and record.extras is not None and record.extras.tools:
                spans += self._tools(record, record.extras)
        parts: list[bytes] = []  # joined once: a request has megabytes
        for gpt_id, spans in spans_of.items():
            size = sum(map(len, spans))
            scope_spans = b"\x12" + _varint(len(_SCOPE) + size) + _SCOPE
            head = self._resource_head(gpt_id) + scope_spans
            parts += (b"\x0a" + _varint(len(head) + size), head, *spans)
        return b"".join(parts)

    def _resource_head(self, gpt_id: str) -> bytes:
        head = self._heads.get(gpt_id)
        if head is None:
            attributes = [
                KeyValue(key=key, value=AnyValue(string_value=value))
                for key, value in resource_attributes(gpt_id, self._resource).items()
            ]
            resource = _field(b"\x0a", Resource(attributes=attributes).SerializeToString())
            head = self._heads[gpt_id] = resource + _SCHEMA_URL
        return head

    def _gpt(self, gpt_id: str) -> Gpt:
        return self._gpts.get(gpt_id) or Gpt(gpt_id, gpt_id, provider=UNKNOWN)

    def _agent(self, gpt: Gpt) -> bytes:
        return (
            _text_attribute(catalog.GEN_AI_PROVIDER_NAME, gpt.provider)
            + _text_attribute(catalog.GEN_AI_AGENT_ID, gpt.id)
            + _text_attribute(catalog.GEN_AI_AGENT_NAME, gpt.name)
        )

    def _operation(self, gpt: Gpt, model: str | None) -> bytes:
        """What makes backends count a span as a call: an operation, and a model where no operation is named."""
        attributes = _text_attribute(catalog.GEN_AI_OPERATION_NAME, catalog.OPERATION)
        if model or gpt.model != UNKNOWN:
            attributes += _text_attribute(catalog.GEN_AI_REQUEST_MODEL, model or gpt.model)
        return attributes

    def _session_attributes(self, session_id: bytes, user: str) -> bytes:
        uuid = uuid_text(session_id).encode()
        # Of a user who was taken out of the journal (`user forget`) there is no hash.
        who = _text_attribute(catalog.USER_HASH, user) if user else b""
        return _CONVERSATION + uuid + _SESSION + uuid + who

    def _session(self, session: Session) -> bytes:
        at_us, claim = session.started_us, b""
        if abs(at_us - session.arrived_us) > FAR_US and not session.historic:
            claim = _text_attribute(catalog.SESSION_CLAIMED_START, format_time(at_us))
            at_us = session.arrived_us
        return self._root(session.id, session.gpt, at_us * 1000) + (
            self._session_attributes(session.id, session.user) + claim + _link(session.link)
        )

    def _part_root(self, event: Event) -> bytes:
        """The root of a session's later trace, when this event begins: as the first one's, to which it is linked."""
        first = event.session + session_span_id(event.session)
        begin = max(0, event.end_us * 1000 - round(event.latency_ms * 1e6))
        return self._root(part_trace_id(event.session, event.part), event.gpt, begin) + (
            self._session_attributes(event.session, event.user) + _part[event.part] + _link(first)
        )

    def _root(self, trace_id: bytes, gpt_id: str, at: int) -> bytes:
        """A root is no call: it says which agent, and neither operation nor model (docs/decisions/0007-spans.md)."""
        constant = self._roots.get(gpt_id)
        if constant is None:
            name = _field(b"\x2a", catalog.session_span_name(gpt_id).encode())
            constant = self._roots[gpt_id] = name + _KIND_INTERNAL + _FLAGS + self._agent(self._gpt(gpt_id))
        ids = b"\x0a\x10" + trace_id + b"\x12\x08" + session_span_id(trace_id)
        return ids + constant + _times(b"\x39", at, b"\x41", at)

    def _feedback(self, feedback: Feedback) -> bytes:
        """In the trace of the event that was rated, beside it, and linked to it. It is no call either."""
        trace = part_trace_id(feedback.session, feedback.part)
        at = feedback.arrived_us * 1000
        parts = [
            _ids(b"\x0a\x10", trace, b"\x12\x08", feedback_span_id(feedback.id), b"\x22\x08", session_span_id(trace)),
            _FEEDBACK,
            _times(b"\x39", at, b"\x41", at),
            self._agent(self._gpt(feedback.gpt)),
            self._session_attributes(feedback.session, feedback.user),
            _EVENT + uuid_text(feedback.event).encode(),
            _SCORE + _double(feedback.value),
            _text_attribute(catalog.GEN_AI_EVALUATION_SCORE_LABEL, catalog.feedback_result(feedback.value)),
        ]
        if feedback.comment is not None:
            parts.append(_text_attribute(catalog.GEN_AI_EVALUATION_EXPLANATION, feedback.comment))
        parts.append(_link(trace + event_span_id(feedback.event)) + _link(feedback.link))
        return b"".join(parts)

    def _event(self, event: Event) -> bytes:
        constant = self._templates.get((event.gpt, event.type, event.model))
        if constant is None:
            constant = self._template(event.gpt, event.type, event.model)
        trace = part_trace_id(event.session, event.part) if event.part else event.session
        session = self._sessions.get(trace)
        if session is None or session[0] != event.user:  # a user is forgotten at any time
            session = self._remember(trace, event)
        _, before, after, attributes = session
        end = event.end_us * 1000
        start = end - round(event.latency_ms * 1e6)
        if event.content is None:
            head = content = tail = b""
        else:
            content = _json(event.content)
            head, tail = _messages_head[len(content)], _MESSAGES_TAIL
        if event.extras is None:
            tokens_in, tokens_out = _tokens_in[event.tokens_in], _tokens_out[event.tokens_out]
        else:
            tokens_in, tokens_out = _extras(event, event.extras), b""
        return b"".join((
            before, event_span_id(event.id), after,
            constant,
            _times(b"\x39", start if start > 0 else 0, b"\x41", end),
            attributes,
            tokens_in, tokens_out,
            b"" if event.tokens_cached is None else _tokens_cached[event.tokens_cached],
            head, content, tail,
            b"" if event.error is None else _text_attribute(catalog.ERROR_TYPE, event.error) + _STATUS_ERROR,
            b"" if event.link is None else _link(event.link),
        ))  # fmt: skip

    def _remember(self, trace: bytes, event: Event) -> _OfSession:
        """What the spans of a trace's events have in common."""
        if len(self._sessions) >= SESSIONS:
            self._sessions.clear()
        made = self._sessions[trace] = (
            event.user,
            b"\x0a\x10" + trace + b"\x12\x08",
            b"\x22\x08" + session_span_id(trace),
            self._session_attributes(event.session, event.user),
        )
        return made

    def _tools(self, event: Event, extras: Extras) -> Iterator[bytes]:
        """The calls of tools within an event, as children of its span."""
        trace, parent = part_trace_id(event.session, event.part), event_span_id(event.id)
        end = event.end_us * 1000
        start = max(0, end - round(event.latency_ms * 1e6))
        agent = self._agent(self._gpt(event.gpt)) + self._session_attributes(event.session, event.user)
        measured = not extras.unmeasured & UNMEASURED_LATENCY
        times = _tool_times(start, end, extras.tools, measured)
        for number, (call, (begin, until)) in enumerate(zip(extras.tools, times, strict=True)):
            span = [
                _ids(b"\x0a\x10", trace, b"\x12\x08", tool_span_id(event.id, number), b"\x22\x08", parent),
                _field(b"\x2a", catalog.tool_span_name(call.name).encode()),
                _KIND_INTERNAL + _FLAGS + _TOOL,
                agent,
                _times(b"\x39", begin, b"\x41", until),
                _text_attribute(catalog.GEN_AI_TOOL_NAME, call.name),
            ]
            if call.error is not None:
                span.append(_text_attribute(catalog.ERROR_TYPE, call.error) + _STATUS_ERROR)
            yield _field(b"\x12", b"".join(span))

    def _template(self, gpt_id: str, type_: str, model: str | None) -> bytes:
        gpt = self._gpt(gpt_id)
        # What nobody configured is a client's text: names are few, and backends list them.
        name = type_ if type_ in gpt.event_types else catalog.OTHER_EVENT_TYPE
        constant = (
            _field(b"\x2a", name.encode())
            + _KIND_SERVER
            + _FLAGS
            + self._operation(gpt, model)
            + self._agent(gpt)
            + _text_attribute(catalog.EVENT_TYPE, type_)
        )
        # Types and models are what clients write: what is kept of them is bounded.
        if len(self._templates) >= 4096:
            self._templates.clear()
        self._templates[gpt_id, type_, model] = constant
        return constant


def _extras(event: Event, extras: Extras) -> bytes:
    """The attributes of an event that says more than the documented fields, or less."""
    missing, parts = extras.unmeasured, []
    if not missing & UNMEASURED_TOKENS_IN:
        parts.append(_tokens_in[event.tokens_in])
    if not missing & UNMEASURED_TOKENS_OUT:
        parts.append(_tokens_out[event.tokens_out])
    if missing:
        parts.append(_UNMEASURED[missing])
    if extras.ttft_ms is not None:
        parts.append(_FIRST_CHUNK + _double(extras.ttft_ms / 1000))
    if extras.tokens_reasoning is not None:
        parts.append(_tokens_reasoning[extras.tokens_reasoning])
    if extras.version is not None:
        parts.append(_text_attribute(catalog.GEN_AI_AGENT_VERSION, extras.version))
    return b"".join(parts)


def _tool_times(start: int, end: int, tools: Sequence[ToolCall], measured: bool) -> list[tuple[int, int]]:
    """When the calls of an event's tools began and ended, in nanoseconds. Their lengths and their order are known, and
    not their beginnings: they are laid one after another from the event's start, and none ends after it that need not
    (calls at the same time take longer together than it does). Of an event without a latency they end when it does."""
    lengths = [round(call.ms * 1e6) for call in tools]
    if not measured:
        start = max(0, end - sum(lengths))
    times, at = [], start
    for length in lengths:
        begin = max(start, min(at, end - length))
        at = begin + length
        times.append((begin, at))
    return times


def _texts_attribute(key: str, texts: Iterable[str]) -> bytes:
    """As `_text_attribute`, of an AnyValue { array_value (5) { values (1) } }."""
    values = b"".join(_field(b"\x0a", _field(b"\x0a", text.encode())) for text in texts)
    return _field(b"\x4a", _field(b"\x0a", key.encode()) + _field(b"\x12", _field(b"\x2a", values)))


_UNMEASURED = [
    _texts_attribute(
        catalog.UNMEASURED_FIELDS,
        [what for bit, what in enumerate(catalog.UNMEASURED_WHAT) if missing & 1 << bit],
    )
    for missing in range(1 << len(catalog.UNMEASURED_WHAT))
]


@_Numbered
def _messages_head(size: int) -> bytes:
    """The attribute gen_ai.input.messages up to its content, which has `size` bytes of JSON."""
    whole = bytes(len(_MESSAGES_HEAD) + size + len(_MESSAGES_TAIL))
    return _text_attribute(catalog.GEN_AI_INPUT_MESSAGES, whole)[: -len(whole)] + _MESSAGES_HEAD


def _link(link: bytes | None) -> bytes:
    """Span.links (13): Link { trace_id (1), span_id (2) } of the caller's `traceparent`."""
    if link is None:
        return b""
    return b"\x6a\x1c\x0a\x10" + link[:16] + b"\x12\x08" + link[16:]


def _uuid_attribute_head(key: str) -> bytes:
    """A text attribute whose value is a UUID's 36 characters, serialised up to the value."""
    return _text_attribute(key, b"0" * 36)[:-36]


def _double_attribute_head(key: str) -> bytes:
    """KeyValue { key (1), value (2) { double_value (4) } }, serialised up to the value."""
    name = _field(b"\x0a", key.encode())
    return b"\x4a" + _varint(len(name) + 11) + name + b"\x12\x09\x21"


_FIRST_CHUNK = _double_attribute_head(catalog.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK)
_TOOL = _text_attribute(catalog.GEN_AI_OPERATION_NAME, catalog.TOOL_OPERATION) + _field(
    b"\x4a", _field(b"\x0a", catalog.TOOL_START_UNKNOWN.encode()) + b"\x12\x02\x10\x01"
)
_CONVERSATION = _uuid_attribute_head(catalog.GEN_AI_CONVERSATION_ID)
_SESSION = _uuid_attribute_head(catalog.SESSION_ID)
_EVENT = _uuid_attribute_head(catalog.EVENT_ID)
_SCORE = _double_attribute_head(catalog.GEN_AI_EVALUATION_SCORE_VALUE)
_FEEDBACK = (
    _field(b"\x2a", catalog.FEEDBACK_SPAN_NAME.encode())
    + _KIND_INTERNAL
    + _FLAGS
    + _text_attribute(catalog.GEN_AI_EVALUATION_NAME, catalog.FEEDBACK_EVALUATION)
)
_MESSAGES_HEAD = b'[{"role":"user","parts":[{"type":"text","content":'
_MESSAGES_TAIL = b"}]}]"
_SCHEMA_URL = _field(b"\x1a", catalog.SCHEMA_URL.encode())  # ResourceSpans.schema_url (3), ScopeSpans.schema_url (3)
_SCOPE = (
    _field(b"\x0a", InstrumentationScope(name=catalog.SCOPE_NAME, version=__version__).SerializeToString())
    + _SCHEMA_URL
)
