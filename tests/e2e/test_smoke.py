"""The main job in one breath."""

from tests.harness.bridge import GUIDE_EVENT, Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.waiting import wait_for


def test_a_session_and_its_event_become_a_trace_and_series(bridge: Bridge, receiver: OtlpReceiver) -> None:
    session = bridge.session()
    assert bridge.event(session).status_code == 201
    wait_for(lambda: len(receiver.spans) == 2, "session and event spans")
    root, event = receiver.find(name="session devops-expert")[0], receiver.find(name="consulta")[0]
    assert event.span.parent_span_id == root.span.span_id
    assert event.trace_id == session.replace("-", "")
    assert GUIDE_EVENT["contenido"] in event.attributes["gen_ai.input.messages"]
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count") == 1
    wait_for(lambda: bridge.metric("otel_bridge_exported_records_total") == 2, "two exported records")
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    bridge.kill()
    bridge.start()
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count") == 1
    assert bridge.stop() == 0


def test_journal_and_key_are_for_the_bridges_user_alone(bridge: Bridge) -> None:
    bridge.session()
    files = [file for file in bridge.journal.parent.iterdir() if file.is_file()]
    assert {file.suffix for file in files} >= {".db", ".db-wal", ".key"}
    assert {file.stat().st_mode & 0o077 for file in files} == {0}
