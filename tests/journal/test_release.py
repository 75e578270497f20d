"""A journal that an earlier release has written is opened, counted, delivered and remembered as that release would.

How the journal was made: fixtures/README.md.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from otel_bridge import journal
from otel_bridge.journal import CONFLICT, Append
from otel_bridge.records import Event, Session, decode
from tests.harness.bridge import Bridge
from tests.harness.faked_clock import faked_clock
from tests.harness.otlp import OtlpReceiver
from tests.harness.settling import settle
from tests.harness.waiting import wait_for
from tests.journal.backends import CONSUMER

FIXTURES = Path(__file__).parent / "fixtures"
THEN: dict[str, Any] = json.loads((FIXTURES / "journal-0.1.0.json").read_text(encoding="utf-8"))
CONFIG = """
[gpts.devops-expert]
name = "DevOps Expert"
event_types = ["consulta", "veneno"]
[gpts.ventas]
name = "Ventas"
event_types = ["consulta"]
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(FIXTURES / 'journal-0.1.0.db', tmp_path)}"


@pytest.fixture
def upgraded(make_bridge: Callable[..., Bridge], receiver: OtlpReceiver) -> Bridge:
    """This release over a copy of that journal; not started."""
    bridge = make_bridge(CONFIG, OTEL_BRIDGE_USER_HASH_KEY="0123456789abcdef" * 2, **receiver.environ)
    bridge.journal.parent.mkdir()
    shutil.copy(FIXTURES / "journal-0.1.0.db", bridge.journal)
    return bridge


def test_it_is_counted_whole_and_the_rest_of_it_delivered(upgraded: Bridge, receiver: OtlpReceiver) -> None:
    bridge = upgraded.start()
    settle(bridge)
    assert "4 of them folded since the snapshot" in bridge.output()
    for kind, count in (("session", 2), ("event", 7)):
        assert bridge.metric("otel_bridge_records_total", kind=kind, result="accepted") == count
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count", gen_ai_agent_id="devops-expert") == 4
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count", gen_ai_agent_id="ventas") == 3
    assert bridge.metric("gpt_session_duration_seconds_count", gen_ai_agent_id="devops-expert") == 1
    assert bridge.metric("otel_bridge_exported_records_total") == 8
    assert bridge.metric("otel_bridge_parked_records") == 1
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    assert len(receiver.times) == 4 and not set(THEN["delivered"]) & set(receiver.times)
    assert THEN["posts"][-1]["answer"]["span_id"] in receiver.times
    assert "HTTP 400" in bridge.run("journal", "parked").stdout
    assert bridge.run("journal", "replay").returncode == 0
    wait_for(lambda: bridge.metric("otel_bridge_parked_records") == 0, "the parked record's delivery")
    assert bridge.metric("otel_bridge_exported_records_total") == 9 and len(receiver.times) == 5


@pytest.mark.parametrize("hours", [1, 23], ids=["the same day", "the next day"])
def test_a_repeat_of_then_is_answered_with_the_id_of_then(upgraded: Bridge, hours: int) -> None:
    """The bridge's clock is that of then: keys are remembered for 24 h."""
    moment = datetime.fromisoformat(THEN["at"]) + timedelta(hours=hours)
    upgraded.environ.update(faked_clock(FAKETIME=f"@{moment}", TZ="UTC"))
    bridge = upgraded.start()
    for post in THEN["posts"]:
        body = post["body"]
        if isinstance(body, list):
            body = body[1:]  # the first has neither id nor time: each post of it is new
        answer = bridge.post(post["path"], body, headers=post["headers"])
        if isinstance(body, list):
            assert answer.status_code == 201
            assert [r["id"] for r in answer.json()["resultados"]] == [post["answer"]["resultados"][1]["id"]]
        else:
            assert answer.status_code == 200 and answer.json() == post["answer"], post
    assert bridge.metric("otel_bridge_records_total", result="accepted") == 9


def test_its_keys_and_snapshot_are_read_by_the_store(url: str) -> None:
    """Without the bridge, and without a clock: records of then come again."""
    store = journal.open(url, CONSUMER)
    reader = store.reader()
    records = [record for segment in reader.segments(0, 100) for record in decode(segment.body)]
    saved = store.snapshot()
    assert saved is not None and saved[0] == THEN["snapshot"]
    assert (store.last, reader.cursor(), len(records)) == (THEN["last"], THEN["cursor"], THEN["last"])
    bodies = [post["body"] for post in THEN["posts"]]
    items = [item for body in bodies for item in (body if isinstance(body, list) else [body])]
    ids = [UUID(item["id"]).bytes for item in items if "sesion_id" in item and "id" in item]
    events = {record.id: record for record in records if isinstance(record, Event)}
    assert len(ids) == 3
    for event_id in ids:
        again = Append([events[event_id]], [b"i" + event_id], {0: b"other content"})
        assert store.write_alone([again]) == [] and again.outcomes == [CONFLICT]
    chosen = next(record for record in records if isinstance(record, Session) and record.gpt == "ventas")
    again = Append([chosen], [None], {0: b"other content"})
    assert store.write_alone([again]) == [] and again.outcomes == [CONFLICT]
    reader.close()
    store.close()
