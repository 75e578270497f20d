"""`Accept` and `Accept-Encoding` as RFC 9110 has them: header → what is chosen."""

from __future__ import annotations

import pytest

from otel_bridge import accept
from otel_bridge.metrics import formats

JSON, STREAM = "application/json", "text/event-stream"


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("", JSON),
        ("  ", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("APPLICATION/JSON", JSON),
        ("application/json, text/event-stream", JSON),
        ("text/event-stream, application/json", JSON),
        ("text/event-stream", STREAM),
        ("text/*", STREAM),
        ("Text/Event-Stream;q=0.001", STREAM),
        ("application/json;q=0, text/event-stream", STREAM),
        ("application/json ; Q=0.000 , */*", STREAM),
        ("application/json;q=0.5, text/event-stream;q=0.8", STREAM),
        ("application/json;q=0.5, */*;q=0.1", JSON),
        ("application/*;q=0, application/json", JSON),
        ("application/json;profile=x;q=0, application/json", JSON),
        ("application/json;q=high", JSON),
        ("text/html", None),
        ("application/json;q=0", None),
        ("application/json;q=0,text/event-stream;q=0.0", None),
        ("*/*;q=0", None),
        ("*/*;q=0, text/*;q=0", None),
        ("application/xml, ;q=1, ,", None),
        ("application/json;q=0, application/*", None),
    ],
)
def test_a_media_type_is_chosen_by_weight(header: str, chosen: str | None) -> None:
    assert accept.best(header, (JSON, STREAM)) == chosen


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("", "identity"),
        ("gzip", "gzip"),
        ("X-GZIP", "gzip"),
        ("deflate, GZip;q=0.5, br", "gzip"),
        ("gzip, identity", "gzip"),
        ("br", "identity"),
        ("*", "identity"),
        ("gzip;q=0", "identity"),
        ("gzip ; q=0.0", "identity"),
        ("gzip;Q=0", "identity"),
        ("gzip;q=0, *", "identity"),
        ("gzip;q=0.5, identity", "identity"),
        ("identity;q=0, gzip", "gzip"),
        ("*;q=0, gzip", "gzip"),
        ("identity;q=0, *", "gzip"),
        ("*;q=0, identity", "identity"),
        ("identity;q=0", None),
        ("*;q=0", None),
        ("*;q=0, gzip;q=0", None),
        ("identity;q=0, gzip;q=0, *", None),
        ("br, identity;q=0", None),
    ],
)
def test_a_coding_is_chosen_by_weight(header: str, chosen: str | None) -> None:
    assert accept.coding(header) == chosen


PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;"
    "q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("", formats.TEXT),
        ("*/*", formats.TEXT),
        ("text/html, */*;q=0.8", formats.TEXT),
        ("application/json", formats.TEXT),  # a scraper that names nothing of ours gets text, as ever
        (PROMETHEUS_2, formats.OPENMETRICS),
        (PROMETHEUS_3, formats.OPENMETRICS),
        ("application/openmetrics-text", formats.OPENMETRICS),
        ("Application/OpenMetrics-Text; Version=1.0.0", formats.OPENMETRICS),
        ("application/openmetrics-text, */*", formats.OPENMETRICS),
        ("text/plain, application/openmetrics-text", formats.OPENMETRICS),
        ("text/plain, application/openmetrics-text;q=0.5", formats.TEXT),
        ("application/openmetrics-text;q=0", formats.TEXT),
        ("application/openmetrics-text;version=1.0.0;q=0.0, text/plain;q=0.1", formats.TEXT),
        ("application/openmetrics-text ; Q=0, */*", formats.TEXT),
        ("application/openmetrics-text;version=abc", formats.TEXT),
        ("application/openmetrics-text;version=0.0.1,text/plain;q=0.5,*/*;q=0.1", formats.TEXT),
        ("text/plain;q=0, application/openmetrics-text", formats.OPENMETRICS),
        ("text/plain;q=0, */*", formats.OPENMETRICS),
        ("text/plain;q=0", None),
        ("*/*;q=0", None),
        ("application/openmetrics-text;q=0, text/plain;q=0", None),
    ],
)
def test_metrics_are_written_in_the_format_that_is_preferred(header: str, chosen: str | None) -> None:
    assert formats.choose(header) == chosen
