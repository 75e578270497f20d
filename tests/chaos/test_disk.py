"""No room, on the disk or within the journal's limit: 503 with Retry-After, nothing half-written, back by itself."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable

import pytest
import requests

from otel_bridge import journal
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.journal import Append
from otel_bridge.records import Event, Session
from tests.chaos.disks import SmallDisk
from tests.chaos.lanes import LONG, side_by_side
from tests.chaos.ledger import Ledger, Say, account, journaled
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge
from tests.harness.otlp import OK, OtlpReceiver, Reply
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

ROUNDS = 3 if LONG else 2
"""Of housekeeping, one a second, in which something must not happen."""


class Filler:
    """Posts until there is no room; keeps the ledger."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.ledger = Ledger()

    def session(self) -> str:
        one = uuid.uuid4()
        answer = self.bridge.post("/sessions", {**GUIDE_SESSION, "id": str(one)})
        assert answer.status_code == 201, answer.text
        self.ledger.sessions.add(one.bytes)
        return str(one)

    def batch(self, session: str, count: int = 200) -> int:
        """Posts a batch and returns the status."""
        assert "Traceback" not in self.bridge.output()
        ids = [uuid.uuid4() for _ in range(count)]
        content = "palabra " * 150
        answer = self.bridge.post(
            "/events", [{**GUIDE_EVENT, "sesion_id": session, "id": str(one), "contenido": content} for one in ids]
        )
        if answer.status_code == 201:
            self.ledger.events.update(one.bytes for one in ids)
        else:
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.json()["type"] == "urn:otel-bridge:disco-lleno", answer.text
        return answer.status_code

    def until_full(self, session: str) -> None:
        wait_for(lambda: self.batch(session) == 503, "refusal for want of room", pause=0.0)


def _taken(bridge: Bridge, body: dict[str, str], headers: dict[str, str] | None = None) -> requests.Response:
    """The answer to a session, posted again for as long as there is no room: what is trimmed is in the write-ahead log
    before it is out of the file, so that the room comes and goes."""

    def post() -> list[requests.Response]:
        answer = bridge.post("/sessions", body, headers=headers or {})
        if answer.status_code == 503:
            assert answer.json()["type"] == "urn:otel-bridge:disco-lleno", answer.text
            return []
        return [answer]

    return wait_for(post, "room", 30)[0]


def _used(bridge: Bridge) -> float:
    return bridge.metric("otel_bridge_journal_bytes") / bridge.metric("otel_bridge_journal_limit_bytes")


@pytest.mark.parametrize("guard", ["0", "1MiB"], ids=["to the last byte", "with disk_min_free"])
@side_by_side
def test_a_full_disk_is_told_and_recovers_by_itself(
    make_bridge: Callable[..., Bridge],
    receiver: OtlpReceiver,
    small_disk: Callable[[str], SmallDisk],
    say: Say,
    guard: str,
) -> None:
    disk = small_disk("12m")
    disk.ballast.write_bytes(b"\0" * (6 << 20))
    receiver.behave = lambda spans: Reply(503)  # the backlog stays
    bridge = make_bridge(
        OTEL_BRIDGE_JOURNAL=f"sqlite:///{disk.folder}/otel-bridge.db",
        OTEL_BRIDGE_DISK_MIN_FREE=guard,
        **receiver.environ,
    )
    bridge.start()
    filler = Filler(bridge)
    session = filler.session()
    filler.until_full(session)
    if guard == "0":
        disk.fill()  # even what SQLite has not reached yet
        # What is left of the log is used up to its last page, one small event after another.
        wait_for(lambda: filler.batch(session, 1) == 503, "refusal of a single event", 60, pause=0.0)
    ready = wait_for(
        lambda: [a for a in [bridge.http.get(f"{bridge.url}/readyz", timeout=5)] if a.status_code == 503], "unready"
    )[0]
    assert any("dis" in problem for problem in ready.json()["problemas"]), ready.text
    wait_for(lambda: _used(bridge) > 0.8, "what BridgeJournalFilling looks at, and what is measured every second", 5)
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    assert bridge.metric("otel_bridge_records_total", result="rejected", reason="urn:otel-bridge:disco-lleno") > 0
    # Room returns: nobody restarts anything.
    disk.free()
    wait_for(lambda: bridge.http.get(f"{bridge.url}/readyz", timeout=5).status_code == 200, "ready again", 30)
    assert filler.batch(session, 10) == 201
    receiver.behave = lambda spans: OK
    settle(bridge)
    found = account(bridge, filler.ledger, receiver)
    say(str(found))
    found.check()
    assert bridge.stop() == 0


@side_by_side
def test_a_stop_with_a_full_disk_is_orderly(
    make_bridge: Callable[..., Bridge], small_disk: Callable[[str], SmallDisk]
) -> None:
    disk = small_disk("8m")
    bridge = make_bridge(
        OTEL_BRIDGE_JOURNAL=f"sqlite:///{disk.folder}/otel-bridge.db", OTEL_BRIDGE_DISK_MIN_FREE="0"
    ).start()
    filler = Filler(bridge)
    session = filler.session()
    assert filler.batch(session) == 201
    disk.fill()
    filler.until_full(session)
    assert bridge.stop() == 0
    assert "Traceback" not in bridge.output()
    disk.free()
    bridge.start()
    sessions, events = journaled(bridge)
    assert set(sessions) == filler.ledger.sessions and set(events) == filler.ledger.events
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count") == len(filler.ledger.events)


@side_by_side
def test_the_journals_own_limit_is_told_and_export_makes_room(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    """Nothing is trimmed before it is exported; as soon as it is, ingest goes on by itself."""
    receiver.behave = lambda spans: Reply(503)
    bridge = make_bridge(OTEL_BRIDGE_JOURNAL_MAX_SIZE="4MiB", **receiver.environ).start()
    filler = Filler(bridge)
    session = filler.session()
    filler.until_full(session)
    pending = bridge.metric("otel_bridge_pending_records")
    assert pending == filler.ledger.acknowledged
    wait_for(lambda: bridge.http.get(f"{bridge.url}/readyz", timeout=5).status_code == 503, "unready")
    wait_for(lambda: bridge.metric("otel_bridge_export_lag_seconds") > ROUNDS, "some rounds of housekeeping")
    assert bridge.metric("otel_bridge_pending_records") == pending  # the limit has trimmed none of it
    receiver.behave = lambda spans: OK
    wait_for(lambda: filler.batch(session, 5) == 201, "room by itself", 40, pause=0.5)
    settle(bridge)
    assert set(receiver.times) == filler.ledger.spans
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count") == len(filler.ledger.events)


@side_by_side
def test_near_its_limit_a_journal_keeps_what_it_answers_and_recognises_by(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    """Only exported segments make room: sessions, their users and the keys of retries stay."""
    bridge = make_bridge(OTEL_BRIDGE_JOURNAL_MAX_SIZE="4MiB", OTEL_BRIDGE_IDLE_AFTER_SECONDS="1",
                         OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS="0.2", **receiver.environ).start()  # fmt: skip
    bodies = [{**GUIDE_SESSION, "usuario_id": f"u{n}", "id": str(uuid.uuid4())} for n in range(50)]
    first = [bridge.post("/sessions", body) for body in bodies]
    keyed = {**GUIDE_SESSION, "usuario_id": "u0"}, {"Idempotency-Key": "key"}
    first.append(bridge.post("/sessions", keyed[0], headers=keyed[1]))
    assert {answer.status_code for answer in first} == {201}
    wait_for(lambda: bridge.metric("gpt_session_events_count") == 51, "idle sessions")
    filler = Filler(bridge)
    session = filler.session()
    sent = 0
    while sent < 8 << 20:  # twice what there is room for
        if filler.batch(session) == 201:
            sent += 200 * 1_200
        else:
            time.sleep(0.2)  # until the next round of housekeeping
    reader = journal.open_reader(f"sqlite:///{bridge.journal}", CONSUMER)
    settle(bridge)
    # What is used is measured once a second: before the filling, too.
    wait_for(lambda: reader.segments(0, 1)[0].last > 52 and _used(bridge) < 0.95, "room, made of segments")
    reader.close()
    for answer in first:
        state = bridge.http.get(f"{bridge.api}/sessions/{answer.json()['id']}", timeout=5)
        assert state.status_code == 200 and state.json()["timestamp_inicio"] == GUIDE_SESSION["timestamp_inicio"]
    assert bridge.metric("gpt_active_users", window="30d") == 51
    again = [_taken(bridge, body) for body in bodies]
    again.append(_taken(bridge, *keyed))
    assert [answer.status_code for answer in again] == [200] * 51
    assert [answer.json() for answer in again] == [answer.json() for answer in first]
    assert bridge.metric("gpt_sessions_total") == 52 and bridge.metric("otel_bridge_ledger_gap") == 0


@side_by_side
def test_a_journal_full_of_what_is_kept_says_so_and_goes_on_with_more_room(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    """Sessions within retention fill it by themselves: nothing of them goes, and a larger limit needs no restart."""
    bridge = make_bridge(OTEL_BRIDGE_IDLE_AFTER_SECONDS="1", **receiver.environ)
    config = bridge.config.read_text(encoding="utf-8")
    bridge.config.write_text(f'journal_max_size = "400KiB"\n{config}', encoding="utf-8")
    store = journal.open(f"sqlite:///{bridge.journal}", CONSUMER)
    now = time.time_ns() // 1000 - 60_000_000
    sessions = [Session(uuid.uuid4().bytes, "devops-expert", f"user{n}", now, now) for n in range(4_000)]
    store.begin()
    store.write([Append(list(sessions), [None] * len(sessions))])
    store.commit()
    store.close()
    bridge.start(wait=False)
    settle(bridge)
    wait_for(lambda: bridge.metric("gpt_session_events_count") == 4_000, "idle sessions")
    time.sleep(ROUNDS)
    answer = bridge.post("/sessions", GUIDE_SESSION)
    assert answer.status_code == 503 and answer.json()["type"] == "urn:otel-bridge:disco-lleno"
    ready = bridge.http.get(f"{bridge.url}/readyz", timeout=5)
    assert ready.status_code == 503 and "journal_max_size" in ready.text
    for session in sessions[::400]:
        assert bridge.http.get(f"{bridge.api}/sessions/{uuid.UUID(bytes=session.id)}", timeout=5).status_code == 200
    held = json.loads(bridge.run("journal", "status", "--json", "--space").stdout)
    assert held["bytes_pending"] < 100_000 and held["bytes_rest"] > 300 << 10
    bridge.config.write_text(f'journal_max_size = "20MiB"\n{config}', encoding="utf-8")
    wait_for(lambda: bridge.post("/sessions", GUIDE_SESSION).status_code == 201, "room without a restart")
    assert bridge.metric("otel_bridge_ledger_gap") == 0


@side_by_side
def test_retention_trims_what_is_exported_and_nothing_else(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    """With a retention of a quarter of an hour, records journaled an hour ago go when they are exported."""
    bridge = make_bridge(OTEL_BRIDGE_RETENTION_DAYS="0.0104")
    store = journal.open(f"sqlite:///{bridge.journal}", CONSUMER)
    past = time.time_ns() // 1000 - 3600 * 1_000_000
    session = Session(uuid.uuid4().bytes, "devops-expert", "u", past, past)
    store.begin()
    for start in range(0, 3000, 10):
        store.write([Append([Event(uuid.uuid4().bytes, session.id, "devops-expert", "u", "consulta", None, 1.0, 1, 1,
                                   past + start, past + start) for _ in range(10)], [None] * 10)])  # fmt: skip
    store.commit()
    store.close()
    bridge.start()  # nowhere to export to: everything stays, however old
    wait_for(lambda: bridge.metric("otel_bridge_records_total", kind="event", result="accepted") == 3000, "the fold")
    time.sleep(ROUNDS)
    assert bridge.metric("otel_bridge_pending_records") == 3000
    assert bridge.stop() == 0
    bridge.environ.update(receiver.environ)
    bridge.start()
    settle(bridge)
    reader = journal.open_reader(f"sqlite:///{bridge.journal}", CONSUMER)
    # Only that its session fell idle is newer than the retention.
    wait_for(lambda: all(one.spans == 0 for one in reader.segments(0, 400)), "a trimmed journal", 40)
    reader.close()
    assert len(receiver.times) == 3000 and bridge.metric("otel_bridge_ledger_gap") == 0
    assert bridge.metric("otel_bridge_exported_records_total") == 3000
    bridge.kill()
    bridge.start()  # what is trimmed is still counted, from the snapshot
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count") == 3000
    assert bridge.metric("otel_bridge_ledger_gap") == 0
