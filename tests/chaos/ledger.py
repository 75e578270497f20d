"""The client's side of the ledger: what was acknowledged to it, to the id; and the comparison with everything else."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from otel_bridge import errors, journal
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.records import Event, Idle, Session, decode, event_span_id, session_span_id
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.settling import Counts

ANSWER_SECONDS = 20.0


@dataclass
class Ledger:
    """Ids that were acknowledged: of sessions, of events. One for all clients of a run."""

    sessions: set[bytes] = field(default_factory=set)
    events: set[bytes] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    """Posts whose answer was lost (they were sent again with the same ids)."""
    unknown: int = 0
    """Posts that were told that it is not known whether they were taken."""
    times: list[tuple[float, float]] = field(default_factory=list)
    """(when it was answered, how long that took) of every acknowledged post; monotonic."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def acknowledged(self) -> int:
        return len(self.sessions) + len(self.events)

    @property
    def spans(self) -> set[str]:
        return {session_span_id(one).hex() for one in self.sessions} | {event_span_id(one).hex() for one in self.events}


class Client(threading.Thread):
    """Posts sessions, events and batches, all with ids of its own; what gets no answer is posted again, unchanged,
    until it does. So the ledger is exact: what it holds was acknowledged, and nothing else was ever posted."""

    def __init__(
        self, port: int, ledger: Ledger, seed: int, pause: float = 0.0, batch: int = 40, single: bool = False
    ) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._ledger = ledger
        self._random = random.Random(seed)
        self._pause = pause
        self._batch = 0 if single else batch
        self._ending = threading.Event()
        self._connection: http.client.HTTPConnection | None = None
        self.asked: float | None = None
        """When the post that is under way was sent (monotonic); None: none is."""
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            session = self._open()
            while not self._ending.is_set():
                chance = self._random.random()
                if chance < 0.08:
                    session = self._open()
                elif chance < 0.35 and self._batch:
                    self._post_events(session, self._random.randint(2, self._batch))
                else:
                    self._post_events(session, 1)
                time.sleep(self._pause)
        except BaseException as failure:
            self.failure = failure
            raise
        finally:
            if self._connection is not None:
                self._connection.close()

    def end(self) -> None:
        self._ending.set()

    def finish(self, timeout: float = 60.0) -> None:
        """Ends after the post under way is answered."""
        self.end()
        self.join(timeout)
        assert not self.is_alive(), "a client's post was not answered"
        assert self.failure is None, self.failure

    def _open(self) -> bytes:
        session = uuid.UUID(int=self._random.getrandbits(128), version=4)
        self._post("/api/sessions", {**GUIDE_SESSION, "id": str(session)})
        with self._ledger.lock:
            self._ledger.sessions.add(session.bytes)
        return session.bytes

    def _post_events(self, session: bytes, count: int) -> None:
        ids = [uuid.UUID(int=self._random.getrandbits(128), version=4) for _ in range(count)]
        events = [{**GUIDE_EVENT, "sesion_id": str(uuid.UUID(bytes=session)), "id": str(one)} for one in ids]
        answer = self._post("/api/events", events[0] if count == 1 else events)
        if count > 1:
            assert answer["rechazados"] == 0 and answer["aceptados"] == count, answer
        with self._ledger.lock:
            self._ledger.events.update(one.bytes for one in ids)

    def _post(self, path: str, value: Any) -> Any:
        body = json.dumps(value).encode()
        unknown = False
        while True:
            started = self.asked = time.monotonic()
            try:
                status, answer = self._once(path, body)
                self.asked = None
            except (OSError, http.client.HTTPException):
                if self._connection is not None:
                    self._connection.close()
                self._connection = None
                with self._ledger.lock:
                    self._ledger.unanswered += 1
                unknown = True
                self._repeats(value, unknown)
                time.sleep(0.02)
                continue
            now = time.monotonic()
            with self._ledger.lock:
                self._ledger.statuses[status] += 1
                if status in (200, 201):
                    self._ledger.times.append((now, now - started))
            if status in (200, 201):
                return json.loads(answer)
            assert status == 503, (status, answer)
            if json.loads(answer)["type"] == errors.OUTCOME_UNKNOWN.type:
                unknown = True
                with self._ledger.lock:
                    self._ledger.unknown += 1
            self._repeats(value, unknown)
            time.sleep(0.05)

    def _repeats(self, value: Any, unknown: bool) -> None:
        """Called before a post is repeated; `unknown`: it may have been taken, as far as it was told until now."""

    def _once(self, path: str, body: bytes) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS)
        self._connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read()
        if response.will_close:
            self._connection.close()
            self._connection = None
        return response.status, answer


class Load:
    """Some clients at once, with one ledger."""

    def __init__(self, bridge: Bridge, clients: int = 4, seed: int = 1, **options: Any) -> None:
        self.ledger = Ledger()
        self.clients = [Client(bridge.port, self.ledger, seed * 1000 + i, **options) for i in range(clients)]

    def __enter__(self) -> Load:
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        for client in self.clients:
            client.end()
        if kind is None:
            for client in self.clients:
                client.finish()


@dataclass
class Account:
    """One run, from every side."""

    acknowledged: int
    journaled: int
    journaled_twice: int
    counted: int
    delivered: int
    redelivered: int
    lost: int
    doubled: int
    gap: float
    parked: float

    def __str__(self) -> str:
        return (
            f"acknowledged {self.acknowledged}, journaled {self.journaled}, counted {self.counted}, delivered "
            f"{self.delivered} distinct ids ({self.redelivered} sent again), parked {self.parked:g}, lost {self.lost}, "
            f"doubled {self.doubled}, ledger gap {self.gap:g}"
        )

    def check(self) -> None:
        assert self.lost == 0 and self.doubled == 0 and self.gap == 0, str(self)
        assert self.acknowledged == self.journaled == self.counted, str(self)


def journaled(bridge: Bridge) -> tuple[Counter[bytes], Counter[bytes]]:
    """Every session and event in the journal's file, by id."""
    sessions: Counter[bytes] = Counter()
    events: Counter[bytes] = Counter()
    reader = journal.open_reader(f"sqlite:///{bridge.journal}", CONSUMER)
    after = 0
    while found := reader.segments(after, 500):
        for segment in found:
            assert not segment.damaged
            after = segment.last
            for record in decode(segment.body):
                if isinstance(record, Session):
                    sessions[record.id] += 1
                elif isinstance(record, Event):
                    events[record.id] += 1
                else:
                    assert isinstance(record, Idle)
    reader.close()
    return sessions, events


def account(bridge: Bridge, ledger: Ledger, receiver: OtlpReceiver, delivered: bool = True) -> Account:
    """Compares. `delivered`: everything must have reached the receiver, or be parked."""
    return compare(bridge, journaled(bridge), ledger, receiver, delivered)


def compare(
    bridge: Counts,
    found: tuple[Counter[bytes], Counter[bytes]],
    ledger: Ledger,
    receiver: OtlpReceiver,
    delivered: bool = True,
) -> Account:
    """`found`: what is in the journal."""
    sessions, events = found
    in_journal = sum(sessions.values()) + sum(events.values())
    counted = int(bridge.metric("gpt_sessions_total") + bridge.metric("gen_ai_client_operation_duration_seconds_count"))
    assert counted == bridge.metric("otel_bridge_records_total", result="accepted")
    spans, parked = ledger.spans, bridge.metric("otel_bridge_parked_records")
    arrived = {one for one in receiver.times if one in spans}
    unknown = set(receiver.times) - spans
    missing = len(ledger.sessions - set(sessions)) + len(ledger.events - set(events))
    undelivered = len(spans) - len(arrived) - int(parked) if delivered else 0
    assert not unknown, f"{len(unknown)} spans arrived that nobody posted"
    return Account(
        acknowledged=ledger.acknowledged,
        journaled=in_journal,
        journaled_twice=in_journal - len(sessions) - len(events),
        counted=counted,
        delivered=len(arrived),
        redelivered=sum(receiver.times.values()) - len(receiver.times),
        lost=max(missing, undelivered, ledger.acknowledged - counted, 0),
        doubled=max(in_journal - len(sessions) - len(events), counted - ledger.acknowledged, 0),
        gap=bridge.metric("otel_bridge_ledger_gap"),
        parked=parked,
    )


Say = Callable[[str], None]


class Forgetful(list[Any]):
    """For `receiver.spans` of long runs: the ids are counted, the spans themselves are not kept."""

    def extend(self, values: Any) -> None:
        pass
