"""How long the delivery waits for an endpoint in trouble. (What it delivers: tests/chaos, with real processes.)"""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace

import pytest

from otel_bridge import journal
from otel_bridge.config import Otlp
from otel_bridge.export import read_ahead
from otel_bridge.export.backoff import BACKOFF_SECONDS, CONFIG_BACKOFF_SECONDS
from otel_bridge.export.delivery import Delivery
from otel_bridge.export.otlp import connect
from otel_bridge.export.pipe import CONSUMER, Report
from otel_bridge.export.read_ahead import FRESH_SECONDS, ReadAhead
from otel_bridge.export.shutdown import Shutdown
from otel_bridge.export.spans import SpanProjection
from otel_bridge.journal import Append, Segment, Which
from tests.harness.otlp import OtlpReceiver, Reply
from tests.unit.samples import USER, gpt, session


class Impatient(Shutdown):
    """What the delivery waits on: notes for how long it would, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    def wait(self, seconds: float) -> None:
        self.asked.append(seconds)


class Delivering:
    """A real delivery, from a journal with one record to a real receiver."""

    def __init__(self, folder: Path, receiver: OtlpReceiver) -> None:
        self.store = journal.open(f"sqlite:///{folder}/journal.db", CONSUMER)
        self.store.begin()
        self.store.write([Append([session()], [None])])
        self.store.commit()
        self.reader = self.store.reader()
        self.transport = connect(
            Otlp(f"http://127.0.0.1:{receiver.port}/v1/traces", "http/protobuf", timeout_seconds=60.0)
        )
        self.reports: list[Report] = []
        projection = SpanProjection({"devops-expert": gpt()})
        self.waits = Impatient()
        self.delivery = Delivery(self.reader, projection, self.transport, self.reports.append, self.waits)

    def attempt(self) -> float:
        """One attempt; for how long the delivery waits after it."""
        before = len(self.waits.asked)
        assert not self.delivery.drain()
        assert len(self.waits.asked) == before + 1
        return self.waits.asked[-1]

    def close(self) -> None:
        self.delivery.close()
        self.transport.close()
        self.reader.close()
        self.store.close()


@pytest.fixture
def delivering(tmp_path: Path, receiver: OtlpReceiver) -> Iterator[Delivering]:
    made = Delivering(tmp_path, receiver)
    yield made
    made.close()


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("86400", 300.0),
        ("1e999", 300.0),
        (formatdate(time.time() + 86_400, usegmt=True), 300.0),
        ("301", 300.0),
        ("300", 300.0),
        ("299", 299.0),
        ("20", 20.0),
    ],
    ids=["a day", "for ever", "a date of tomorrow", "a second too long", "five minutes", "a second less", "20 s"],
)
def test_retry_after_is_waited_for_and_for_five_minutes_at_the_most(
    delivering: Delivering, receiver: OtlpReceiver, status: int, value: str, seconds: float
) -> None:
    """The endpoint, its answer and the delivery are real; only the wait is noted and not sat through: to see five
    minutes pass, a test of the whole bridge takes as long. That a wait is kept is seen, with two seconds, by
    tests/chaos/test_endpoint.py::test_retry_after_is_obeyed."""
    receiver.behave = lambda spans: Reply(status, headers={"Retry-After": value})
    assert [delivering.attempt() for _ in range(2)] == [seconds, seconds]
    assert [report.state for report in delivering.reports] == ["retry", "retry"]
    assert delivering.delivery.cursor == 0 and len(receiver.requests) == 2


@pytest.mark.parametrize(
    ("reply", "bounds"),
    [
        (Reply(503), BACKOFF_SECONDS),
        (Reply(503, headers={"Retry-After": "0"}), BACKOFF_SECONDS),
        (Reply(401), CONFIG_BACKOFF_SECONDS),
    ],
    ids=["503", "503 with Retry-After: 0", "401"],
)
def test_without_retry_after_the_waits_double_up_to_their_bound(
    delivering: Delivering, receiver: OtlpReceiver, reply: Reply, bounds: tuple[float, float]
) -> None:
    low, high = bounds
    receiver.behave = lambda spans: reply
    for failures in range(12):
        expected = min(high, low * 2**failures)
        assert 0.75 * expected <= delivering.attempt() <= expected


def test_a_segment_is_read_once_whatever_the_batches_and_again_after_a_failure(
    delivering: Delivering, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_ahead, "FRESH_SECONDS", 600.0)  # encoding takes a busy machine more than a second
    store, delivery = delivering.store, delivering.delivery
    for i in range(50):
        store.begin()
        store.write([Append([session(100 * i + n) for n in range(100)], [None] * 100)])
        store.commit()
    read: list[int] = []
    segments = delivering.reader.segments

    def watched(after: int, limit: int) -> list[Segment]:
        found = segments(after, limit)
        read.extend(segment.last for segment in found)
        return found

    monkeypatch.setattr(delivering.reader, "segments", watched)
    replies = iter([Reply(), Reply(503, keep=False)])
    receiver.behave = lambda spans: next(replies, Reply())
    assert delivery.drain()  # one request was taken, the one behind it was not
    assert delivery.cursor == 1901 and delivering.waits.asked
    assert read == [1, *range(101, 5002, 100)]
    read.clear()
    assert delivery.drain()
    assert delivery.cursor == 5001
    assert read == [*range(2001, 5002, 100)]
    assert len(receiver.times) == 5001 and set(receiver.times.values()) == {1}


def test_what_was_read_ahead_is_read_again_after_a_second(
    delivering: Delivering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user may have been taken out of it meanwhile."""
    store = delivering.store
    for number in (2, 3):
        store.begin()
        store.write([Append([session(number)], [None])])
        store.commit()
    clock = SimpleNamespace(now=time.monotonic(), monotonic=lambda: clock.now)
    monkeypatch.setattr(read_ahead, "time", clock)
    ahead = ReadAhead(delivering.reader)
    first = ahead.batch(0, 1)
    assert first is not None and [record.user for record in first.records] == [USER]
    store.maintain(1 << 40, lambda run: run())  # as a bridge does each second
    place = journal.erasing(store.url, CONSUMER)
    journal.erase(place, Which(USER))
    place.close()
    fresh = ahead.batch(first.cursor, 1)
    assert fresh is not None and [record.user for record in fresh.records] == [USER]  # within the second
    clock.now += FRESH_SECONDS + 1
    again = ahead.batch(fresh.cursor, 1)
    assert again is not None and [record.user for record in again.records] == [""]
