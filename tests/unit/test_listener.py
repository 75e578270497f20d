"""The listener of `/metrics`, and scrapers that do not behave."""

from __future__ import annotations

import http.client
import select
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from otel_bridge.metrics import listener
from otel_bridge.metrics.listener import MetricsListener
from otel_bridge.metrics.scrapers import Scraper, Scrapers
from tests.harness.waiting import wait_for

PAGE = b"x" * (32 << 20)


def listening(page: bytes, host: str = "127.0.0.1") -> MetricsListener:
    return MetricsListener(
        lambda openmetrics, scraper, packed: [page], Scrapers(), lambda hosts, version: None, host, 0, threading.Event()
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
    scraped: MetricsListener, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
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
    monkeypatch.setattr(listener._Handler, "timeout", 60)
    connection = http.client.HTTPConnection("127.0.0.1", scraped.port, timeout=30)
    connection.request("GET", "/metrics")
    with connection.getresponse() as answer:
        assert answer.read() == PAGE
    connection.close()
    assert capfd.readouterr().err == ""


ASK = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Pages:
    """Small pages that are made when they are asked for, and who has received which."""

    def __init__(self) -> None:
        self.scrapers = Scrapers()
        self.go_on = threading.Event()
        self.go_on.set()
        self.asked = threading.Semaphore(0)
        self.made: list[Scraper] = []
        self.page_bytes = b"page"
        self.listener = MetricsListener(
            self.render, self.scrapers, lambda hosts, version: None, "127.0.0.1", 0, threading.Event()
        )

    def render(self, openmetrics: bool, scraper: Scraper, packed: bool) -> list[bytes]:
        self.scrapers.begin_page(scraper, [])
        self.made.append(scraper)
        self.asked.release()
        assert self.go_on.wait(30)
        return [self.page_bytes]

    def connect(self) -> socket.socket:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(30)
        client.connect(("127.0.0.1", self.listener.port))
        return client

    def page(self, client: socket.socket) -> None:
        client.sendall(ASK)
        client.settimeout(30)
        read = b""
        while not read.endswith(b"page"):
            read += client.recv(4096)
        assert self.asked.acquire(timeout=30)


@pytest.fixture
def pages() -> Iterator[Pages]:
    started = Pages()
    yield started
    started.go_on.set()
    started.listener.close()


def _gives_up(pages: Pages, client: socket.socket) -> None:
    """Its time is over before the page is made."""
    pages.go_on.clear()
    client.sendall(ASK)
    assert pages.asked.acquire(timeout=30)
    client.close()
    pages.go_on.set()


def _is_reset(pages: Pages, client: socket.socket) -> None:
    """It ends with the page unread."""
    client.sendall(ASK)
    assert pages.asked.acquire(timeout=30)
    assert client.recv(1) == b"H"
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def _closes(pages: Pages, client: socket.socket) -> None:
    """It has read the page."""
    pages.page(client)
    client.close()


def test_the_time_to_read_is_that_of_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener._Handler, "timeout", 1)
    part = b"x" * (1 << 20)
    started = MetricsListener(
        lambda openmetrics, scraper, packed: [part] * 64, Scrapers(), lambda hosts, version: None, "127.0.0.1", 0,
        threading.Event(),
    )  # fmt: skip
    try:
        with socket.create_connection(("127.0.0.1", started.port), timeout=30) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            read = 0
            with pytest.raises(OSError):
                for _ in range(64):  # a part in less than the time that one has
                    more = client.recv(1 << 20, socket.MSG_WAITALL)
                    if not more:
                        raise ConnectionResetError
                    read += len(more)
                    time.sleep(0.2)
            assert read < 63 << 20
    finally:
        started.close()


def _ends_before_it_has_taken_the_page(pages: Pages, client: socket.socket) -> None:
    """The page is on its way when it says that it will send no more, and never arrives."""
    pages.page_bytes = b"page" * (1 << 14)
    client.sendall(ASK)
    assert pages.asked.acquire(timeout=30)
    wait_for(lambda: all(handler.written for handler in pages.listener._server.open), "a page that is written")
    client.shutdown(socket.SHUT_WR)
    wait_for(lambda: not pages.listener._server.open, "the end of its connection")
    client.close()
    pages.page_bytes = b"page"


@pytest.mark.parametrize(
    ("ends", "received"),
    [(_gives_up, 1), (_is_reset, 1), (_ends_before_it_has_taken_the_page, 1), (_closes, 2)],
)
def test_a_page_is_received_when_its_scraper_has_read_it(
    pages: Pages, ends: Callable[[Pages, socket.socket], None], received: int
) -> None:
    client = pages.connect()
    pages.page(client)
    ends(pages, client)
    wait_for(lambda: not pages.listener._server.open, "the end of its connection")
    with pages.connect() as again:
        pages.page(again)
        assert pages.made[-1] is not pages.made[0]
        assert pages.made[0].last == received


def test_a_page_that_was_read_is_received_before_its_thread_has_come_back_from_writing_it(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = socketserver._SocketWriter.write  # type: ignore[attr-defined]

    def stands_still(self: object, data: bytes) -> int:
        count: int = write(self, data)
        time.sleep(0.2 if data.endswith(b"page") else 0)
        return count

    monkeypatch.setattr(socketserver._SocketWriter, "write", stands_still)  # type: ignore[attr-defined]
    monkeypatch.setattr(listener, "ACKNOWLEDGED_SECONDS", 30.0)
    for newest in range(4):  # page that it had received when its own was begun
        with pages.connect() as client:
            pages.page(client)
            assert pages.made[-1].last == newest


def test_a_request_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fails(openmetrics: bool, scraper: Scraper, packed: bool) -> list[bytes]:
        raise ValueError("unforeseen")

    started = MetricsListener(fails, Scrapers(), lambda hosts, version: None, "127.0.0.1", 0, threading.Event())
    try:
        with socket.create_connection(("127.0.0.1", started.port), timeout=30) as client:
            client.sendall(ASK)
            assert client.recv(10) == b""
    finally:
        started.close()
    assert "unforeseen" in caplog.text


CLOSING = ASK[:-2] + b"Connection: close\r\n\r\n"


@pytest.mark.parametrize(("wait", "asks"), [("IDLE_SECONDS", ASK), ("LINGER_SECONDS", CLOSING)])
def test_a_page_that_nobody_has_taken_within_its_time_is_not_received(
    pages: Pages, monkeypatch: pytest.MonkeyPatch, wait: str, asks: bytes
) -> None:
    """As where the network to the scraper is gone."""
    with pages.connect() as client:
        pages.page(client)
        pages.page_bytes = b"page" * (1 << 14)
        pages.go_on.clear()
        client.sendall(asks)
        assert pages.asked.acquire(timeout=30)
        monkeypatch.setattr(listener, wait, 0.5)  # not for the request itself to come
        pages.go_on.set()
        wait_for(lambda: not pages.listener._server.open, "the end of its connection")
        assert pages.made[-1].sent == 2 and pages.made[-1].last == 1
