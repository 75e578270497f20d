"""How much one request holds."""

from __future__ import annotations

from otel_bridge.export.request_size import BATCH_SPANS, LEAST_BYTES, REQUEST_BYTES, RequestSize


def test_a_request_is_bounded_in_spans_and_bytes_and_one_span_always_is_one() -> None:
    size = RequestSize()
    assert size.holds(BATCH_SPANS, REQUEST_BYTES) and size.holds(1, REQUEST_BYTES * 2)
    assert not size.holds(BATCH_SPANS + 1, 1) and not size.holds(2, REQUEST_BYTES + 1)


def test_bytes_follow_what_the_endpoint_finds_too_large_and_come_back() -> None:
    size = RequestSize()
    size.too_large(3_000_000)
    assert size.bytes == 1_500_000
    size.too_large(1_400_000)
    assert size.bytes == 700_000
    size.too_large(3_000_000)  # one that was under way before
    assert size.bytes == 350_000
    grown = 0
    while size.bytes < REQUEST_BYTES:
        size.grow()
        grown += 1
    assert 100 < grown < 200 and size.spans == BATCH_SPANS


def test_bytes_come_back_from_their_least() -> None:
    size = RequestSize()
    for _ in range(40):
        size.too_large(REQUEST_BYTES)
    assert size.bytes == LEAST_BYTES
    size.grow()
    assert size.bytes > LEAST_BYTES
