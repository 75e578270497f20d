"""What the journal counts for a span is never less than what the span takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge import config
from otel_bridge.config import Config
from otel_bridge.export.span_size import SpanSize, span_bytes
from otel_bridge.export.spans import SpanProjection
from otel_bridge.journal.parts import EVENT_BYTES, Parts, as_sent
from otel_bridge.records import Event, Extras, ToolCall
from tests.unit.samples import event, gpt

SHIPPED = config.load("otel-bridge.toml", {})
WIDE = replace(
    SHIPPED,
    gpts={"devops-expert": gpt(name="n" * 3_000, event_types=("t" * 500,)), "otro": gpt(id="otro", model="m" * 900)},
    resource=(("k8s.pod.name", "p" * 4_000),),
)
names = st.none() | st.text("e", min_size=1, max_size=64)
characters = st.characters(codec="utf-8", exclude_characters="\0")


@pytest.mark.parametrize("configured", [SHIPPED, WIDE], ids=["as shipped", "with long names"])
@given(
    st.builds(
        event,
        gpt=st.sampled_from(["devops-expert", "otro"]),
        type=st.text(characters, min_size=1, max_size=64) | st.sampled_from(["consulta", "t" * 500]),
        content=st.none() | st.text(characters, max_size=400) | st.integers(0, 20_000).map(lambda n: "\x01" * n),
        tokens_in=st.integers(0, 10**9),
        tokens_out=st.integers(0, 10**9),
        tokens_cached=st.none() | st.integers(0, 10**9),
        model=st.none() | st.text(characters, min_size=1, max_size=128),
        error=st.none() | st.text("abc", min_size=1, max_size=64),
        link=st.none() | st.binary(min_size=24, max_size=24),
        part=st.integers(0, 1 << 30),
        extras=st.none()
        | st.builds(
            Extras,
            st.integers(0, 7),
            st.none() | st.floats(0, 1e9),
            st.none() | st.integers(0, 10**9),
            st.none() | st.text("v", min_size=1, max_size=64),
            st.lists(st.builds(ToolCall, st.text("t", min_size=1, max_size=128), st.floats(0, 1e9), names), max_size=4),
        ),
    )
)
def test_no_span_is_larger_than_what_it_counts(configured: Config, record: Event) -> None:
    parts = Parts()
    SpanSize(parts, configured)
    if record.gpt not in configured.gpts:
        return
    sent = len(SpanProjection(configured.gpts, configured.resource).request([record]))
    tools = len(record.extras.tools) * parts.tool_bytes if record.extras else 0
    assert sent <= parts.event_bytes + len(as_sent(record.content or "")) + tools


def test_a_span_of_the_shipped_configuration_counts_the_least() -> None:
    """So a part has as many events as it may, and a session as few traces."""
    assert max(span_bytes(SHIPPED)) <= EVENT_BYTES


def test_a_reload_with_longer_names_counts_for_more() -> None:
    parts = Parts()
    size = SpanSize(parts, SHIPPED)
    before: Any = parts.event_bytes
    size.configure(WIDE)
    assert before == EVENT_BYTES and parts.event_bytes > 7_000 and parts.tool_bytes > 3_000
