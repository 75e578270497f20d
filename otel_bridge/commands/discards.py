"""What a trace store throws away after its 200. Tempo counts it on its own /metrics; others do not say."""

from __future__ import annotations

import re

TOLD = frozenset(("rate_limited", "invalid_trace_id", "invalid_span_id"))
"""Reasons that Tempo tells the sender: a bridge sends that again, or parks it."""

_discards = re.compile(r'^tempo_discarded_spans_total\{(?:[^}]*,)?reason="(\w+)"[^}]*\} (\S+)', re.MULTILINE).findall


def discards(metrics: str) -> dict[str, float] | None:
    """Spans that this Tempo has thrown away since its start, by reason. None: it is no page of Tempo's."""
    if "tempo_build_info" not in metrics:
        return None
    found: dict[str, float] = {}
    for reason, count in _discards(metrics):
        if reason not in TOLD:
            found[reason] = found.get(reason, 0.0) + float(count)
    return {reason: count for reason, count in found.items() if count}
