"""One thread watches the time of all requests."""

from __future__ import annotations

import socket
import threading
import time
from types import SimpleNamespace

import pytest

from otel_bridge.export.deadline import Deadline, watch
from tests.harness.waiting import wait_for


@pytest.fixture
def deadline() -> Deadline:
    return Deadline()


def cut_within(deadline: Deadline, seconds: float) -> float:
    """Seconds until a connection on which nothing comes ends."""
    ours, theirs = socket.socketpair()
    began = time.monotonic()
    with ours, theirs, deadline.within(seconds):
        ours.settimeout(30)
        deadline.answering(ours)
        assert ours.recv(1) == b""
        assert deadline.passed
        return time.monotonic() - began


def test_a_connection_ends_when_its_time_is_up_and_not_before(deadline: Deadline) -> None:
    assert cut_within(deadline, 0.2) >= 0.19


def test_a_connection_that_is_told_of_when_the_time_is_up_ends_at_once(deadline: Deadline) -> None:
    """As one that was kept, whose request took all of the time to leave."""
    ours, theirs = socket.socketpair()
    with ours, theirs, deadline.within(0.05):
        ours.settimeout(30)
        wait_for(lambda: deadline.passed, "the end of its time")
        deadline.answering(ours)
        assert ours.recv(1) == b""


def test_a_request_that_ended_in_time_is_left_alone(deadline: Deadline, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with deadline.within(60):
            deadline.answering(ours)
        late = SimpleNamespace(monotonic=lambda: time.monotonic() + 100)
        monkeypatch.setattr("otel_bridge.export.deadline.time", late)
        cut_within(Deadline(), 0.05)  # the thread has looked since
        theirs.send(b"x")
        assert ours.recv(1) == b"x"
        assert not deadline.passed


def test_a_short_time_is_kept_while_a_long_one_is_watched(deadline: Deadline) -> None:
    with Deadline().within(60):
        assert cut_within(deadline, 0.1) < 30


def test_one_late_request_leaves_the_others(deadline: Deadline) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, deadline.within(60):
        deadline.answering(ours)
        late = threading.Thread(target=cut_within, args=(deadline, 0.1))
        late.start()
        late.join()
        theirs.send(b"x")
        assert ours.recv(1) == b"x"
        assert not deadline.passed


def test_requests_share_a_thread(deadline: Deadline) -> None:
    with deadline.within(60):
        before = set(threading.enumerate())
        for _ in range(20):
            with Deadline().within(60), Deadline().within(30):
                assert set(threading.enumerate()) <= before  # one of a test before this may end


def test_tls_within_the_tls_of_a_proxy_is_cut(deadline: Deadline) -> None:
    class Nested:
        """As urllib3's SSLTransport: without `shutdown`."""

        def __init__(self, below: socket.socket) -> None:
            self.socket = below

    ours, theirs = socket.socketpair()
    with ours, theirs, deadline.within(0.05):
        ours.settimeout(10)
        deadline.answering(Nested(ours))
        assert ours.recv(1) == b""


def _raise() -> None:
    raise OSError("no such connection")


def test_one_that_cannot_be_cut_leaves_the_others(caplog: pytest.LogCaptureFixture) -> None:
    with watch.within(0.05, _raise):
        wait_for(lambda: "cannot be ended" in caplog.text, "a word in the log")
    cut_within(Deadline(), 0.05)
