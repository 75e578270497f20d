"""One request to a real receiver, and which of the five answers it is taken for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import grpc
import pytest
from google.rpc.status_pb2 import Status

from otel_bridge.config import Otlp
from otel_bridge.otlp import Answer, connect
from otel_bridge.projections.spans import SpanProjection
from tests.harness.otlp import OtlpReceiver, Reply, partial
from tests.harness.ports import free_port
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


def send(receiver: OtlpReceiver, otlp: Otlp, reply: Reply | None = None) -> Answer:
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
        assert str(status) in answer.words


def test_only_a_500_may_be_one_records_fault(endpoint: OtlpReceiver) -> None:
    assert [s for s in STATUSES if send(endpoint, http(endpoint), Reply(status=s)).suspicious] == [500]


def test_a_redirect_is_not_followed(endpoint: OtlpReceiver) -> None:
    answer = send(endpoint, http(endpoint), Reply(status=302, headers={"Location": "http://elsewhere/x"}))
    assert "elsewhere" in answer.words and len(endpoint.spans) == 0


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
def test_a_partial_success_is_told_with_its_count_and_words(endpoint: OtlpReceiver, make: Any) -> None:
    answer = send(endpoint, make(endpoint), partial(2, "two are bad"))
    assert (answer.kind, answer.rejected, answer.words) == ("partial", 2, "two are bad")


@pytest.mark.parametrize("make", [http, over_grpc])
def test_a_partial_success_that_rejects_nothing_is_ok_with_a_warning(endpoint: OtlpReceiver, make: Any) -> None:
    assert send(endpoint, make(endpoint), partial(0, "be careful")) == Answer("ok", "be careful")


def test_an_answer_that_is_no_otlp_message_is_still_a_200(endpoint: OtlpReceiver) -> None:
    assert send(endpoint, http(endpoint), Reply(body=b'{"ok": true}')).kind == "ok"


def test_the_words_of_a_google_status_are_read(endpoint: OtlpReceiver) -> None:
    body = Status(code=3, message="span 7 has no id").SerializeToString()
    assert "span 7 has no id" in send(endpoint, http(endpoint), Reply(status=400, body=body)).words


def test_words_are_short_and_printable(endpoint: OtlpReceiver) -> None:
    words = send(endpoint, http(endpoint), Reply(status=400, body=b"a\x1b[31m\n" + b"x" * 100_000)).words
    assert len(words) <= 500 and words.isprintable()


CODES = {
    grpc.StatusCode.CANCELLED: "retry",
    grpc.StatusCode.UNKNOWN: "retry",
    grpc.StatusCode.INVALID_ARGUMENT: "poison",
    grpc.StatusCode.DEADLINE_EXCEEDED: "retry",
    grpc.StatusCode.NOT_FOUND: "config",
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


@pytest.mark.parametrize(("code", "kind"), CODES.items(), ids=[code.name for code in CODES])
def test_a_grpc_code_is_one_of_five_answers(endpoint: OtlpReceiver, code: grpc.StatusCode, kind: str) -> None:
    answer = send(endpoint, over_grpc(endpoint), Reply(grpc=code, details="the reason"))
    assert answer.kind == kind
    assert code.name in answer.words and "the reason" in answer.words
    assert answer.suspicious == (code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN))


def test_a_message_too_large_for_grpc_is_split_not_repeated(endpoint: OtlpReceiver) -> None:
    words = "Received message larger than max (5000000 vs. 4194304)"
    answer = send(endpoint, over_grpc(endpoint), Reply(grpc=grpc.StatusCode.RESOURCE_EXHAUSTED, details=words))
    assert answer.kind == "poison"


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_nobody_listening_is_a_retry(protocol: str) -> None:
    transport = connect(Otlp(f"http://127.0.0.1:{free_port()}", protocol, timeout_seconds=2.0))
    answer = transport.send(BODY)
    transport.close()
    assert answer.kind == "retry" and answer.words and not answer.suspicious


def test_a_dropped_connection_is_a_retry(endpoint: OtlpReceiver) -> None:
    assert send(endpoint, http(endpoint), Reply(close=True)).kind == "retry"


@pytest.mark.parametrize("make", [http, over_grpc])
def test_an_answer_that_does_not_come_in_time_is_a_retry(endpoint: OtlpReceiver, make: Any) -> None:
    started = time.monotonic()
    assert send(endpoint, make(endpoint, timeout_seconds=0.3), Reply(delay=1.5)).kind == "retry"
    assert time.monotonic() - started < 1.4


def test_an_answer_that_trickles_in_is_ended_too() -> None:
    """One byte now and then: each read is in time, the answer never is."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle() -> None:
            client, _ = server.accept()
            with client:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not stop.wait(0.05):
                    try:
                        client.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=trickle)
        thread.start()
        transport = connect(Otlp(f"http://127.0.0.1:{server.getsockname()[1]}/", "http/protobuf", timeout_seconds=0.5))
        started = time.monotonic()
        answer = transport.send(BODY)
        took = time.monotonic() - started
        stop.set()
        thread.join()
        transport.close()
    assert answer.kind == "retry" and took < 5


def test_a_certificate_that_does_not_exist_is_the_operators_to_mend() -> None:
    transport = connect(
        Otlp("https://127.0.0.1:1/v1/traces", "http/protobuf", certificate="/no/such/file", timeout_seconds=1.0)
    )
    assert transport.send(BODY).kind in ("config", "retry")
    transport.close()
