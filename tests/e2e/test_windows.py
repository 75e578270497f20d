"""What is counted on a timer: active sessions and users, the busiest users, sessions that fall idle."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge
from tests.harness.waiting import wait_for

Make = Callable[..., Bridge]


def test_active_sessions_users_and_the_busiest(make_bridge: Make) -> None:
    bridge = make_bridge(OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS="0.2").start()
    for user in range(12):
        session = bridge.session(usuario_id=f"user-{user}")
        for _ in range(user):
            bridge.event(session, tokens_entrada=user, tokens_salida=0)
    bridge.session(usuario_id="user-0")
    for window in ("30m", "1d", "7d", "30d"):
        wait_for(
            lambda window=window: bridge.metric("gpt_active_sessions", window=window) == 13, f"sessions of {window}"
        )
        assert bridge.metric("gpt_active_users", window=window) == 12
    wait_for(lambda: bridge.metric("gpt_top_user_events", window="1d") == sum(range(2, 12)), "the ten busiest users")
    scrape = bridge.scrape()
    events = {dict(labels)["user_hash"]: v for (name, labels), v in scrape.items() if name == "gpt_top_user_events"}
    tokens = {dict(labels)["user_hash"]: v for (name, labels), v in scrape.items() if name == "gpt_top_user_tokens"}
    assert sorted(events.values()) == list(range(2, 12))
    assert tokens == {user: count * count for user, count in events.items()}
    assert not any("user-" in user for user in events)
    bridge.kill()
    bridge.start()
    wait_for(lambda: bridge.metric("gpt_active_sessions", window="1d") == 13, "the windows, from the journal")
    assert bridge.metric("gpt_top_user_events") == sum(range(2, 12))


def observed(bridge: Bridge) -> tuple[float, float, float]:
    """Stretches seen, their events, their seconds."""
    return (
        bridge.metric("gpt_session_events_count"),
        bridge.metric("gpt_session_events_sum"),
        bridge.metric("gpt_session_duration_seconds_sum"),
    )


def fall_idle_soon(bridge: Bridge) -> None:
    """From now on: no session has fallen idle between two posts of a test that a busy machine holds up."""
    text = bridge.config.read_text(encoding="utf-8")
    bridge.config.write_text(f"idle_after_seconds = 1\n{text}", encoding="utf-8")


def test_an_idle_session_is_counted_once_across_restarts_and_again_when_it_wakes(make_bridge: Make) -> None:
    bridge = make_bridge().start()
    session = bridge.session()
    event = {**GUIDE_EVENT, "sesion_id": session}
    times = ("2025-06-29T20:00:30Z", "2025-06-29T20:01:35Z")
    assert bridge.post("/events", [{**event, "timestamp": time} for time in times]).status_code == 201
    state = lambda: bridge.http.get(f"{bridge.api}/sessions/{session}", timeout=10).json()  # noqa: E731
    assert state()["activa"] is True
    fall_idle_soon(bridge)
    wait_for(lambda: observed(bridge)[0] == 1, "an idle session")
    assert observed(bridge) == (1, 2, 65)
    assert state()["activa"] is False
    for end in (bridge.stop, bridge.kill):
        end()
        bridge.start()
        assert observed(bridge) == (1, 2, 65)

    bridge.event(session, timestamp="2025-06-29T21:00:00Z")
    wait_for(lambda: observed(bridge)[0] == 2, "the second stretch")
    assert observed(bridge) == (2, 3, 65)
    assert bridge.metric("otel_bridge_ledger_gap") == 0, "an idle session is no record that is exported"
    assert bridge.metric("otel_bridge_records_total", result="accepted") == 4


def test_times_far_from_now_move_nothing_of_today(make_bridge: Make) -> None:
    """A start that was copied from the guide, an event of a clock that was never set, history that arrives late."""
    bridge = make_bridge().start()
    now = datetime.now(UTC)
    old = bridge.session(timestamp_inicio="2025-06-29T20:00:00.000Z", usuario_id="ana")
    late = bridge.session(timestamp_inicio=(now - timedelta(days=3)).isoformat(), usuario_id="bruno")
    ends = [now - timedelta(seconds=40), now - timedelta(days=4_000), now]
    events = [{**GUIDE_EVENT, "sesion_id": old, "timestamp": end.isoformat()} for end in ends]
    assert bridge.post("/events", events).status_code == 201
    for end in (now - timedelta(days=3), now - timedelta(days=3) + timedelta(seconds=25)):
        assert bridge.event(late, timestamp=end.isoformat()).status_code == 201
    for far in ("1970-01-01T00:00:00Z", "2199-01-01T00:00:00Z", (now + timedelta(hours=25)).isoformat()):
        for answer in (
            bridge.event(old, timestamp=far),
            bridge.post("/sessions", {**GUIDE_SESSION, "timestamp_inicio": far}),
        ):
            assert answer.status_code == 422, answer.text
    fall_idle_soon(bridge)
    wait_for(lambda: observed(bridge)[0] == 2, "both sessions idle")
    assert observed(bridge) == (2, 5, 40 + 25)
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count") == 5
    wait_for(lambda: bridge.metric("gpt_active_users", window="1d") == 2, "windows")
    assert bridge.metric("gpt_top_user_events") == 2, "of the last day"
