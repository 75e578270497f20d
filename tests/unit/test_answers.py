"""What an answer is made of."""

from __future__ import annotations

import pytest

from otel_bridge.intake.answers import as_uri


@pytest.mark.parametrize(
    "configured, uri",
    [
        ("https://t.example/trace/{trace_id}", "https://t.example/trace/{trace_id}"),
        ("http://[::1]:3000/t?id={trace_id}&a=[1]#x", "http://[::1]:3000/t?id={trace_id}&a=%5B1%5D#x"),
        (
            'https://g.example/explore?left={"queries":["{trace_id}"],"b":"a b"}',
            "https://g.example/explore?left=%7B%22queries%22:%5B%22{trace_id}%22%5D,%22b%22:%22a%20b%22%7D",
        ),
        (
            "https://g.example/e?left=%7B%22q%22:%22{trace_id}%22%7D",
            "https://g.example/e?left=%7B%22q%22:%22{trace_id}%22%7D",
        ),
        ("https://g.example/búsqueda/{trace_id}/{trace_id}", "https://g.example/b%C3%BAsqueda/{trace_id}/{trace_id}"),
    ],
)
def test_a_link_to_a_trace_is_a_uri_whatever_was_pasted_into_the_configuration(configured: str, uri: str) -> None:
    assert as_uri(configured) == uri
