"""What a span takes at the most: the journal needs it to know when a session's trace is full."""

from __future__ import annotations

from otel_bridge.config import Config
from otel_bridge.export.spans import SpanProjection
from otel_bridge.journal.parts import EVENT_BYTES, Parts
from otel_bridge.records import UNMEASURED_LATENCY, Event, Extras, ToolCall

_WIDE = "\U0010ffff"
"""Takes as many bytes as a character can."""
_VARINTS = 16
"""What the lengths of a long content take more than those of none."""
_MOST = 1_000_000_000


def span_bytes(config: Config) -> tuple[int, int]:
    """Bytes of the largest span without its content, sent alone: with its resource, and all that a client can add; and
    what a call of a tool adds to that."""
    projection = SpanProjection(config.gpts, config.resource)
    largest = tool = 0
    for gpt in config.gpts.values():
        for type_ in (*gpt.event_types, 64 * _WIDE):
            for model in (None, 128 * _WIDE):
                # Its tokens are there, and the word that its latency is not: nothing that is missing says more.
                extras = Extras(UNMEASURED_LATENCY, 1.0, _MOST, 64 * "v")
                event = Event(
                    bytes(16), bytes(16), gpt.id, 16 * "f", type_, "", 0.0, _MOST, _MOST, 1, 1,
                    model, 64 * "e", bytes(24), _MOST, _MOST, False, extras,
                )  # fmt: skip
                size = len(projection.request([event]))
                largest = max(largest, size)
                extras.tools = [ToolCall(128 * "t", 1.0, 64 * "e")]
                tool = max(tool, len(projection.request([event])) - size)
    return largest + _VARINTS, tool + _VARINTS


class SpanSize:
    """Keeps what the journal counts for a span in step with the configuration."""

    def __init__(self, parts: Parts, config: Config) -> None:
        self._parts = parts
        self.configure(config)

    def configure(self, config: Config) -> None:
        event, tool = span_bytes(config)
        self._parts.event_bytes, self._parts.tool_bytes = max(EVENT_BYTES, event), max(EVENT_BYTES, tool)
