"""The door of `/metrics`: who is answered, in which format and coding."""

from __future__ import annotations

import gzip
import http.client
import json
import socket

import pytest

from tests.frontdoor.conftest import Serve
from tests.harness.bridge import Bridge

CANARY = "zq7canary"


@pytest.fixture(scope="module")
def one(serve: Serve) -> Bridge:
    return serve(OTEL_BRIDGE_PUBLIC_URL="https://koomtai.com")


def ask(port: int, *lines: str, version: str = "1.1") -> tuple[int, http.client.HTTPMessage, bytes]:
    """GET /metrics with these header lines and no other."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall("".join(f"{line}\r\n" for line in (f"GET /metrics HTTP/{version}", *lines, "")).encode())
        file = connection.makefile("rb")
        status = int(file.readline().split()[1])
        headers = http.client.parse_headers(file)
        body = file.read(int(headers["Content-Length"]))
        assert len(body) == int(headers["Content-Length"])
        return status, headers, body


@pytest.mark.parametrize("host", ["127.0.0.1:9464", "localhost", "LOCALHOST:1", "[::1]:9464", "koomtai.com"])
def test_on_loopback_only_loopback_names_and_the_public_one_get_the_page(one: Bridge, host: str) -> None:
    status, _, page = ask(one.metrics_port, f"Host: {host}")
    assert status == 200 and b"otel_bridge_build_info" in page
    for foreign in (f"{CANARY}.example", f"{host}.evil.example", "10.0.0.1", ""):
        status, headers, body = ask(one.metrics_port, f"Host: {foreign}")
        assert status == (400 if foreign.startswith("[") or foreign.count(":") else 403), foreign
        assert headers["Content-Type"] == "application/problem+json"
        if status == 403:
            assert json.loads(body)["type"] == "urn:otel-bridge:origen-no-permitido"
        assert CANARY.encode() not in body and b"gpt_" not in body


def test_beyond_loopback_the_names_of_containers_and_services_get_the_page(serve: Serve) -> None:
    bridge = serve(OTEL_BRIDGE_METRICS_HOST="0.0.0.0")
    for host in ("otel-bridge:9464", "bridge.default.svc.cluster.local", "127.0.0.1"):
        assert ask(bridge.metrics_port, f"Host: {host}")[0] == 200
    assert bridge.stop() == 0


def test_a_request_without_a_host_or_with_two_is_400_but_for_http_1_0(one: Bridge) -> None:
    assert ask(one.metrics_port, version="1.0")[0] == 200
    for lines in ([], ["Host: localhost", "Host: localhost"], ["Host: a b"]):
        status, _, body = ask(one.metrics_port, *lines)
        assert status == 400 and json.loads(body)["type"] == "urn:otel-bridge:cabecera-invalida"


def test_what_is_no_request_is_not_repeated(one: Bridge) -> None:
    for line in (CANARY, f"GET /{CANARY} {CANARY}", f"GET / HTTP/{CANARY}", f"{CANARY} / HTTP/1.1"):
        with socket.create_connection(("127.0.0.1", one.metrics_port), timeout=20) as connection:
            connection.sendall(f"{line}\r\nHost: localhost\r\n\r\n".encode())
            assert CANARY.encode() not in connection.makefile("rb").read()


@pytest.mark.parametrize("accept", ["application/openmetrics-text; version=1.0.0", "text/plain"])
@pytest.mark.parametrize(
    ("coding", "packed"), [("gzip", True), ("gzip;q=0", False), ("GZIP ; Q=0.000", False), ("*;q=0, gzip", True)]
)
def test_format_and_coding_are_what_the_scraper_accepts(one: Bridge, accept: str, coding: str, packed: bool) -> None:
    status, headers, body = ask(
        one.metrics_port, "Host: localhost", f"Accept: {accept};q=0.1, */*;q=0", f"Accept-Encoding: {coding}"
    )
    assert status == 200 and headers["Content-Type"].startswith(accept.partition(";")[0])
    assert headers["Vary"] == "Accept, Accept-Encoding"
    assert headers.get("Content-Encoding") == ("gzip" if packed else None)
    page = gzip.decompress(body) if packed else body
    assert page.endswith(b"# EOF\n") == accept.startswith("application")


@pytest.mark.parametrize("line", ["Accept: */*;q=0", "Accept: text/plain;q=0", "Accept-Encoding: identity;q=0"])
def test_what_refuses_everything_is_406(one: Bridge, line: str) -> None:
    status, headers, body = ask(one.metrics_port, "Host: localhost", line)
    assert status == 406 and json.loads(body)["type"] == "urn:otel-bridge:respuesta-no-aceptable"
    assert headers["Vary"] == "Accept, Accept-Encoding"


def test_a_version_that_is_none_is_no_error(one: Bridge) -> None:
    status, headers, _ = ask(one.metrics_port, "Host: localhost", "Accept: application/openmetrics-text; version=abc")
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    assert "Traceback" not in one.output()
