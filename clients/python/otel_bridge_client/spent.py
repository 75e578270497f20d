"""What calls of models spent, as frameworks tell it; and the events that one answer becomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from otel_bridge_client.client import BridgeClient
from otel_bridge_client.measures import Measure
from otel_bridge_client.usage import Usage, get

Count = Callable[[str, str], "tuple[int, int]"]
"""(the answer, the question) → tokens in, tokens out"""
_CACHED = ("input_token_details", "cache_read"), ("prompt_tokens_details", "cached_tokens")
_REASONING = ("output_token_details", "reasoning"), ("completion_tokens_details", "reasoning_tokens")


class Spent:
    """Of one call. `known`: the provider told both counts."""

    def __init__(self, model: str | None, ms: float) -> None:
        self.model = model
        self.ms = ms
        self.known = False
        self.tokens_in = self.tokens_out = 0
        self.tokens_cached: int | None = None
        self.tokens_reasoning: int | None = None

    def add(self, usage: Any, names: tuple[str, str]) -> None:
        counts = [get(usage, name) for name in names]
        if not all(_is_count(count) for count in counts):
            return
        self.known = True
        self.tokens_in += counts[0]
        self.tokens_out += counts[1]
        self.tokens_cached = _part(self.tokens_cached, usage, _CACHED, self.tokens_in)
        self.tokens_reasoning = _part(self.tokens_reasoning, usage, _REASONING, self.tokens_out)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _part(before: int | None, usage: Any, paths: Sequence[tuple[str, str]], whole: int) -> int | None:
    told = next((found for path in paths if _is_count(found := get(usage, *path))), None)
    return before if told is None else min((before or 0) + told, whole)


def record(
    client: BridgeClient,
    measure: Measure,
    latency_ms: float,
    spent: Sequence[Spent],
    count: Count | None = None,
    question: str = "",
    answer: str = "",
) -> None:
    """The answer's event, with the tokens of the model that answered last; and one for each other model that took part.
    An answer whose tokens are not known all is dropped as `no_usage`, unless it failed: tokens are never invented."""
    if not all(call.known for call in spent) or not (spent or measure.error):
        counted = _counted(client, count, question, answer)
        if counted is not None:
            measure.tokens(*counted)
            measure.model = spent[-1].model if spent else measure.model
        else:
            measure.add(Usage())  # not known
        client.record(measure, latency_ms)
        return
    by_model: dict[str | None, Spent] = {}
    for call in spent:
        total = by_model.setdefault(call.model, Spent(call.model, 0.0))
        total.ms += call.ms
        total.tokens_in += call.tokens_in
        total.tokens_out += call.tokens_out
        total.tokens_cached = _sum(total.tokens_cached, call.tokens_cached)
        total.tokens_reasoning = _sum(total.tokens_reasoning, call.tokens_reasoning)
    last = by_model.pop(spent[-1].model) if spent else None
    for total in by_model.values():
        other = Measure(measure.session_id, measure.event_type, measure.content, version=measure.version)
        _fill(other, total)
        client.record(other, total.ms)
    if last is not None:
        _fill(measure, last)
    client.record(measure, latency_ms)


def _fill(measure: Measure, spent: Spent) -> None:
    measure.model = spent.model or measure.model
    measure.tokens(spent.tokens_in, spent.tokens_out, spent.tokens_cached, spent.tokens_reasoning)


def _sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else (one or 0) + other


def _counted(client: BridgeClient, count: Count | None, question: str, answer: str) -> tuple[int, int] | None:
    if count is None:
        return None
    try:
        tokens_in, tokens_out = count(answer, question)
        return int(tokens_in), int(tokens_out)
    except Exception as error:
        client.note("option", f"count: {type(error).__name__}")
        return None
