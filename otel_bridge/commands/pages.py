"""What the doctor reads off /metrics."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from otel_bridge.catalog import OPERATION_DURATION, STEWARD


class Page:
    """One page, in OpenMetrics."""

    def __init__(self, text: str) -> None:
        self._text = text

    @property
    def counts_for_all(self) -> bool:
        """Whether it shows what is counted for all replicas: a single bridge's does."""
        return f"\n{STEWARD.name} 0" not in self._text

    def events(self, gpt: str) -> float:
        return sum(
            sample.value
            for family in text_string_to_metric_families(self._text)  # type: ignore[no-untyped-call]
            for sample in family.samples
            if sample.name == f"{OPERATION_DURATION.name}_count" and sample.labels.get("gen_ai_agent_id") == gpt
        )

    def shows_trace(self, trace_id: str) -> bool:
        """As an exemplar."""
        return f'trace_id="{trace_id}"' in self._text


def choose(texts: Sequence[str]) -> Page | None:
    """Of the pages of replicas, the one that counts for all; else any; None where there is none."""
    pages = [Page(text) for text in texts]
    return next((page for page in pages if page.counts_for_all), pages[0] if pages else None)
