"""Parts of the front door that need no socket: an error nobody foresaw, and what bodies may cost."""

from __future__ import annotations

import asyncio
import gzip
import logging
import time
from dataclasses import replace
from typing import Any

import pytest

from otel_bridge import config, errors
from otel_bridge.errors import Problem
from otel_bridge.http import bodies, responses
from otel_bridge.http.bodies import Bodies


def test_an_unforeseen_error_is_a_500_whose_id_the_log_has(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    try:
        raise KeyError("texto-del-usuario")
    except KeyError as error:
        problem = responses.unexpected(error)
    assert problem.kind is errors.SERVER_ERROR and problem.reference
    (record,) = caplog.records
    written = record.getMessage() + str(getattr(record, "fields", ""))
    assert problem.reference in written and "KeyError" in written and "test_bodies.py" in written
    assert "texto-del-usuario" not in record.getMessage()


def read(*chunks: bytes, headers: dict[bytes, bytes] | None = None, timeout: float = 5.0, delay: float = 0.0) -> bytes:
    """A body that arrives in these pieces."""
    waiting = [{"type": "http.request", "body": c, "more_body": i < len(chunks) - 1} for i, c in enumerate(chunks)]

    async def receive() -> Any:
        await asyncio.sleep(delay)
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    loaded = replace(config.load(str(config.SHIPPED), {}), body_timeout_seconds=timeout)

    async def run() -> bytes:
        return await Bodies(loaded).read(headers or {b"content-type": b"application/json"}, receive)

    return asyncio.run(run())


def refusal(*chunks: bytes, **options: Any) -> errors.ErrorKind:
    with pytest.raises(Problem) as caught:
        read(*chunks, **options)
    return caught.value.kind


def test_a_body_in_pieces_is_put_together() -> None:
    assert read(b'{"a"', b": ", b"1}") == b'{"a": 1}'


def test_a_gzipped_body_is_inflated() -> None:
    packed = gzip.compress(b'{"a": 1}')
    assert read(packed[:5], packed[5:], headers={b"content-encoding": b"gzip"}) == b'{"a": 1}'


def test_a_declared_length_over_the_limit_is_refused_before_it_is_read() -> None:
    headers = {b"content-length": str(bodies.MAX_BATCH_BYTES + 1).encode()}
    assert refusal(b"", headers=headers) is errors.BODY_TOO_LARGE


def test_a_body_that_grows_past_the_limit_is_refused_without_being_kept() -> None:
    assert refusal(*[b"[" * (1 << 20)] * 9) is errors.BODY_TOO_LARGE


def test_an_object_has_a_smaller_limit_than_a_batch() -> None:
    size = bodies.MAX_OBJECT_BYTES + 1
    assert refusal(b"{" + b" " * size) is errors.BODY_TOO_LARGE
    assert len(read(b"[" + b" " * size)) == size + 1


def test_a_gzip_bomb_costs_no_more_than_an_honest_batch() -> None:
    bomb = gzip.compress(b" " * (100 << 20))
    started = time.monotonic()
    assert refusal(bomb, headers={b"content-encoding": b"gzip"}) is errors.BODY_TOO_LARGE
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("kind", [b"text/plain", b"application/xml", b"multipart/form-data; boundary=x", b""])
def test_another_type_is_refused(kind: bytes) -> None:
    assert refusal(b"{}", headers={b"content-type": kind}) is errors.UNSUPPORTED_MEDIA


def test_a_body_that_does_not_come_is_refused_in_time() -> None:
    assert refusal(b"{}", timeout=0.1, delay=3) is errors.BODY_TIMEOUT


def test_a_body_that_stops_half_way_is_refused_in_time() -> None:
    chunks = [b"{", *[b" "] * 100]
    assert refusal(*chunks, timeout=0.2, delay=0.05) is errors.BODY_TIMEOUT


def test_a_client_that_leaves_is_not_answered() -> None:
    with pytest.raises(bodies.Gone):
        read()


@pytest.mark.parametrize(
    ("given", "kept"), [(b"abc-123", True), (b"a" * 128, True), (b"a" * 129, False), (b"a b", False), (b"a\nb", False)]
)
def test_a_request_id_that_is_fit_for_a_log_is_kept(given: bytes, kept: bool) -> None:
    assert (responses.request_id({b"x-request-id": given}) == given) is kept


def test_request_ids_of_our_own_are_unlike() -> None:
    assert len({responses.request_id({}) for _ in range(100)}) == 100
