"""The listener of `/metrics`, and scrapers that do not behave."""

from __future__ import annotations

import http.client
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from otel_bridge.metrics import listener
from otel_bridge.metrics.listener import MetricsListener
from otel_bridge.metrics.scrapers import Scrapers

PAGE = b"x" * (32 << 20)


def listening(page: bytes, host: str = "127.0.0.1") -> MetricsListener:
    return MetricsListener(
        lambda openmetrics, scraper: page, Scrapers(), lambda hosts, version: None, host, 0, threading.Event()
    )


@pytest.fixture
def scraped(monkeypatch: pytest.MonkeyPatch) -> Iterator[MetricsListener]:
    monkeypatch.setattr(listener._Handler, "timeout", 1)
    started = listening(PAGE)
    yield started
    started.close()


def test_it_listens_on_an_ipv6_address() -> None:
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error.strerror}")
    started = listening(b"page", "::1")
    try:
        connection = http.client.HTTPConnection("::1", started.port, timeout=30)
        connection.request("GET", "/metrics")
        with connection.getresponse() as answer:
            assert answer.read() == b"page"
        connection.close()
    finally:
        started.close()


def test_a_page_that_nobody_reads_loses_its_connection(
    scraped: MetricsListener, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(30)
        client.connect(("127.0.0.1", scraped.port))
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        ended = select.poll()
        ended.register(client, select.POLLHUP)
        assert ended.poll(30_000), "it is held"
        with pytest.raises(ConnectionResetError):
            while client.recv(65536):
                pass
    connection = http.client.HTTPConnection("127.0.0.1", scraped.port, timeout=30)
    connection.request("GET", "/metrics")
    with connection.getresponse() as answer:
        assert answer.read() == PAGE
    connection.close()
    assert capfd.readouterr().err == ""
