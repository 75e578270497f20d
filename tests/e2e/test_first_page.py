"""What a scraper sees first: zeros of what is configured, and of every label set that comes later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.harness.bridge import OPENMETRICS, Bridge

COUNT = "gen_ai_client_operation_duration_seconds_count"
PROMETHEUS = {**OPENMETRICS, "X-Prometheus-Scrape-Timeout-Seconds": "4", "User-Agent": "Prometheus/2.42.0"}


class Scrape:
    """A scraper that keeps its connection, as Prometheus does."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.http = requests.Session()

    def lines(self, start: str, *having: str) -> list[tuple[str, float]]:
        text = self.http.get(self.bridge.metrics_url, headers=PROMETHEUS, timeout=10).text
        found = [line.partition(" # ")[0] for line in text.splitlines() if line.startswith(start)]
        return [
            (line.rpartition(" ")[0], float(line.rpartition(" ")[2]))
            for line in found
            if all(each in line for each in having)
        ]

    def of_error(self, code: str) -> list[float]:
        """What its next page shows of an error code: nothing, or the one number."""
        return [value for _, value in self.lines(COUNT, f'error_type="{code}"')]


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    started = Bridge(tmp_path).start()
    yield started
    started.close()


def test_a_fresh_bridge_shows_every_series_at_zero(bridge: Bridge) -> None:
    scrape = Scrape(bridge)
    types = {"consulta", "configuracion", "troubleshooting", "pipeline", "infraestructura", "monitoreo", "seguridad"}
    counts = scrape.lines(COUNT)
    assert {name.partition('event_type="')[2].partition('"')[0] for name, _ in counts} == {*types, "otro"}
    for start, least in (
        (COUNT, 8),
        ("gen_ai_client_token_usage_sum", 16),
        ("gpt_sessions_total", 1),
        ("gpt_slo_events_total", 2),
        ("otel_bridge_redactions_total", 10),
        ("otel_bridge_request_duration_seconds_count", 30),
        ("otel_bridge_records_total", 40),
    ):
        found = scrape.lines(start)
        assert len(found) >= least, start
        rejected = [value for name, value in found if "/readyz" not in name]
        assert set(rejected) == {0.0}, start


def test_a_configured_type_shows_its_first_event_at_once(bridge: Bridge) -> None:
    bridge.event(bridge.session(), tipo="monitoreo")
    assert [value for _, value in Scrape(bridge).lines(COUNT, 'event_type="monitoreo"')] == [1.0]


def test_a_new_code_and_a_new_model_are_at_zero_once_for_each_of_two_prometheus(bridge: Bridge) -> None:
    one, two = Scrape(bridge), Scrape(bridge)
    assert one.of_error("timeout") == two.of_error("timeout") == []
    bridge.event(bridge.session(), error="timeout", modelo="gpt-nuevo")
    assert one.of_error("timeout") == [0.0]
    assert one.of_error("timeout") == [1.0]
    assert two.of_error("timeout") == [0.0]
    assert two.of_error("timeout") == [1.0]
    buckets = two.lines("gen_ai_client_operation_duration_seconds_bucket", 'gen_ai_request_model="gpt-nuevo"')
    assert max(value for _, value in buckets) == 1.0


def test_a_connection_a_page_is_one_scraper_too(bridge: Bridge) -> None:
    def page() -> list[float]:
        scrape = Scrape(bridge)
        seen = scrape.of_error("timeout")
        scrape.http.close()
        return seen

    page()
    bridge.event(bridge.session(), error="timeout")
    assert [page() for _ in range(4)] == [[0.0], [1.0], [1.0], [1.0]]


def test_a_prometheus_that_comes_late_starts_from_the_values(bridge: Bridge) -> None:
    bridge.event(bridge.session(), error="timeout")
    assert Scrape(bridge).of_error("timeout") == [1.0]


@pytest.mark.parametrize("pages", [0, 1, 2])
def test_a_kill_neither_skips_the_zero_nor_shows_it_after_a_value(bridge: Bridge, pages: int) -> None:
    scrape = Scrape(bridge)
    assert scrape.of_error("timeout") == []
    bridge.event(bridge.session(), error="timeout")
    seen = [scrape.of_error("timeout") for _ in range(pages)]
    bridge.kill()
    bridge.start()
    again = Scrape(bridge)
    seen += [again.of_error("timeout") for _ in range(3)]
    values = [value for page in seen for value in page]
    assert values == sorted(values), "it fell"
    assert values[0] == 0.0 and values[-1] == 1.0


def test_refusals_that_a_page_has_shown_do_not_fall_in_a_kill(bridge: Bridge) -> None:
    scrape = Scrape(bridge)
    refused = 'reason="urn:otel-bridge:gpt-no-encontrado"'
    for _ in range(7):
        assert (
            bridge.post(
                "/sessions", {"gpt_id": "nadie", "usuario_id": "u", "timestamp_inicio": "2026-01-01T00:00:00Z"}
            ).status_code
            == 404
        )
    bridge.http.get(f"{bridge.url}/healthz", timeout=10)  # a request is counted before the next is answered
    before = scrape.lines("otel_bridge_records_total", refused, 'kind="session"')
    answers = scrape.lines("otel_bridge_request_duration_seconds_count", 'route="/api/sessions"', 'status="404"')
    assert [value for _, value in before] == [value for _, value in answers] == [7.0]
    bridge.kill()
    bridge.start()
    again = Scrape(bridge)
    assert again.lines("otel_bridge_records_total", refused, 'kind="session"') == before
    assert again.lines("otel_bridge_request_duration_seconds_count", 'route="/api/sessions"', 'status="404"') == answers
