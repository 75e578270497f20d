"""In which format `/metrics` answers: OpenMetrics, which has exemplars, or the Prometheus text format."""

from __future__ import annotations

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST

from otel_bridge import accept

OPENMETRICS = CONTENT_TYPE_LATEST
TEXT = CONTENT_TYPE_PLAIN_0_0_4
_NAME, _VERSION = "application/openmetrics-text", "1.0.0"


def choose(header: str) -> str | None:
    """The content type for an `Accept` header; None where it refuses both. OpenMetrics where it is named, or preferred
    to text; text where nothing that is named can be had, as scrapers expect."""
    openmetrics = accept.quality(header, _NAME, _VERSION) or 0.0
    text = accept.quality(header, "text/plain")
    named = accept.quality(header, _NAME, _VERSION, wildcards=False) is not None
    if openmetrics > (text or 0.0) or (named and openmetrics and openmetrics == text):
        return OPENMETRICS
    return None if text == 0.0 else TEXT
