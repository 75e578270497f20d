"""`otel-bridge doctor`: a clear answer of every station, what to do where it is no, and an exit code.

The bridge and Prometheus are real. Tempo and Grafana have no Debian package: they are stand-ins that answer in the
shapes of their APIs (Tempo's from what the bridge really sent).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from otel_bridge.commands.stations import BOARDS, Doctor, Places, StationResult, _spans
from otel_bridge.commands.synthetic import USER
from tests.harness.bridge import Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.ports import free_port
from tests.harness.prometheus import Prometheus
from tests.harness.stand_in import UNEXPECTED, StandIn

GPT = "devops-expert"
PASSWORD = "contraseña"
LOGIN = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()


@dataclass
class Stations:
    bridge: Bridge
    receiver: OtlpReceiver
    prometheus: Prometheus
    tempo: StandIn
    grafana: StandIn
    missing: list[str]
    """Boards that Grafana lacks."""
    blind: list[str]
    """Data sources through which Grafana sees nothing."""
    store_metrics: list[str]
    """The trace store's page of /metrics, where it shows one."""

    def places(self, **changed: Any) -> Places:
        values: dict[str, Any] = {
            "api": self.bridge.url,
            "metrics": self.bridge.metrics_url,
            "prometheus": self.prometheus.url,
            "traces": self.tempo.url,
            "grafana": self.grafana.url,
            "grafana_password": PASSWORD,
        }
        return Places(**{**values, **changed})

    def examine(self, wait: float = 15.0, **changed: Any) -> dict[str, StationResult]:
        """Station → its result, with some of `places` changed."""
        told: list[StationResult] = []
        results = Doctor(self.places(**changed), GPT, wait).examine(told.append)
        assert told == results, "each is told as soon as it is there"
        return {result.station: result for result in results}


@pytest.fixture(scope="module")
def stations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stations]:
    receiver = OtlpReceiver().start()
    bridge = Bridge(tmp_path_factory.mktemp("bridge"), **receiver.environ).start()
    target = f"127.0.0.1:{bridge.metrics_port}"
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), targets=[target]).start()
    missing: list[str] = []
    blind: list[str] = []

    store_metrics: list[str] = []

    def tempo_says(path: str, headers: dict[str, str]) -> tuple[int, Any]:
        if path == "/metrics" and store_metrics:
            return 200, store_metrics[0].encode()
        spans = receiver.find(trace_id=path.rpartition("/")[2])
        if not spans:
            return 404, {}
        return 200, {"batches": [{"scopeSpans": [{"spans": [{"name": received.span.name} for received in spans]}]}]}

    def grafana_says(path: str, headers: dict[str, str]) -> tuple[int, Any]:
        if path == "/api/health":
            return 200, {"database": "ok"}
        if headers.get("authorization") != LOGIN:
            return 401, {"message": "Invalid username or password"}
        if path.startswith("/api/search"):
            return 200, [{"uid": uid} for uid in BOARDS if uid not in missing]
        source = path.split("/")[5]
        if source in blind:
            return 502, {}
        if source == "tempo":
            return tempo_says(path, headers)
        return 200, {"data": {"result": prometheus.query(f'gpt_sessions_total{{gen_ai_agent_id="{GPT}"}}')}}

    tempo, grafana = StandIn(tempo_says), StandIn(grafana_says)
    yield Stations(bridge, receiver, prometheus, tempo, grafana, missing, blind, store_metrics)
    for server in (grafana, tempo, prometheus, bridge, receiver):
        server.close()


def answers(results: dict[str, StationResult]) -> dict[str, str]:
    return {station: result.answer for station, result in results.items()}


ALL_YES = {"puente": "sí", "/metrics": "sí", "Prometheus": "sí", "trazas": "sí", "Grafana": "sí"}


def test_where_all_is_well_every_station_says_yes(stations: Stations) -> None:
    results = stations.examine()
    assert answers(results) == ALL_YES, [result.lines() for result in results.values()]
    assert not any(result.todo for result in results.values())
    assert "ejemplar" in results["Prometheus"].text


TEMPO = 'tempo_build_info{version="3.0.3"} 1\ntempo_discarded_spans_total{reason="rate_limited",tenant="a"} 9\n'
THREW_AWAY = 'tempo_discarded_spans_total{reason="trace_too_large",tenant="%s"} 4000\n'


@pytest.mark.parametrize(
    ("metrics", "says", "todo"),
    [
        ([], "desde aquí no se ve", ""),
        (["jaeger_build_info 1\n"], "desde aquí no se ve", ""),
        ([TEMPO], "no ha tirado nada de lo que aceptó", ""),
        (
            [TEMPO + THREW_AWAY % "a" + THREW_AWAY % "b"],
            "tiró tramos que había aceptado: trace_too_large 8000",
            "mira docs/runbooks/BridgeSpansDiscarded.md",
        ),
    ],
    ids=["it shows none", "of another store", "nothing", "something"],
)
def test_it_says_what_the_trace_store_threw_away_after_its_200(
    stations: Stations, metrics: list[str], says: str, todo: str
) -> None:
    stations.store_metrics[:] = metrics
    try:
        result = stations.examine(prometheus=None, grafana=None)["trazas"]
    finally:
        stations.store_metrics.clear()
    assert result.answer == "sí" and result.text.endswith(says) and result.todo == todo, result.lines()


def test_the_session_is_recognisable_and_weighs_on_no_average(stations: Stations) -> None:
    before = stations.bridge.metric("gen_ai_client_operation_duration_seconds_sum")
    stations.examine(prometheus=None, traces=None, grafana=None)
    assert stations.bridge.metric("gen_ai_client_operation_duration_seconds_sum") - before < 0.001
    assert stations.bridge.metric("gpt_slo_events_total", result="bad") == 0
    assert USER == "otel-bridge-doctor"


def test_what_is_not_configured_is_neither_yes_nor_no(stations: Stations) -> None:
    results = stations.examine(prometheus=None, traces=None, grafana=None)
    unknown = [results[station] for station in ("Prometheus", "trazas", "Grafana")]
    assert {result.answer for result in unknown} == {"no configurado"}
    for result, flag in zip(unknown, ("--prometheus", "--tempo", "--grafana"), strict=True):
        assert flag in result.text


NOWHERE = f"http://127.0.0.1:{free_port()}"


@pytest.mark.parametrize(
    ("station", "changed", "text"),
    [
        ("/metrics", {"metrics": f"{NOWHERE}/metrics"}, "--metrics-url"),
        ("Prometheus", {"prometheus": NOWHERE}, "no responde"),
        ("trazas", {"traces": NOWHERE}, "journal parked"),
        ("Grafana", {"grafana": NOWHERE}, "en marcha"),
        ("Grafana", {"grafana_password": "otra"}, "GRAFANA_PASSWORD"),
        ("Grafana", {"grafana_password": None}, "GRAFANA_PASSWORD"),
    ],
)
def test_a_station_that_fails_says_no_and_what_to_do(
    stations: Stations, station: str, changed: dict[str, Any], text: str
) -> None:
    results = stations.examine(wait=6.0, **changed)
    assert results[station].answer == "no"
    assert text in " ".join(results[station].lines())
    assert results[station].todo
    del results[station]
    assert set(answers(results).values()) == {"sí"}, "one station's trouble hides no other"


def test_a_bridge_that_does_not_answer_ends_the_examination(stations: Stations) -> None:
    results = stations.examine(wait=0.5, api=NOWHERE)
    assert answers(results) == {"puente": "no"}
    assert "otel-bridge serve" in results["puente"].todo


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize("body", UNEXPECTED.values(), ids=UNEXPECTED)
def test_what_answers_as_nothing_that_is_asked_for_is_a_no(stations: Stations, body: bytes, status: int) -> None:
    odd = StandIn(lambda path, headers: (status, body))
    try:
        results = stations.examine(wait=0.1, prometheus=odd.url, traces=odd.url, grafana=odd.url)
        assert [results[name].answer for name in ("Prometheus", "trazas", "Grafana")] == ["no"] * 3
        done = stations.bridge.run("doctor", "--url", odd.url, "--metrics-url", odd.url, "--wait", "0.1")
        assert (done.returncode, done.stderr) == (1, "") and "puente" in done.stdout
    finally:
        odd.close()


def test_prometheus_that_reads_another_bridge_is_found_out(stations: Stations, tmp_path: Path) -> None:
    elsewhere = Prometheus(tmp_path, targets=[f"127.0.0.1:{free_port()}"]).start()
    try:
        results = stations.examine(wait=2.0, prometheus=elsewhere.url)
    finally:
        elsewhere.close()
    assert results["Prometheus"].answer == "no"
    assert "targets/otel-bridge.yml" in results["Prometheus"].todo


def test_grafana_without_its_boards_or_blind_is_found_out(stations: Stations) -> None:
    stations.missing.append("gpt-slo")
    results = stations.examine(wait=1.0)
    stations.missing.clear()
    assert results["Grafana"].answer == "no" and "gpt-slo" in results["Grafana"].text
    for source in ("prometheus", "tempo"):
        stations.blind.append(source)
        results = stations.examine(wait=2.0)
        stations.blind.clear()
        assert results["Grafana"].answer == "no" and source in results["Grafana"].text


def test_a_bridge_without_an_endpoint_has_no_traces_to_look_for(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge().start()
    places = Places(api=bridge.url, metrics=bridge.metrics_url, traces=NOWHERE)
    results = {result.station: result for result in Doctor(places, GPT, 2.0).examine(lambda result: None)}
    assert results["trazas"].answer == "no configurado"
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in results["trazas"].text


@pytest.mark.parametrize(
    ("document", "spans"),
    [
        ({"batches": [{"scopeSpans": [{"spans": [{}, {}]}]}]}, 2),
        ({"trace": {"resourceSpans": [{"scopeSpans": [{"spans": [{}]}, {"spans": [{}]}]}]}}, 2),
        ({"data": [{"spans": [{}, {}]}]}, 2),
        ({"data": []}, 0),
        ({}, 0),
        (None, 0),
    ],
    ids=["Tempo", "Tempo v2", "Jaeger", "Jaeger, none", "empty", "no JSON"],
)
def test_a_trace_is_read_in_the_shape_of_its_store(document: Any, spans: int) -> None:
    assert _spans(document) == spans


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_takes_places_from_flags_and_environment_and_exits_with_0(stations: Stations) -> None:
    bridge = stations.bridge
    bridge.environ |= {
        "TEMPO_URL": stations.tempo.url, "GRAFANA_URL": f"{stations.grafana.url}/", "GRAFANA_PASSWORD": PASSWORD,
    }  # fmt: skip
    done = bridge.run(
        "doctor", "--url", bridge.api, "--metrics-url", bridge.metrics_url, "--prometheus", stations.prometheus.url,
        "--json",
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert {name: station["answer"] for name, station in said["stations"].items()} == ALL_YES
    assert said["good"] is True
    assert stations.receiver.find(trace_id=said["trace_id"])
    assert done.returncode == 0


def test_the_command_exits_with_1_where_a_station_says_no(stations: Stations) -> None:
    bridge = stations.bridge
    arguments = ["--metrics-url", bridge.metrics_url, "--prometheus", NOWHERE, "--wait", "1"]
    done = bridge.run("doctor", "--url", bridge.url, *arguments)
    assert done.returncode == 1
    assert "✘ Prometheus" in done.stdout and "→" in done.stdout
