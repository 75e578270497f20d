"""The wall clock steps while the bridge runs, or was wrong when it ran (libfaketime; the steady clock goes on)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import requests

from otel_bridge import journal
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.journal import Append
from otel_bridge.records import Event, Session
from tests.chaos.conftest import long_form
from tests.chaos.lanes import LONG, side_by_side
from tests.chaos.ledger import Load, Say, account
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge
from tests.harness.faked_clock import faked_clock
from tests.harness.otlp import OK, OtlpReceiver, Reply
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

DAY = 86_400
STEPS = (40 * DAY, -400 * DAY)
if LONG:
    STEPS = (3600, -3600, 40 * DAY, 400 * DAY, -40 * DAY, -400 * DAY, -50 * 365 * DAY)
ROUNDS = 3 if LONG else 2
"""Of housekeeping, one a second, in which something must not happen."""
SOON = {"OTEL_BRIDGE_CLOCK_SETTLE_SECONDS": "1"}
"""A bridge that believes a clock which stepped after a second instead of an hour."""


class Clocked:
    """A bridge whose wall clock follows a file."""

    def __init__(self, make_bridge: Callable[..., Bridge], folder: Path, **environ: str) -> None:
        self.file = folder / "clock"
        self.step(0)
        self.bridge = make_bridge(
            **faked_clock(FAKETIME_TIMESTAMP_FILE=str(self.file), FAKETIME_CACHE_DURATION="1"),
            OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS="0.2",
            **environ,
        )

    def step(self, seconds: int) -> None:
        """The clock is so many seconds ahead of ours from now on; the bridge's process sees it within a second."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}")
        fresh.rename(self.file)

    def step_and_wait(self, seconds: int) -> None:
        """Until the machine's clock is there, and the bridge has looked."""
        self.step(seconds)
        wait_for(lambda: abs(self.ahead() - seconds) < 60, f"a clock at {seconds:+d}")
        believed = int(seconds == 0)
        wait_for(lambda: self.bridge.metric("otel_bridge_clock_believed") == believed, f"a look at {seconds:+d}")

    def ahead(self) -> float:
        """Seconds that the machine's wall clock is ahead of ours."""
        told = self.bridge.http.get(f"{self.bridge.url}/healthz", timeout=5).headers["Date"]
        return parsedate_to_datetime(told).timestamp() - time.time()


class Retried:
    """A session and an event of each kind that a client may post again."""

    def __init__(self, bridge: Bridge) -> None:
        now = datetime.now(UTC).isoformat()
        self.posts = [("/sessions", {**GUIDE_SESSION, "id": str(uuid.uuid4())}, None)]
        self.posts.append(("/sessions", {**GUIDE_SESSION, "usuario_id": "otro"}, "one-key"))
        self.bridge = bridge
        self.answers = [self._post(*post) for post in self.posts]
        self.session = self.answers[0].json()["id"]
        event = {**GUIDE_EVENT, "sesion_id": self.session}
        for post in (
            ("/events", {**event, "timestamp": now}, None),
            ("/events", {**event, "id": str(uuid.uuid4())}, None),
            ("/events", event, "another-key"),
        ):
            self.posts.append(post)
            self.answers.append(self._post(*post))
        assert [answer.status_code for answer in self.answers] == [201] * 5
        self.ids = {"sessions": {one.json()["id"] for one in self.answers[:2]},
                    "events": {one.json()["id"] for one in self.answers[2:]}}  # fmt: skip

    def _post(self, path: str, body: dict[str, object], key: str | None) -> requests.Response:
        return self.bridge.post(path, body, headers={} if key is None else {"Idempotency-Key": key})

    def check(self) -> None:
        """Each is answered as the first time, and counted once."""
        for post, first in zip(self.posts, self.answers, strict=True):
            again = self._post(*post)
            assert again.status_code == 200 and again.json() == first.json(), (post, again.text)


def _readyz(bridge: Bridge) -> dict[str, object]:
    answer = bridge.http.get(f"{bridge.url}/readyz", timeout=5)
    assert answer.status_code == 200, answer.text
    clock: dict[str, object] = answer.json()["reloj"]
    return clock


@side_by_side
def test_a_step_that_ends_leaves_no_trace(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, tmp_path: Path, say: Say
) -> None:
    """Days and years each way, under load: nothing is stamped by it, idle, forgotten or deleted."""
    machine = Clocked(make_bridge, tmp_path, **receiver.environ)
    bridge, began = machine.bridge.start(), time.time()
    retried = Retried(bridge)
    settle(bridge)
    reader = journal.open_reader(f"sqlite:///{bridge.journal}", CONSUMER)
    first = reader.segments(0, 1)[0].last
    with Load(bridge, clients=2, pause=0.01) as load:
        for seconds in STEPS:
            machine.step_and_wait(seconds)
            before = len(load.ledger.events)
            wait_for(lambda before=before: len(load.ledger.events) > before + 50, f"load at {seconds}")  # type: ignore[misc]
            assert abs(bridge.metric("otel_bridge_clock_skew_seconds") - seconds) < 60
            assert abs(int(str(_readyz(bridge)["desfase_segundos"])) - seconds) < 60
            retried.check()
            now = datetime.fromtimestamp(time.time() + 3600, UTC).isoformat()
            answer = bridge.event(retried.session, timestamp=now)
            assert answer.status_code == 201, answer.text
            retried.ids["events"].add(answer.json()["id"])
            assert bridge.metric("otel_bridge_export_lag_seconds") < 60
            assert bridge.metric("gpt_active_users", window="30m") > 1  # of the guide's user and another's
            assert all(value >= 0 for (name, _), value in bridge.scrape().items()
                       if not name.endswith(("ledger_gap", "skew_seconds")))  # fmt: skip
            machine.step_and_wait(0)
    settle(bridge)
    load.ledger.sessions |= {uuid.UUID(one).bytes for one in retried.ids["sessions"]}
    load.ledger.events |= {uuid.UUID(one).bytes for one in retried.ids["events"]}
    found = account(bridge, load.ledger, receiver)
    say(str(found))
    found.check()
    assert bridge.metric("otel_bridge_worker_restarts_total") == 0 and "Traceback" not in bridge.output()
    retried.check()
    assert _readyz(bridge) == {"estado": "ok"} and bridge.metric("otel_bridge_clock_skew_seconds") == 0
    assert bridge.metric("gpt_session_events_count") == 0  # nothing fell idle
    assert bridge.metric("gpt_sessions_total") == len(load.ledger.sessions)
    assert reader.segments(0, 1)[0].last == first  # and nothing is gone
    assert began - 60 < min(one.arrived_us for one in reader.segments(0, 100_000)) / 1e6
    assert max(one.arrived_us for one in reader.segments(0, 100_000)) / 1e6 < time.time() + 60
    reader.close()


@side_by_side
def test_a_restart_amid_a_step_does_not_believe_it(make_bridge: Callable[..., Bridge], tmp_path: Path) -> None:
    """The journal knows until when the clock was believed, and the next bridge, and the one after it, go by that."""
    machine = Clocked(make_bridge, tmp_path, OTEL_BRIDGE_IDLE_AFTER_SECONDS="600")
    bridge = machine.bridge.start()
    retried = Retried(bridge)
    for _ in range(2 if LONG else 1):
        bridge.kill()
        machine.step(40 * DAY)
        bridge.start()
        retried.check()
        time.sleep(ROUNDS)
        assert bridge.metric("otel_bridge_clock_believed") == 0
        assert "no se da por buena" in str(_readyz(bridge)["estado"])
        assert bridge.event(retried.session).status_code == 201
    machine.step_and_wait(0)
    wait_for(lambda: bridge.metric("gpt_active_users", window="30d") == 2, "the users of today")
    retried.check()
    assert bridge.metric("gpt_sessions_total") == 2 and bridge.metric("gpt_session_events_count") == 0
    assert bridge.metric("otel_bridge_ledger_gap") == 0


@side_by_side
def test_a_step_that_stays_is_believed_in_the_end(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, tmp_path: Path
) -> None:
    """Then a session past its retention is refused as its state is: the process that knew it says what one that starts
    anew would say. What was posted within the last hours is still known when it is posted again."""
    machine = Clocked(make_bridge, tmp_path, **receiver.environ, **SOON)
    bridge = machine.bridge.start()
    retried = Retried(bridge)
    settle(bridge)
    machine.step(40 * DAY)

    def gone() -> bool:
        return bridge.http.get(f"{bridge.api}/sessions/{retried.session}", timeout=5).status_code == 404

    wait_for(gone, "a trimmed session", 40)
    assert bridge.metric("otel_bridge_clock_believed") == 1 and bridge.metric("otel_bridge_clock_skew_seconds") == 0
    wait_for(lambda: bridge.event(retried.session).status_code == 404, "its event refused", 5)
    assert bridge.post("/events", [{**GUIDE_EVENT, "sesion_id": retried.session}] * 2).json()["aceptados"] == 0
    by_key = retried.posts[1]
    assert bridge.post(*by_key[:2], headers={"Idempotency-Key": "one-key"}).status_code == 200
    assert bridge.metric("gpt_sessions_total") == 2 and bridge.metric("otel_bridge_ledger_gap") == 0
    assert bridge.metric("gpt_session_events_count") == 2  # each fell idle once


@side_by_side
def test_a_journal_that_a_step_has_hurt_mends_itself(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    """Of a bridge that believed a clock 400 days ahead: full of what would not be old for a year."""
    bridge = make_bridge(OTEL_BRIDGE_JOURNAL_MAX_SIZE="3MiB", OTEL_BRIDGE_IDLE_AFTER_SECONDS="600",
                         OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS="0.2", **receiver.environ, **SOON)  # fmt: skip
    store = journal.open(f"sqlite:///{bridge.journal}", CONSUMER)
    now = time.time_ns() // 1000
    hurt = now + 400 * DAY * 1_000_000
    text, keys = "palabra " * 150, 0
    sessions = [Session(uuid.uuid4().bytes, "devops-expert", f"user{n}", hurt, hurt) for n in range(50)]
    for session in sessions:
        events = [Event(uuid.uuid4().bytes, session.id, session.gpt, session.user, "consulta", text, 1.0, 1, 1,
                        hurt, hurt) for _ in range(50)]  # fmt: skip
        store.begin()
        store.write([Append([session, *events], [b"c%016d" % (keys + n) for n in range(51)])])
        store.commit()
        keys += 51
    store.close()
    bridge.start(wait=False)  # full
    session = uuid.UUID(bytes=sessions[0].id)
    wait_for(lambda: bridge.event(str(session)).status_code == 201, "room by itself", 40, pause=0.5)
    settle(bridge)
    reader = journal.open_reader(f"sqlite:///{bridge.journal}", CONSUMER)
    wait_for(lambda: reader.sessions_ahead(now + DAY * 1_000_000, b"", 1_000) == ([], None), "sessions of now")
    assert reader.top_users(now, DAY, 1)[0].events >= 50  # of this hour
    assert reader.windows(now + 31 * DAY * 1_000_000, {"30d": 30 * DAY})[0].users == 0  # and not of next year
    reader.close()
    wait_for(lambda: bridge.metric("gpt_active_users", window="30d") == 50, "all of its users")
    assert len(receiver.times) == 50 * 51 + 1 and bridge.metric("otel_bridge_ledger_gap") == 0


@long_form
def test_the_lag_is_true_after_the_clock_went_back(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, tmp_path: Path
) -> None:
    """What waits was accepted, by this clock, in an hour's time: that does not make its wait zero."""
    receiver.behave = lambda spans: Reply(503)
    machine = Clocked(make_bridge, tmp_path, **receiver.environ, **SOON)
    bridge = machine.bridge.start()
    bridge.event(bridge.session())
    wait_for(lambda: bridge.metric("otel_bridge_export_lag_seconds") > 0, "a lag")
    machine.step(-3600)
    stepped = time.monotonic()
    wait_for(lambda: "is believed" in bridge.output(), "a clock that is believed")
    wait_for(lambda: bridge.metric("otel_bridge_export_lag_seconds") > 2, "a lag that grows", 15)
    assert bridge.metric("otel_bridge_export_lag_seconds") < time.monotonic() - stepped + 30
    receiver.behave = lambda spans: OK
    settle(bridge)
    assert bridge.metric("otel_bridge_export_lag_seconds") == 0


@long_form
def test_a_session_falls_idle_once_although_the_clock_jumps(make_bridge: Callable[..., Bridge], tmp_path: Path) -> None:
    machine = Clocked(make_bridge, tmp_path, **SOON)
    bridge = machine.bridge.start()
    bridge.event(bridge.session())
    machine.step(3600)
    wait_for(lambda: bridge.metric("gpt_session_events_count") == 1, "an idle session")
    machine.step(0)
    wait_for(lambda: abs(machine.ahead()) < 60, "a clock that is back")
    time.sleep(2.5)
    assert bridge.metric("gpt_session_events_count") == 1
    assert bridge.metric("gpt_session_duration_seconds_sum") >= 0
