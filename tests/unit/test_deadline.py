"""One thread watches the time of all requests."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from otel_bridge.export.deadline import Deadline


@pytest.fixture
def deadline() -> Deadline:
    return Deadline()


def cut_within(deadline: Deadline, seconds: float) -> float:
    """Seconds until a connection on which nothing comes ends."""
    ours, theirs = socket.socketpair()
    with ours, theirs, deadline.within(seconds):
        ours.settimeout(10)
        deadline.sock = ours
        began = time.monotonic()
        assert ours.recv(1) == b""
        assert deadline.passed
        return time.monotonic() - began


def test_a_connection_ends_when_its_time_is_up_and_not_before(deadline: Deadline) -> None:
    assert cut_within(deadline, 0.2) >= 0.19


def test_a_request_that_ended_in_time_is_left_alone(deadline: Deadline) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with deadline.within(0.05):
            deadline.sock = ours
        time.sleep(0.2)
        theirs.send(b"x")
        assert ours.recv(1) == b"x"
        assert not deadline.passed


def test_a_short_time_is_kept_while_a_long_one_is_watched(deadline: Deadline) -> None:
    with Deadline().within(60):
        assert cut_within(deadline, 0.1) < 5


def test_one_late_request_leaves_the_others(deadline: Deadline) -> None:
    took: dict[str, float] = {}

    def send(name: str, seconds: float) -> None:
        took[name] = cut_within(deadline, seconds)

    threads = [threading.Thread(target=send, args=args) for args in (("short", 0.1), ("long", 0.8))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert took["short"] < 0.7 < 0.79 <= took["long"]


def test_requests_share_a_thread(deadline: Deadline) -> None:
    with deadline.within(60):
        before = threading.active_count()
        for _ in range(20):
            with Deadline().within(60), Deadline().within(30):
                assert threading.active_count() == before


def test_tls_within_the_tls_of_a_proxy_is_cut(deadline: Deadline) -> None:
    class Nested:
        """As urllib3's SSLTransport: without `shutdown`."""

        def __init__(self, below: socket.socket) -> None:
            self.socket = below

    ours, theirs = socket.socketpair()
    with ours, theirs, deadline.within(0.05):
        ours.settimeout(10)
        deadline.sock = Nested(ours)  # type: ignore[assignment]
        assert ours.recv(1) == b""


def test_one_that_cannot_be_cut_leaves_the_others(deadline: Deadline, caplog: pytest.LogCaptureFixture) -> None:
    with deadline.within(0.05):
        deadline.sock = object()  # type: ignore[assignment]
        time.sleep(0.3)
    assert "cannot be ended" in caplog.text
    cut_within(Deadline(), 0.05)
