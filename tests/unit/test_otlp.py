"""One request to a real receiver, and which of the five answers it is taken for."""

from __future__ import annotations

import gzip
import os
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.protobuf import json_format
from google.rpc.status_pb2 import Status

from otel_bridge.config import Otlp
from otel_bridge.export.otlp import connect
from otel_bridge.export.result import SendResult
from otel_bridge.export.spans import SpanProjection
from tests.harness.otlp import OtlpReceiver, Received, Reply, partial
from tests.harness.ports import free_port
from tests.harness.proxy import Proxy
from tests.unit.samples import event, gpt, session

BODY = SpanProjection({"devops-expert": gpt()}).request([session(), event()])


@pytest.fixture(scope="module")
def endpoint() -> Iterator[OtlpReceiver]:
    started = OtlpReceiver().start()
    yield started
    started.close()


def http(receiver: OtlpReceiver, **changes: Any) -> Otlp:
    values = {"endpoint": f"http://127.0.0.1:{receiver.port}/v1/traces", "protocol": "http/protobuf"}
    return Otlp(**{**values, "timeout_seconds": 5.0, **changes})


def over_grpc(receiver: OtlpReceiver, **changes: Any) -> Otlp:
    values = {"endpoint": f"http://127.0.0.1:{receiver.grpc_port}", "protocol": "grpc"}
    return Otlp(**{**values, "timeout_seconds": 5.0, **changes})


def send(receiver: OtlpReceiver, otlp: Otlp, reply: Reply | None = None) -> SendResult:
    receiver.spans.clear()
    receiver.behave = lambda spans: reply or Reply()
    transport = connect(otlp)
    try:
        return transport.send(BODY)
    finally:
        transport.close()


@pytest.mark.parametrize("make", [http, over_grpc])
@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_sent_arrives(endpoint: OtlpReceiver, make: Any, compressed: bool) -> None:
    otlp = make(endpoint, gzip=compressed, headers=(("x-team", "siete"),))
    assert send(endpoint, otlp).kind == "ok"
    assert [one.span.name for one in endpoint.spans] == ["session devops-expert", "consulta"]
    assert endpoint.headers[-1]["x-team"] == "siete"


STATUSES = {
    200: "ok",
    202: "ok",
    301: "config",
    302: "config",
    307: "config",
    400: "poison",
    401: "config",
    403: "config",
    404: "config",
    405: "config",
    408: "retry",
    413: "poison",
    422: "poison",
    429: "retry",
    500: "retry",
    501: "retry",
    502: "retry",
    503: "retry",
    504: "retry",
}


@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
def test_an_http_status_is_one_of_five_answers(endpoint: OtlpReceiver, status: int, kind: str) -> None:
    answer = send(endpoint, http(endpoint), Reply(status=status))
    assert answer.kind == kind
    if kind != "ok":
        assert str(status) in answer.message


def test_only_a_500_may_be_one_records_fault(endpoint: OtlpReceiver) -> None:
    assert [s for s in STATUSES if send(endpoint, http(endpoint), Reply(status=s)).may_be_record] == [500]


@pytest.mark.parametrize(("status", "text"), [(413, b""), (400, b"http: request body too large")])
def test_a_body_over_the_receivers_limit_is_known(endpoint: OtlpReceiver, status: int, text: bytes) -> None:
    body = Status(code=3, message=text.decode()).SerializeToString() if text else b""
    answer = send(endpoint, http(endpoint), Reply(status=status, body=body))
    assert answer.kind == "poison" and answer.too_large
    assert not send(endpoint, http(endpoint), Reply(status=400, body=b"no")).too_large


def test_a_redirect_is_not_followed(endpoint: OtlpReceiver) -> None:
    answer = send(endpoint, http(endpoint), Reply(status=302, headers={"Location": "http://elsewhere/x"}))
    assert "elsewhere" in answer.message and len(endpoint.spans) == 0


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), ("0", 0.0), ("-3", 0.0), ("soon", None), ("", None), (None, None)]
)
def test_retry_after_in_seconds(endpoint: OtlpReceiver, value: str | None, seconds: float | None) -> None:
    headers = {} if value is None else {"Retry-After": value}
    answer = send(endpoint, http(endpoint), Reply(status=503, headers=headers))
    assert answer.retry_after_seconds == seconds


def test_retry_after_as_a_date(endpoint: OtlpReceiver) -> None:
    headers = {"Retry-After": formatdate(time.time() + 60, usegmt=True)}
    found = send(endpoint, http(endpoint), Reply(status=429, headers=headers)).retry_after_seconds
    assert found is not None and 50 < found <= 61


@pytest.mark.parametrize("make", [http, over_grpc])
def test_a_partial_success_is_told_with_its_count_and_message(endpoint: OtlpReceiver, make: Any) -> None:
    answer = send(endpoint, make(endpoint), partial(2, "two are bad"))
    assert (answer.kind, answer.rejected, answer.message) == ("partial", 2, "two are bad")


@pytest.mark.parametrize("make", [http, over_grpc])
def test_a_partial_success_that_rejects_nothing_is_ok_with_a_warning(endpoint: OtlpReceiver, make: Any) -> None:
    assert send(endpoint, make(endpoint), partial(0, "be careful")) == SendResult("ok", "be careful")


JSON_PARTIAL = b'{"partialSuccess":{"rejectedSpans":"2","errorMessage":"two are bad"}}'


@pytest.mark.parametrize("body", [JSON_PARTIAL, partial(2, "two are bad").body], ids=["JSON", "protobuf"])
@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/x-protobuf", "text/plain", None])
@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
def test_a_partial_success_is_known_whatever_its_headers_say(
    endpoint: OtlpReceiver, body: bytes, kind: str | None, encoding: str | None
) -> None:
    headers = {name: value for name, value in {"Content-Type": kind, "Content-Encoding": encoding}.items() if value}
    sent = {None: body, "gzip": gzip.compress(body), "deflate": zlib.compress(body)}[encoding]
    answer = send(endpoint, http(endpoint), Reply(body=sent, headers=headers))
    assert (answer.kind, answer.rejected, answer.message) == ("partial", 2, "two are bad")


NO_RECEIPTS = {
    "a login page": (b"<!DOCTYPE html><html><title>Sign in</title></html>", "text/html; charset=utf-8"),
    "one that says it is none": (b"<html><title>Sign in</title></html>", "application/json"),
    "one without a type": (b"<html><title>Sign in</title></html>", None),
    "an empty one": (b"", "text/html"),
    "words": (b"It works!", "text/plain"),
    "an error": (b'{"error": "unauthorized"}', "application/json"),
    "not decompressed": (b"no gzip", None),
}


@pytest.mark.parametrize("name", NO_RECEIPTS)
def test_a_200_of_somebody_else_is_no_receipt(endpoint: OtlpReceiver, name: str) -> None:
    body, kind = NO_RECEIPTS[name]
    headers = {"Content-Type": kind} if kind else {"Content-Encoding": "gzip"} if body == b"no gzip" else {}
    answer = send(endpoint, http(endpoint), Reply(body=body, headers=headers))
    assert answer.endpoint_only and answer.message, answer


@pytest.mark.parametrize("encoding", [{}, {"Content-Encoding": "gzip"}], ids=["plain", "gzip"])
def test_an_empty_answer_is_a_receipt(endpoint: OtlpReceiver, encoding: dict[str, str]) -> None:
    assert send(endpoint, http(endpoint), Reply(headers=encoding)) == SendResult("ok")


def test_a_port_that_speaks_no_http_is_the_operators_to_mend(endpoint: OtlpReceiver) -> None:
    """OTLP has two ports, and the wrong one of them is easily named."""
    answer = send(endpoint, http(endpoint, endpoint=f"http://127.0.0.1:{endpoint.grpc_port}/v1/traces"))
    assert answer.kind == "config" and "gRPC" in answer.message
    answer = send(endpoint, over_grpc(endpoint, endpoint=f"http://127.0.0.1:{endpoint.port}"))
    assert answer.endpoint_only and answer.message


def test_the_message_of_a_google_status_is_read(endpoint: OtlpReceiver) -> None:
    body = Status(code=3, message="span 7 has no id").SerializeToString()
    assert "span 7 has no id" in send(endpoint, http(endpoint), Reply(status=400, body=body)).message
    body = json_format.MessageToJson(Status(code=3, message="«7» has no id")).encode()
    assert send(endpoint, http(endpoint), Reply(status=400, body=body)).message == "HTTP 400 «7» has no id"


def test_a_message_is_short_and_printable(endpoint: OtlpReceiver) -> None:
    message = send(endpoint, http(endpoint), Reply(status=400, body=b"a\x1b[31m\n" + b"x" * 100_000)).message
    assert len(message) <= 500 and message.isprintable()


CODES = {
    grpc.StatusCode.CANCELLED: "retry",
    grpc.StatusCode.UNKNOWN: "retry",
    grpc.StatusCode.INVALID_ARGUMENT: "poison",
    grpc.StatusCode.DEADLINE_EXCEEDED: "retry",
    grpc.StatusCode.NOT_FOUND: "config",
    grpc.StatusCode.ALREADY_EXISTS: "retry",
    grpc.StatusCode.FAILED_PRECONDITION: "retry",
    grpc.StatusCode.PERMISSION_DENIED: "config",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "retry",
    grpc.StatusCode.ABORTED: "retry",
    grpc.StatusCode.OUT_OF_RANGE: "retry",
    grpc.StatusCode.UNIMPLEMENTED: "config",
    grpc.StatusCode.INTERNAL: "retry",
    grpc.StatusCode.UNAVAILABLE: "retry",
    grpc.StatusCode.DATA_LOSS: "retry",
    grpc.StatusCode.UNAUTHENTICATED: "config",
}
MAY_BE_RECORD = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
}


@pytest.mark.parametrize(("code", "kind"), CODES.items(), ids=[code.name for code in CODES])
def test_a_grpc_code_is_one_of_five_answers(endpoint: OtlpReceiver, code: grpc.StatusCode, kind: str) -> None:
    answer = send(endpoint, over_grpc(endpoint), Reply(grpc=code, details="the reason"))
    assert answer.kind == kind
    assert code.name in answer.message and "the reason" in answer.message
    assert answer.may_be_record == (code in MAY_BE_RECORD)


TOO_LARGE = {
    "C, Python": (grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (5000000 vs. 4194304)"),
    "Go": (grpc.StatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (5000000 vs. 4194304)"),
    "Go, gzip": (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "grpc: received message after decompression larger than max (5000000 vs. 4194304)",
    ),
    "Java": (grpc.StatusCode.RESOURCE_EXHAUSTED, "gRPC message exceeds maximum size 4194304: 5000000"),
    ".NET": (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "Received message exceeds the maximum configured message size.",
    ),
    "Rust": (
        grpc.StatusCode.OUT_OF_RANGE,
        "Error, decoded message length too large: found 5000000 bytes, the limit is: 4194304 bytes",
    ),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_message_too_large_for_grpc_is_split_not_repeated(endpoint: OtlpReceiver, name: str) -> None:
    code, details = TOO_LARGE[name]
    assert send(endpoint, over_grpc(endpoint), Reply(grpc=code, details=details)).kind == "poison"


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_nobody_listening_is_a_retry(protocol: str) -> None:
    transport = connect(Otlp(f"http://127.0.0.1:{free_port()}", protocol, timeout_seconds=2.0))
    answer = transport.send(BODY)
    transport.close()
    assert answer.kind == "retry" and answer.message and not answer.may_be_record


def test_a_dropped_connection_is_a_retry(endpoint: OtlpReceiver) -> None:
    assert send(endpoint, http(endpoint), Reply(close=True)).kind == "retry"


@pytest.mark.parametrize("make", [http, over_grpc])
def test_an_answer_that_does_not_come_in_time_is_a_retry(endpoint: OtlpReceiver, make: Any) -> None:
    held, answers = threading.Event(), threading.Event()

    def behave(spans: list[Received]) -> Reply:
        held.set()
        assert answers.wait(60)
        return Reply(keep=False)

    endpoint.behave = behave
    transport = connect(make(endpoint, timeout_seconds=1.0))
    try:
        assert transport.send(BODY).kind == "retry" and not answers.is_set()
    finally:
        answers.set()
        transport.close()
    assert held.is_set(), "it was asked"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(True, False, False, False, False, True, False, False, False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


Talk = Callable[[socket.socket, threading.Event], None]
"""What an endpoint does with a connection, until it is told that this is enough."""


@contextmanager
def talking(talk: Talk, certificate: tuple[Path, Path] | None = None, seconds: float = 30.0) -> Iterator[Otlp]:
    """An endpoint that does this with the first connection it gets, over TLS where it has a certificate. `seconds`: the
    sender's time, of which a handshake on a busy machine takes some."""
    enough = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)

        def serve() -> None:
            client, _ = server.accept()
            with suppress(OSError), client:
                if certificate is not None:
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(*certificate)
                    client = context.wrap_socket(client, server_side=True)
                with client:
                    talk(client, enough)

        thread = threading.Thread(target=serve)
        thread.start()
        scheme, trusted = ("http", None) if certificate is None else ("https", str(certificate[0]))
        yield Otlp(
            f"{scheme}://127.0.0.1:{server.getsockname()[1]}/v1/traces",
            "http/protobuf",
            timeout_seconds=seconds,
            certificate=trusted,
        )
        enough.set()
        thread.join(10)
        assert not thread.is_alive()


def _request(client: socket.socket) -> None:
    """Reads one whole request. Raises OSError where the sender gives up before its end."""

    def more() -> bytes:
        if not (data := client.recv(65536)):
            raise ConnectionResetError
        return data

    data = b""
    while b"\r\n\r\n" not in data:
        data += more()
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += more()


def _after(beginning: bytes) -> Talk:
    """Answers with this, and from there on with one byte now and then."""

    def talk(client: socket.socket, enough: threading.Event) -> None:
        _request(client)
        client.sendall(beginning)
        while not enough.wait(0.05):
            client.sendall(b"x")

    return talk


def _reads_slowly(client: socket.socket, enough: threading.Event) -> None:
    while not enough.wait(0.05):
        client.recv(8192)


SLOW: dict[str, Talk] = {
    "the body drips": _after(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
    "a body of no known length drips": _after(b"HTTP/1.1 200 OK\r\n\r\n"),
    "the headers drip": _after(b"HTTP/1.1 200 OK\r\nX-Slow: "),
    "the status line drips": _after(b"HTTP/1.1 200 "),
    "the request is read slowly": _reads_slowly,
}


@pytest.mark.parametrize("over_tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("how", SLOW)
def test_an_answer_that_trickles_in_is_ended_too(certificate: tuple[Path, Path], how: str, over_tls: bool) -> None:
    """One byte now and then: each is in time, the answer never is. What was not answered is not delivered."""
    body = BODY if SLOW[how] is not _reads_slowly else os.urandom(16 << 20)
    with talking(SLOW[how], certificate if over_tls else None, 1.0) as otlp:
        transport = connect(otlp)
        started = time.monotonic()
        answer = transport.send(body)
        took = time.monotonic() - started
        transport.close()
    assert answer.kind == "retry" and answer.message, answer
    assert took < otlp.timeout_seconds + 10, "it was not the thousand bytes that ended it: they take 50 s"


@pytest.mark.parametrize("over_tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("answer", ["HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nServer: x\r\n"])
def test_an_answer_that_ends_within_its_headers_is_a_retry(
    certificate: tuple[Path, Path], answer: str, over_tls: bool
) -> None:
    def talk(client: socket.socket, enough: threading.Event) -> None:
        _request(client)
        client.sendall(answer.encode())

    with talking(talk, certificate if over_tls else None) as otlp:
        transport = connect(otlp)
        result = transport.send(BODY)
        transport.close()
    assert result.kind == "retry" and result.message, result


@pytest.mark.parametrize("over_tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("length", ["Content-Length: 0\r\n", ""], ids=["of a known length", "to the connection's end"])
def test_a_whole_answer_is_taken(certificate: tuple[Path, Path], length: str, over_tls: bool) -> None:
    """What the tests above refuse is that the answer is not whole, neither TLS nor that no length is given."""

    def talk(client: socket.socket, enough: threading.Event) -> None:
        _request(client)
        client.sendall(f"HTTP/1.1 200 OK\r\n{length}\r\n".encode())

    with talking(talk, certificate if over_tls else None) as otlp:
        transport = connect(otlp)
        assert transport.send(BODY) == SendResult("ok")
        transport.close()


@pytest.mark.parametrize("login", [None, "u:p%40x"])
def test_an_https_endpoint_is_reached_through_a_tunnel_of_the_proxy(
    endpoint: OtlpReceiver, certificate: tuple[Path, Path], login: str | None
) -> None:
    def talk(client: socket.socket, enough: threading.Event) -> None:
        _request(client)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with talking(talk, certificate) as otlp:
        address = otlp.endpoint.split("/")[2]
        proxy = Proxy(endpoint, login and "u:p@x", tunnel_port=int(address.rpartition(":")[2]))
        transport = connect(replace(otlp, proxy=f"http://{login + '@' if login else ''}{proxy.address}"))
        assert transport.send(BODY) == SendResult("ok")
        transport.close()
        proxy.close()
    assert proxy.asked == [("CONNECT", address)]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_header_that_cannot_be_sent_is_not_repeated(protocol: str) -> None:
    otlp = Otlp(f"http://127.0.0.1:{free_port()}", protocol, headers=(("x-key", "s3cr3t\n"),), timeout_seconds=1.0)
    transport = connect(otlp)
    answer = transport.send(BODY)
    transport.close()
    assert answer.kind != "ok" and answer.message and "s3cr3t" not in answer.message


def test_a_certificate_that_does_not_exist_is_the_operators_to_mend() -> None:
    transport = connect(
        Otlp("https://127.0.0.1:1/v1/traces", "http/protobuf", certificate="/no/such/file", timeout_seconds=1.0)
    )
    assert transport.send(BODY).kind in ("config", "retry")
    transport.close()
