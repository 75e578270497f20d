"""A GPT with a retention of its own, on a running bridge: what is older loses its user and its text."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from otel_bridge import journal
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.ids import uuid_text
from otel_bridge.journal import Append
from otel_bridge.records import Event, Record, Session, decode
from tests.harness.bridge import Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

USER = "0123456789abcdef"
REGISTRY = '[gpts.devops-expert]\nname = "a"\n[gpts.otro]\nname = "b"\n'
QUARTER_OF_AN_HOUR = "retention_days = 0.0104\n"


def _fill(bridge: Bridge) -> dict[str, bytes]:
    """Records of an hour ago, of both GPTs in each segment; their sessions."""
    store = journal.open(f"sqlite:///{bridge.journal}", CONSUMER)
    past = time.time_ns() // 1000 - 3600 * 1_000_000
    sessions = {gpt: Session(uuid.uuid4().bytes, gpt, USER, past, past) for gpt in ("devops-expert", "otro")}
    store.begin()
    store.write([Append([*sessions.values()], [None, None])])
    for number in range(20):
        events: list[Record] = [
            Event(uuid.uuid4().bytes, one.id, gpt, USER, "consulta", f"dicho en {gpt}", 1.0, 1, 1, past + number, past)
            for gpt, one in sessions.items()
        ]
        store.write([Append(events, [None, None])])
    store.commit()
    store.close()
    return {gpt: one.id for gpt, one in sessions.items()}


def _said(bridge: Bridge, gpt: str) -> set[tuple[str | None, str]]:
    reader = journal.open_reader(f"sqlite:///{bridge.journal}", CONSUMER)
    try:
        records = [record for one in reader.segments(0, 1_000) for record in decode(one.body)]
    finally:
        reader.close()
    return {(one.content, one.user) for one in records if isinstance(one, Event) and one.gpt == gpt}


def test_it_is_taken_on_by_a_running_bridge_and_no_number_changes(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    bridge = make_bridge(REGISTRY, **receiver.environ)
    sessions = _fill(bridge)
    bridge.start()
    settle(bridge)
    assert _said(bridge, "otro") == {("dicho en otro", USER)}
    bridge.config.write_text(REGISTRY + QUARTER_OF_AN_HOUR, encoding="utf-8")
    wait_for(lambda: _said(bridge, "otro") == {(None, "")}, "blanked records", 60)
    assert _said(bridge, "devops-expert") == {("dicho en devops-expert", USER)}

    def answer(gpt: str) -> int:
        return bridge.http.get(f"{bridge.api}/sessions/{uuid_text(sessions[gpt])}", timeout=5).status_code

    wait_for(lambda: answer("otro") == 404, "its session gone", 60)
    assert answer("devops-expert") == 200
    wait_for(lambda: bridge.metric("gpt_active_users", gen_ai_agent_id="otro", window="1d") == 0, "no user", 60)
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count", gen_ai_agent_id="otro") == 20
    assert bridge.stop() == 0
    assert not any(b"dicho en otro" in path.read_bytes() for path in bridge.journal.parent.iterdir())


def test_more_than_the_journals_is_refused_with_what_to_do(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge("retention_days = 10\n" + REGISTRY + "retention_days = 30\n")
    done = bridge.run("check")
    assert done.returncode == 2
    for words in ("gpts.otro.retention_days: se encontró 30", "su propio retention_days (10)", "sube el del diario"):
        assert words in done.stdout + done.stderr
