"""What the field really sends: read as it was meant, answered although something follows it."""

from __future__ import annotations

import codecs
import gzip
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.bridge import GUIDE_EVENT, Bridge


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    started = Bridge(tmp_path_factory.mktemp("as-sent")).start()
    yield started
    started.stop()


def post(body: bytes, length: int | None = None, **headers: str) -> bytes:
    """A post on a connection that ends with its answer."""
    fields = {"Host": "x", "Content-Type": "application/json", "Connection": "close"}
    fields["Content-Length"] = str(len(body) if length is None else length)
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"POST /api/events HTTP/1.1\r\n{head}\r\n".encode() + body


def event(session: str, **fields: Any) -> bytes:
    return json.dumps({**GUIDE_EVENT, "sesion_id": session, **fields}, ensure_ascii=False).encode()


def answers(bridge: Bridge, raw: bytes, close_half: bool = False) -> list[tuple[int, dict[str, Any]]]:
    """Every answer on a connection until the bridge ends it."""
    told = []
    with socket.create_connection(("127.0.0.1", bridge.port), timeout=20) as connection:
        connection.sendall(raw)
        if close_half:
            connection.shutdown(socket.SHUT_WR)
        file = connection.makefile("rb")
        while line := file.readline():
            headers = http.client.parse_headers(file)
            told.append((int(line.split()[1]), json.loads(file.read(int(headers["content-length"])))))
    return told


def statuses(bridge: Bridge, raw: bytes, **options: Any) -> list[int]:
    return [status for status, _ in answers(bridge, raw, **options)]


# --- what was taken is answered ---------------------------------------------------------------------------------------


def test_what_follows_a_post_does_not_take_its_answer_away(bridge: Bridge) -> None:
    session = bridge.session()
    counted = bridge.metric("otel_bridge_records_total", result="accepted", kind="event")
    good = post(event(session), Connection="")
    assert statuses(bridge, good + b"x") == [201, 400]
    assert statuses(bridge, good + b"\0\1garbage\r\n\r\n") == [201, 400]
    assert statuses(bridge, good * 2 + b"no request") == [201, 201, 400]
    assert bridge.metric("otel_bridge_records_total", result="accepted", kind="event") == counted + 4


def test_a_length_in_characters_is_answered_with_what_is_wrong(bridge: Bridge) -> None:
    body = event(bridge.session(), contenido="¿Cómo configuro la integración continua?")
    (first, refusal), *rest = answers(bridge, post(body, length=len(body.decode()), Connection=""))
    assert first == 400 and refusal["type"] == "urn:otel-bridge:json-malformado"
    assert [status for status, _ in rest] == [400]


@pytest.mark.parametrize(
    "raw",
    [
        post(b"", length=0).replace(b"Content-Length: 0\r\n", b""),
        post(b"{}").replace(b"Content-Length: 2", b"Transfer-Encoding: xchunked"),
        post(b"zz\r\n{}\r\n0\r\n\r\n").replace(b"Content-Length: 15", b"Transfer-Encoding: chunked"),
    ],
    ids=["no length", "an unknown coding", "a bad chunk size"],
)
def test_a_body_that_cannot_be_read_is_400(bridge: Bridge, raw: bytes) -> None:
    told = answers(bridge, raw)
    assert [status for status, _ in told] == [400] and told[0][1]["type"].startswith("urn:otel-bridge:")


def chunked(path: str, body: bytes, method: str = "POST", kind: str = "application/json") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("broken", [b"zz\r\n", b"2\r\n{}zz", b'3\r\n{"a\r\n-1\r\n', b"ffffffffffffffffff\r\n"])
def test_a_broken_chunk_is_answered_once(bridge: Bridge, broken: bytes) -> None:
    ping = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    whole = b"%x\r\n%b\r\n0\r\n\r\n" % (len(ping), ping)
    good = post(event(bridge.session()), Connection="")
    for path in ("/mcp", "/mcp/", "/api/events"):
        bad = chunked(path, broken)
        assert statuses(bridge, bad) == [400]
        assert statuses(bridge, bad + good) == [400]
        assert statuses(bridge, good + bad) == [201, 400]
        assert statuses(bridge, good * 2 + bad + good) == [201, 201, 400]
        assert statuses(bridge, chunked("/mcp", whole) + bad) == [200, 400]
        assert statuses(bridge, chunked("/mcp", whole) + good + bad) == [200, 201, 400]


def test_a_broken_chunk_of_what_has_been_refused_gets_no_second_answer(bridge: Bridge) -> None:
    with socket.create_connection(("127.0.0.1", bridge.port), timeout=20) as connection:
        connection.sendall(chunked("/api/events", b"2\r\n{}\r\n", kind="text/plain"))
        told = connection.recv(65536)
        assert told.startswith(b"HTTP/1.1 415 ")
        connection.sendall(b"zz\r\n")
        assert connection.recv(65536) == b""
    assert len(statuses(bridge, chunked("/healthz", b"zz\r\n", "GET"))) == 1


NO_HOST = {
    "none": "",
    "two": "Host: localhost\r\nHost: localhost\r\n",
    "two others": "Host: localhost\r\nX: y\r\nhost: evil.example\r\n",
    "two words": "Host: a b\r\n",
    "a URL": "Host: http://localhost/\r\n",
    "a user": "Host: zq7canary@localhost\r\n",
    "half an address": "Host: [::1\r\n",
    "no port": "Host: localhost:zq7canary\r\n",
}


def asked(first: str, host: str, body: bytes = b"", more: str = "") -> bytes:
    kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return f"{first}\r\n{host}{kind}{more}\r\n".encode() + body


@pytest.mark.parametrize("host", NO_HOST.values(), ids=NO_HOST)
def test_a_request_without_a_host_or_with_two_is_400_and_nothing_of_it_is_taken(bridge: Bridge, host: str) -> None:
    one = event(bridge.session())
    counted = bridge.metric("otel_bridge_records_total", result="accepted", kind="event")
    post_line, get_line = "POST /api/events HTTP/1.1", "GET /healthz HTTP/1.1"
    good = post(one, Connection="")
    for bad in (
        asked(post_line, host, one),
        asked(get_line, host),
        asked("POST /mcp HTTP/1.1", host, b'{"jsonrpc":"2.0","id":1,"method":"ping"}'),
        asked("GET /api/eventos HTTP/1.1", host),
        asked(post_line, host, one, "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"),
        asked(post_line, host, one, "Expect: 100-continue\r\n"),
    ):
        for raw in (bad, bad + good, bad + bad):
            ((status, problem),) = answers(bridge, raw)
            assert status == 400 and problem["type"] == "urn:otel-bridge:cabecera-invalida"
            assert "Host" in problem["detail"] and "zq7canary" not in str(problem)
    bad = asked(post_line, host, one)
    assert statuses(bridge, good + bad + good) == [201, 400]
    assert statuses(bridge, asked(get_line, "Host: x\r\n") + bad) == [200, 400]
    assert bridge.metric("otel_bridge_records_total", result="accepted", kind="event") == counted + 1
    # Each request is looked at, not a connection's first alone.
    with socket.create_connection(("127.0.0.1", bridge.port), timeout=20) as connection:
        for raw, expected in ((good, b"HTTP/1.1 201 "), (good, b"HTTP/1.1 201 "), (bad, b"HTTP/1.1 400 ")):
            connection.sendall(raw)
            assert connection.recv(65536).startswith(expected)
        assert connection.recv(65536) == b""


def test_a_host_is_whatever_the_client_calls_us_and_http_1_0_needs_none(bridge: Bridge) -> None:
    one = event(bridge.session())
    for host in (
        "localhost",
        "otel_bridge:8000",
        "[::1]:8000",
        "",
        " x ",
        "bridge.default.svc.",
        "xn--and-6ma2c.example",
    ):
        assert statuses(bridge, post(one, Host=host or " ")) == [201]
    old = asked("POST /api/events HTTP/1.0", "", one)
    assert statuses(bridge, old) == [201]
    assert statuses(bridge, asked("GET /healthz HTTP/1.0", "")) == [200]
    assert statuses(bridge, asked("POST /api/events HTTP/1.0", NO_HOST["two"], one)) == [400]


def test_a_sender_that_closes_its_half_is_answered(bridge: Bridge) -> None:
    good = post(event(bridge.session()), Connection="")
    assert statuses(bridge, good, close_half=True) == [201]
    assert statuses(bridge, good * 3, close_half=True) == [201] * 3
    raw = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    assert statuses(bridge, raw, close_half=True) == [200]


HEAD = b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CUT = {
    "a byte": b"x",
    "a method": b"GET",
    "half a head": HEAD,
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length and chunks": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    "another version": b"GET / HTTP/1.2\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a NUL": HEAD + b"X-A: \0\r\n\r\n",
    "a line that goes on": HEAD + b"X-A: 1\r\n 2\r\n\r\n",
    "half a body": HEAD + b"Content-Length: 20\r\n\r\n{}",
    "no last chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "no end of the last chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
    "half a body of a call": b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n{}",
}


@pytest.mark.parametrize("cut", CUT.values(), ids=CUT.keys())
def test_a_sender_that_closes_its_half_early_is_answered_for_all_it_sent(bridge: Bridge, cut: bytes) -> None:
    session = bridge.session()
    call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
    mcp = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    good = post(event(session), Connection="")
    many = post(b"[" + b",".join([event(session)] * 500) + b"]", Connection="")
    counted = bridge.metric("otel_bridge_records_total", result="accepted", kind="event")
    assert statuses(bridge, cut, close_half=True) == [400]
    for first in ([good], [good] * 3, [many], [mcp % (len(call), call)], [good, mcp % (len(call), call), good]):
        right = [200 if b"/mcp" in one[:12] else 201 for one in first]
        assert statuses(bridge, b"".join(first) + cut, close_half=True) == [*right, 400]
    assert bridge.metric("otel_bridge_records_total", result="accepted", kind="event") == counted + 4 + 500 + 2


def test_an_expected_body_that_never_comes_is_answered(bridge: Bridge) -> None:
    raw = HEAD + b"Content-Length: 20\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", bridge.port), timeout=20) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        lines = connection.makefile("rb").readlines()
    assert [line for line in lines if line.startswith(b"HTTP/")] == [
        b"HTTP/1.1 100 Continue\r\n", b"HTTP/1.1 400 Bad Request\r\n"
    ]  # fmt: skip


@pytest.mark.parametrize("target", [b"CONNECT localhost:80", b"GET localhost:80", b"GET http://[::1"])
def test_a_target_that_cannot_be_read_takes_no_answer_away(bridge: Bridge, target: bytes) -> None:
    session = bridge.session()
    bad = target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    good = post(event(session), Connection="")
    many = post(b"[" + b",".join([event(session)] * 500) + b"]", Connection="")
    counted = bridge.metric("otel_bridge_records_total", result="accepted", kind="event")
    assert statuses(bridge, bad) == [400]
    assert statuses(bridge, good + bad) == [201, 400]
    assert statuses(bridge, good * 2 + bad) == [201, 201, 400]
    assert statuses(bridge, many + bad) == [201, 400]
    assert bridge.metric("otel_bridge_records_total", result="accepted", kind="event") == counted + 503


# --- read as it was meant ---------------------------------------------------------------------------------------------


def test_a_byte_order_mark_is_skipped(bridge: Bridge) -> None:
    one = event(bridge.session())
    for body in (one, b"[" + one + b"]"):
        assert statuses(bridge, post(codecs.BOM_UTF8 + body)) == [201]
    packed = gzip.compress(codecs.BOM_UTF8 + one)
    assert statuses(bridge, post(packed, Content_Encoding="gzip")) == [201]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
@pytest.mark.parametrize("batch", [False, True], ids=["event", "batch"])
def test_another_encoding_is_named(bridge: Bridge, encoding: str, batch: bool) -> None:
    text = event(bridge.session()).decode()
    ((status, problem),) = answers(bridge, post((f"[{text}]" if batch else text).encode(encoding)))
    assert status == 400 and "UTF-8" in problem["detail"], problem


STANDS_FOR = 987_654_321
"""A number that no session's id has in it."""


@pytest.mark.parametrize("number", ["25.0", "2.5e1", "2500e-2", "0.0", "-0.0", "1E2"])
@pytest.mark.parametrize("field", ["tokens_entrada", "tokens_cache"])
def test_an_integer_may_be_written_as_a_number_without_a_fraction(bridge: Bridge, field: str, number: str) -> None:
    body = event(bridge.session(), **{"tokens_entrada": 8888, field: STANDS_FOR}).replace(
        b"%d" % STANDS_FOR, number.encode()
    )
    ((status, told),) = answers(bridge, post(body))
    assert status == 201 and told["tokens_entrada"] == (int(float(number)) if field == "tokens_entrada" else 8888)
    ((status, told),) = answers(bridge, post(b"[" + body + b"]"))
    assert status == 201 and told["aceptados"] == 1
    ((status, told),) = answers(bridge, post(body, openai_conversation_id="c-1"))
    assert status == 201


@pytest.mark.parametrize("number", ["25.5", '"25"', '"25.0"', "true", "-1.0", "9007199254740993.0", "1e400", "[25.0]"])
@pytest.mark.parametrize("field", ["tokens_entrada", "tokens_cache"])
def test_what_is_no_integer_is_refused_by_name(bridge: Bridge, field: str, number: str) -> None:
    body = event(bridge.session(), **{field: STANDS_FOR}).replace(b"%d" % STANDS_FOR, number.encode())
    ((status, problem),) = answers(bridge, post(body))
    assert status in (400, 422)
    if status == 422:
        assert [error["campo"] for error in problem["errors"]] == [field]


def test_null_is_an_integer_only_where_it_is_optional(bridge: Bridge) -> None:
    session = bridge.session()
    assert statuses(bridge, post(event(session, tokens_entrada=None))) == [422]
    assert statuses(bridge, post(event(session, tokens_cache=None))) == [201]


def test_more_tokens_from_the_cache_than_there_were_are_refused_at_every_entrance(bridge: Bridge) -> None:
    session = bridge.session()
    good, bad = (event(session, tokens_entrada=25, tokens_cache=cached) for cached in (25, 26))
    ((status, problem),) = answers(bridge, post(bad))
    assert (status, [error["campo"] for error in problem["errors"]]) == (422, ["tokens_cache"])
    ((status, told),) = answers(bridge, post(b"[" + good + b"," + bad + b"]"))
    assert status == 207 and [item["estado"] for item in told["resultados"]] == [201, 422]
    assert [error["campo"] for error in told["resultados"][1]["error"]["errors"]] == ["tokens_cache"]
    for body, expected in ((good, 201), (bad, 422), (bad.replace(b"26", b"26.0"), 422)):
        assert statuses(bridge, post(body, openai_conversation_id="c-cache")) == [expected]


def test_gzip_of_several_members_is_one_body(bridge: Bridge) -> None:
    body = event(bridge.session())
    members = gzip.compress(body[:20]) + gzip.compress(b"") + gzip.compress(body[20:])
    for name in ("gzip", "x-gzip", "GZip"):
        assert statuses(bridge, post(members, Content_Encoding=name)) == [201]
    assert statuses(bridge, post(members + b"rest", Content_Encoding="gzip")) == [400]
    bomb = gzip.compress(b" " * (5 << 20)) * 2
    assert statuses(bridge, post(bomb, Content_Encoding="gzip")) == [413]


@pytest.mark.parametrize(
    ("scheme", "lines"),
    [
        ("https", ["https, http"]),
        ("https", ["https,https"]),
        ("https", ["HTTPS"]),
        ("https", ["https", "http"]),
        ("https", ["https", "http, http"]),
        ("https", ["", "https", "http"]),
        ("https", [" , https \t"]),
        ("http", ["http", "https"]),
        ("http", ["http, https", "https"]),
    ],
    ids=str,
)
def test_the_first_of_several_proxies_says_how_the_client_asked(bridge: Bridge, scheme: str, lines: list[str]) -> None:
    proto = "".join(f"X-Forwarded-Proto: {line}\r\n" for line in lines)
    raw = asked("GET /openapi-gpt.json HTTP/1.1", "Host: gpt.example\r\n", more=f"{proto}Connection: close\r\n")
    ((status, document),) = answers(bridge, raw)
    assert status == 200 and document["servers"] == [{"url": f"{scheme}://gpt.example"}]


PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


def with_lines(path: str, body: bytes, *lines: str) -> bytes:
    """A post with these header lines, letter by letter."""
    return asked(f"POST {path} HTTP/1.1", "Host: localhost\r\n", body, "".join(f"{line}\r\n" for line in lines))


@pytest.mark.parametrize(
    ("codings", "taken"),
    [
        (["gzip", "gzip"], False),
        (["gzip, gzip"], False),
        (["gzip", "br"], False),
        (["br", "gzip"], False),
        (["", "gzip"], True),
        (["gzip", ""], True),
        (["identity", "gzip"], True),
        (["identity, x-gzip"], True),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/api/events", "/mcp"])
def test_codings_in_several_lines_are_one_list(bridge: Bridge, path: str, codings: list[str], taken: bool) -> None:
    body = PING if path == "/mcp" else event(bridge.session())
    lines = [f"Content-Encoding: {coding}" for coding in codings]
    ((status, told),) = answers(bridge, with_lines(path, gzip.compress(body), *lines, "Connection: close"))
    if taken:
        assert status == (200 if path == "/mcp" else 201), told
    else:
        assert status == 415 and told["type"] == "urn:otel-bridge:tipo-no-admitido"


@pytest.mark.parametrize("blanks", [" ", "\t", " \t  "], ids=repr)
def test_blanks_around_a_value_are_no_part_of_it(bridge: Bridge, blanks: str) -> None:
    close = "Connection: close"

    def line(name: str, value: str) -> str:
        return f"{name}:{blanks}{value}{blanks}"

    version = line("MCP-Protocol-Version", "2025-06-18")
    assert statuses(bridge, with_lines("/mcp", PING, version, line("Accept", "application/json"), close)) == [200]
    listing = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
    ((status, told),) = answers(bridge, with_lines("/mcp", listing, version, close))
    assert status == 200 and told["result"]["tools"]

    one = event(bridge.session())
    key = f"key-{len(blanks)}-{ord(blanks[0])}"
    first = answers(bridge, with_lines("/api/events", one, line("Idempotency-Key", key), close))
    assert first[0][0] == 201
    assert answers(bridge, with_lines("/api/events", one, f"Idempotency-Key: {key}", close)) == [(200, first[0][1])]

    parent = line("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    fitting = ("X-Request-Id", "Expect", "openai-conversation-id", "Content-Encoding")
    lines = [line(*pair) for pair in zip(fitting, ("id-1", "", f"c-{key}", "identity"), strict=True)]
    with socket.create_connection(("127.0.0.1", bridge.port), timeout=20) as connection:
        no_session = json.dumps(GUIDE_EVENT).encode()
        connection.sendall(with_lines("/api/events", no_session, parent, *lines, close))
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 201 ") and b"\r\nx-request-id: id-1\r\n" in answer
