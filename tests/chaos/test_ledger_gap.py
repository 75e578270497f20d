"""`otel_bridge_ledger_gap` comes from counts that know nothing of one another: what goes missing shows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

from tests.chaos.lanes import side_by_side
from tests.harness.bridge import GUIDE_EVENT, Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.settling import settle
from tests.harness.waiting import wait_for


def _tamper(bridge: Bridge, sql: str) -> None:
    with closing(sqlite3.connect(bridge.journal, timeout=10, isolation_level=None)) as db:
        assert db.execute(sql).rowcount == 1


@side_by_side
def test_a_record_that_vanishes_from_the_backlog_shows(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge().start()
    session = bridge.session()
    assert bridge.post("/events", [{**GUIDE_EVENT, "sesion_id": session}] * 7).status_code == 201
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    _tamper(bridge, "DELETE FROM segment WHERE last = 8")
    wait_for(lambda: bridge.metric("otel_bridge_ledger_gap") == 7, "a gap of 7")


@side_by_side
def test_a_cursor_that_skips_a_record_shows(make_bridge: Callable[..., Bridge], receiver: OtlpReceiver) -> None:
    bridge = make_bridge(**receiver.environ).start()
    bridge.event(bridge.session())
    settle(bridge)
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    _tamper(bridge, "UPDATE sink SET exported = exported - 1")
    wait_for(lambda: bridge.metric("otel_bridge_ledger_gap") == 1, "a gap of 1")


@side_by_side
def test_a_parked_record_that_vanishes_shows(make_bridge: Callable[..., Bridge], receiver: OtlpReceiver) -> None:
    from tests.chaos.test_poison import POISON, _bad
    from tests.harness.otlp import OK, Reply

    receiver.behave = lambda spans: Reply(400) if _bad(spans) else OK
    bridge = make_bridge(**receiver.environ).start()
    session = bridge.session()
    settle(bridge)
    bridge.event(session, tipo=POISON)
    wait_for(lambda: bridge.metric("otel_bridge_parked_records") == 1, "a parked record")
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    _tamper(bridge, "DELETE FROM parked")
    wait_for(lambda: bridge.metric("otel_bridge_ledger_gap") == 1, "a gap of 1")
