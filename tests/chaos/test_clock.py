"""The wall clock is moved an hour each way while the bridge runs (libfaketime; the monotonic clock goes on)."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.chaos.conftest import long_form
from tests.chaos.ledger import Load, Say, account, settle
from tests.harness.bridge import GUIDE_EVENT, Bridge
from tests.harness.otlp import OK, OtlpReceiver, Reply
from tests.harness.waiting import wait_for

LIBRARIES = (*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), *Path("/usr/lib").glob("faketime/libfaketimeMT*"))


@pytest.fixture
def clocked(make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, tmp_path: Path) -> Bridge:
    """A bridge whose wall clock follows `bridge.folder / "clock"`."""
    if not LIBRARIES:
        pytest.skip("libfaketime is not installed: apt-get install faketime")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    return make_bridge(
        LD_PRELOAD=str(LIBRARIES[0]),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_CACHE_DURATION="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
        DONT_FAKE_MONOTONIC="1",
        OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS="0.2",
        **receiver.environ,
    )


def _step(clock: Path, offset: str) -> None:
    fresh = clock.with_suffix(".new")
    fresh.write_text(offset)
    fresh.rename(clock)


def test_clock_steps_break_nothing(clocked: Bridge, receiver: OtlpReceiver, tmp_path: Path, say: Say) -> None:
    clock, bridge = tmp_path / "clock", clocked.start()

    def ahead() -> float:
        """Seconds that the bridge's wall clock is ahead of ours."""
        told = bridge.http.get(f"{bridge.url}/healthz", timeout=5).headers["Date"]
        return parsedate_to_datetime(told).timestamp() - time.time()

    with Load(bridge, clients=2, pause=0.01) as load:
        for offset in ("+3600", "-3600", "+0"):
            _step(clock, offset)
            wait_for(lambda offset=offset: abs(ahead() - int(offset)) < 600, f"a clock at {offset}")  # type: ignore[misc]
            before = len(load.ledger.events)
            wait_for(lambda before=before: len(load.ledger.events) > before + 50, f"load at {offset}")  # type: ignore[misc]
            ready = bridge.http.get(f"{bridge.url}/readyz", timeout=5)
            assert ready.status_code == 200, ready.text
            assert all(value >= 0 for (name, _), value in bridge.scrape().items() if not name.endswith("ledger_gap"))
    settle(bridge)
    found = account(bridge, load.ledger, receiver)
    say(str(found))
    found.check()
    assert bridge.metric("otel_bridge_worker_restarts_total") == 0 and "Traceback" not in bridge.output()
    for one in receiver.spans:
        assert 0 < one.span.start_time_unix_nano <= one.span.end_time_unix_nano
    assert len({one.span.start_time_unix_nano // 3_600_000_000_000 for one in receiver.spans}) >= 3  # it did move

    # Windows recover: a session of now is counted at once, whatever came before. (Those of the load may have ended an
    # hour ago: the clock follows its file a second late, and they may all have been over by then.)
    def counted() -> bool:
        return bridge.event(bridge.session()).ok and bridge.metric("gpt_active_sessions", window="30m") >= 1

    wait_for(counted, "active sessions", pause=0.25)
    bridge.kill()
    bridge.start()
    assert bridge.metric("otel_bridge_ledger_gap") == 0


@long_form
def test_the_lag_is_true_after_the_clock_went_back(clocked: Bridge, receiver: OtlpReceiver, tmp_path: Path) -> None:
    """What waits was accepted, by this clock, in an hour's time: that does not make its wait zero."""
    clock = tmp_path / "clock"
    receiver.behave = lambda spans: Reply(503)
    bridge = clocked.start()
    bridge.event(bridge.session())
    wait_for(lambda: bridge.metric("otel_bridge_export_lag_seconds") > 0, "a lag")
    _step(clock, "-3600")
    stepped = time.monotonic()
    wait_for(lambda: bridge.metric("otel_bridge_export_lag_seconds") > 2, "a lag that grows", 15)
    assert bridge.metric("otel_bridge_export_lag_seconds") < time.monotonic() - stepped + 30
    receiver.behave = lambda spans: OK
    settle(bridge)
    assert bridge.metric("otel_bridge_export_lag_seconds") == 0


@long_form
def test_a_session_falls_idle_once_although_the_clock_jumps(clocked: Bridge, tmp_path: Path) -> None:
    clock, bridge = tmp_path / "clock", clocked.start()
    bridge.event(bridge.session())
    _step(clock, "+3600")
    wait_for(lambda: bridge.metric("gpt_session_events_count") == 1, "an idle session")
    _step(clock, "+0")
    time.sleep(2.5)
    assert bridge.metric("gpt_session_events_count") == 1
    assert bridge.metric("gpt_session_duration_seconds_sum") >= 0


def test_an_event_of_a_session_past_retention_is_refused_as_its_state_is(clocked: Bridge, tmp_path: Path) -> None:
    """The process that knew the session says what one that starts anew would say."""
    clock, bridge = tmp_path / "clock", clocked.start()
    session = bridge.session()
    assert bridge.event(session).status_code == 201
    settle(bridge)
    _step(clock, f"+{40 * 86_400}")

    def gone() -> bool:
        return bridge.http.get(f"{bridge.api}/sessions/{session}", timeout=5).status_code == 404

    wait_for(gone, "a trimmed session", 40)
    wait_for(lambda: bridge.event(session).status_code == 404, "its event refused", 5)
    assert bridge.post("/events", [{**GUIDE_EVENT, "sesion_id": session}] * 2).json()["aceptados"] == 0
    assert bridge.metric("otel_bridge_ledger_gap") == 0
