"""What a proxy answers to CONNECT, and connections that are slow to be made."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from otel_bridge.config import Otlp
from otel_bridge.export.otlp import connect
from otel_bridge.export.result import SendResult
from tests.harness.otlp import OtlpReceiver
from tests.harness.proxy import Proxy

NOWHERE = {"http/protobuf": "https://collector.invalid:4318/v1/traces", "grpc": "http://collector.invalid:4317"}
STATUSES = {403: "config", 407: "config", 408: "retry", 429: "retry", 502: "retry", 503: "retry", 504: "retry"}
protocols = pytest.mark.parametrize("protocol", NOWHERE)


def through(proxy: str, protocol: str, seconds: float = 30.0) -> SendResult:
    otlp = Otlp(NOWHERE[protocol], protocol, timeout_seconds=seconds, proxy=f"http://{proxy}", insecure=True)
    transport = connect(otlp)
    try:
        return transport.send(b"x")
    finally:
        transport.close()


@protocols
@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
def test_a_refused_tunnel_is_the_proxys_word_and_no_records_fault(
    receiver: OtlpReceiver, protocol: str, status: int, kind: str
) -> None:
    proxy = Proxy(receiver)
    proxy.trouble = status
    result = through(proxy.address, protocol)
    proxy.close()
    assert (result.kind, result.may_be_record) == (kind, False), result
    assert str(status) in result.message and "proxy" in result.message.lower()


@contextmanager
def answering(*pieces: bytes, pause: float = 0.0) -> Iterator[str]:
    """An address at which each connection gets these pieces, with a pause between them, and is closed."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    try:
                        client.recv(65536)
                        for piece in pieces:
                            client.sendall(piece)
                            time.sleep(pause)
                    except OSError:
                        continue

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


@protocols
@pytest.mark.parametrize("answer", [b"", b"rubbish\r\n\r\n", b"HTTP/1.1 200"])
def test_a_proxy_that_breaks_off_is_a_retry(protocol: str, answer: bytes) -> None:
    with answering(answer) as address:
        result = through(address, protocol)
    assert (result.kind, result.may_be_record) == ("retry", False), result


@protocols
def test_a_proxys_answer_that_trickles_in_is_ended(protocol: str) -> None:
    started = time.monotonic()
    with answering(b"HTTP/1.1 200 OK\r\n", *[b"X-Slow: 1\r\n"] * 100, pause=0.1) as address:
        result = through(address, protocol, 1.0)
    assert (result.kind, result.may_be_record) == ("retry", False), result
    assert time.monotonic() - started < 9, "the answer takes ten seconds"


def test_each_address_of_a_name_has_its_share_of_the_time(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one swallows what asks for a connection."""
    addresses = ["127.0.0.2", "127.0.0.1"]
    lookup = socket.getaddrinfo

    def both(host: str, *arguments: Any, **options: Any) -> list[Any]:
        if host != "two.example":
            return lookup(host, *arguments, **options)
        return [found for address in addresses for found in lookup(address, *arguments, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    held = [socket.socket() for _ in range(4)]
    held[0].bind((addresses[0], receiver.port))
    held[0].listen(0)
    for client in held[1:]:
        client.settimeout(0.1)
        client.connect_ex((addresses[0], receiver.port))
    transport = connect(Otlp(f"http://two.example:{receiver.port}/v1/traces", "http/protobuf", timeout_seconds=2.0))
    assert transport.send(b"").kind == "ok"
    transport.close()
    for one in held:
        one.close()
