"""`/metrics` as a real Prometheus sees it: series with the right values, exemplars that open the trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from otel_bridge.config import shipped
from otel_bridge.cores import has_second_core
from tests.harness.bridge import OPENMETRICS, Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.prometheus import Prometheus, available
from tests.harness.waiting import wait_for

pytestmark = pytest.mark.skipif(available() is None, reason="needs Debian's package prometheus")

BASE = (
    'gen_ai_agent_id="devops-expert", gen_ai_operation_name="invoke_agent", gen_ai_provider_name="openai", '
    'gen_ai_request_model="gpt-6.2-sol"'
)
PRICE = shipped().models["gpt-6.2-sol"]
# (tipo, latency_ms, tokens_entrada, tokens_salida, error): what is posted, once each.
EVENTS: list[tuple[str, float, int, int, str | None]] = [
    ("consulta", 1500, 25, 150, None),
    ("consulta", 300, 10, 40, None),
    ("pipeline", 6000, 5, 5, None),
    ("pipeline", 90_000, 0, 0, "timeout"),
    ("inventado", 1, 1, 1, None),
]


@dataclass
class Scene:
    bridge: Bridge
    receiver: OtlpReceiver
    prometheus: Prometheus
    session: str
    answers: list[dict[str, Any]]


@pytest.fixture(scope="module", params=["here", "apart"] if has_second_core() else ["here"])
def scene(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """One session with `EVENTS`, scraped. «apart»: another process writes the pages."""
    folder = tmp_path_factory.mktemp("prometheus")
    receiver = OtlpReceiver().start()
    bridge = Bridge(folder, **receiver.environ, OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS="0.2")
    if request.param == "apart":
        bridge.customised(CHAOS_PAGES_APART="1")
    prometheus = Prometheus(folder / "prometheus", targets=[f"127.0.0.1:{bridge.metrics_port}"])
    try:
        bridge.start()
        prometheus.start()
        session = bridge.session()
        answers = []
        for tipo, latency, tokens_in, tokens_out, error in EVENTS:
            answer = bridge.event(
                session, tipo=tipo, latency_ms=latency, tokens_entrada=tokens_in, tokens_salida=tokens_out, error=error
            )
            assert answer.status_code == 201
            answers.append(answer.json())
        prometheus.wait_value("otel_bridge_exported_records_total", 6)
        prometheus.wait_value('gpt_active_users{window="1d"}', 1)
        prometheus.wait_value('gpt_top_user_events{window="1d"}', len(EVENTS))
        assert bridge.process is not None
        commands = [" ".join(one.cmdline()) for one in psutil.Process(bridge.process.pid).children()]
        assert any("metrics.page_process" in command for command in commands) is (request.param == "apart")
        yield Scene(bridge, receiver, prometheus, session, answers)
    finally:
        prometheus.close()
        bridge.close()
        receiver.close()


SERIES = [
    (f'gen_ai_client_operation_duration_seconds_count{{{BASE}, event_type="consulta", error_type=""}}', 2),
    (f'gen_ai_client_operation_duration_seconds_sum{{{BASE}, event_type="consulta", error_type=""}}', 1.8),
    (f'gen_ai_client_operation_duration_seconds_count{{{BASE}, event_type="pipeline", error_type="timeout"}}', 1),
    (f'gen_ai_client_operation_duration_seconds_count{{{BASE}, event_type="otro", error_type=""}}', 1),
    ('sum(gen_ai_client_operation_duration_seconds_bucket{event_type="consulta", le="0.5"})', 1),
    ('sum(gen_ai_client_operation_duration_seconds_bucket{event_type="consulta", le="3.0"})', 2),
    ('sum(gen_ai_client_operation_duration_seconds_bucket{error_type="timeout", le="60.0"})', 0),
    ('sum(gen_ai_client_operation_duration_seconds_bucket{le="+Inf"})', 5),
    ('sum(gen_ai_client_token_usage_sum{gen_ai_token_type="input"})', 41),
    ('sum(gen_ai_client_token_usage_sum{gen_ai_token_type="output"})', 196),
    (f"gpt_sessions_total{{{BASE}}}", 1),
    (f'gpt_slo_events_total{{{BASE}, result="good"}}', 3),
    (f'gpt_slo_events_total{{{BASE}, result="bad"}}', 2),
    (f"gpt_cost_usd_total{{{BASE}}} * 1e6", 41 * PRICE.input + 196 * PRICE.output),
    ('gpt_latency_objective_seconds{gen_ai_agent_id="devops-expert"}', 5),
    ('gpt_slo_target_ratio{gen_ai_agent_id="devops-expert"}', 0.99),
    ('gpt_active_sessions{gen_ai_agent_id="devops-expert", window="30m"}', 1),
    ('gpt_active_users{gen_ai_agent_id="devops-expert", window="30d"}', 1),
    ('gpt_top_user_events{gen_ai_agent_id="devops-expert", window="1d"}', 5),
    ('gpt_top_user_tokens{gen_ai_agent_id="devops-expert", window="1d"}', 237),
    ('otel_bridge_records_total{kind="session", result="accepted"}', 1),
    ('otel_bridge_records_total{kind="event", result="accepted"}', 5),
    ("otel_bridge_pending_records", 0),
    ("otel_bridge_parked_records", 0),
    ("otel_bridge_ledger_gap", 0),
    ("otel_bridge_export_configured", 1),
    ('sum(otel_bridge_request_duration_seconds_count{route="/api/events", status="201"})', 5),
    ("count(otel_bridge_build_info)", 1),
    ("min(otel_bridge_worker_up)", 1),
    ('up{job="otel-bridge"}', 1),
]


@pytest.mark.parametrize(("promql", "value"), SERIES, ids=[promql for promql, _ in SERIES])
def test_a_series_has_the_right_value(scene: Scene, promql: str, value: float) -> None:
    assert scene.prometheus.value(promql) == pytest.approx(value)


def test_the_scrape_is_openmetrics_and_without_error(scene: Scene) -> None:
    (target,) = scene.prometheus.targets()
    assert (target["health"], target["lastError"]) == ("up", "")
    answer = scene.bridge.http.get(scene.bridge.metrics_url, headers=OPENMETRICS, timeout=10)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    plain = scene.bridge.http.get(scene.bridge.metrics_url, timeout=10)
    assert plain.headers["Content-Type"].startswith("text/plain") and "trace_id" not in plain.text


def test_prometheus_knows_type_and_help_of_every_gpt_metric(scene: Scene) -> None:
    metadata = scene.prometheus.get("metadata")
    assert metadata["gen_ai_client_operation_duration_seconds"][0]["type"] == "histogram"
    assert metadata["gen_ai_client_token_usage"][0]["type"] == "histogram"
    names = {name.removesuffix("_total") for name in metadata}
    assert {"gpt_sessions", "gpt_slo_events", "gpt_cost_usd", "gpt_active_users"} <= names
    for name, (entry, *_) in metadata.items():
        if name.startswith(("gen_ai_", "gpt_", "otel_bridge_")):
            assert entry["help"], name


def test_an_exemplar_opens_the_trace_of_the_event_behind_it(scene: Scene) -> None:
    def shown() -> list[dict[str, Any]]:
        return scene.prometheus.query_exemplars(
            'gen_ai_client_operation_duration_seconds_bucket{event_type="consulta"}'
        )

    exemplars = {
        float(exemplar["value"]): exemplar["labels"]
        for series in wait_for(shown, "exemplars")
        for exemplar in series["exemplars"]
    }
    assert exemplars.keys() == {1.5, 0.3}
    for seconds, answer in ((1.5, scene.answers[0]), (0.3, scene.answers[1])):
        assert exemplars[seconds] == {"trace_id": answer["trace_id"], "span_id": answer["span_id"]}
        (span,) = scene.receiver.find(trace_id=answer["trace_id"], span_id=answer["span_id"])
        lasted = span.span.end_time_unix_nano - span.span.start_time_unix_nano
        assert lasted == pytest.approx(seconds * 1e9)
        assert span.span.name == "consulta"


def test_tokens_have_exemplars_too(scene: Scene) -> None:
    def shown() -> list[dict[str, Any]]:
        return scene.prometheus.query_exemplars('gen_ai_client_token_usage_bucket{gen_ai_token_type="output"}')

    spans = {
        exemplar["labels"]["span_id"] for series in wait_for(shown, "exemplars") for exemplar in series["exemplars"]
    }
    assert spans <= {answer["span_id"] for answer in scene.answers} and spans


def test_the_user_is_a_hash(scene: Scene) -> None:
    (series,) = scene.prometheus.query("gpt_top_user_events")
    state = scene.bridge.http.get(f"{scene.bridge.api}/sessions/{scene.session}", timeout=10).json()
    assert series["metric"]["user_hash"] == state["usuario_hash"] != "usuario123"


def test_the_public_door_does_not_show_metrics(scene: Scene) -> None:
    assert scene.bridge.http.get(f"{scene.bridge.url}/metrics", timeout=10).status_code == 404


def test_counters_do_not_fall_when_the_bridge_is_killed_and_started_again(scene: Scene) -> None:
    """Last of the module: it restarts the bridge under Prometheus' eyes."""
    counters = [
        "gpt_sessions_total",
        "sum(gen_ai_client_operation_duration_seconds_count)",
        "sum(gpt_slo_events_total)",
    ]
    before = [scene.prometheus.value(counter) for counter in counters]
    scene.bridge.kill()
    scene.prometheus.wait_value('up{job="otel-bridge"}', 0)
    scene.bridge.start()
    scene.prometheus.wait_value('up{job="otel-bridge"}', 1)
    assert [scene.prometheus.value(counter) for counter in counters] == before
    for counter in ("gpt_sessions_total", "gen_ai_client_operation_duration_seconds_count", "gpt_slo_events_total"):
        assert scene.prometheus.value(f"sum(resets({counter}[5m]))") == 0
