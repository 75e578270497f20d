"""Three bridges over one PostgreSQL behind Caddy, as `make demo REPLICAS=3` starts them; the one that counts for all is
killed under load."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy.native.places import Bridge
from deploy.native.stack import Stack
from otel_bridge.commands.api import Api
from otel_bridge.commands.stations import Doctor, Places, StationResult
from otel_bridge.commands.traffic import Traffic, post_traffic
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

GPT = "devops-expert"
COUNTED = "gen_ai_client_operation_duration_seconds_count"


@dataclass
class Seen:
    """What was seen while it went on."""

    stack: Stack
    before: Bridge | None = None
    after: Bridge | None = None
    posted: int = 0
    sessions: int = 0
    values: dict[str, float] = field(default_factory=dict)
    """Query → its one value, once all that was posted is read."""
    courses: list[dict[str, Any]] = field(default_factory=list)
    """Every series of sessions, with all that was scraped of it."""
    down: list[dict[str, str]] = field(default_factory=list)
    """What Prometheus missed at the end."""
    doctor: dict[str, StationResult] = field(default_factory=dict)
    doctor_of_one: dict[str, StationResult] = field(default_factory=dict)
    data: Path = Path()
    left: list[str] = field(default_factory=list)
    """What still listened after the stop."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    # Ports of its own: while a replica is dead, nobody else's bridge may come to listen on its port.
    stack = Stack(
        tmp_path_factory.mktemp("stack") / "run", 60, optional=(), replicas=3, free=lambda wanted: free_port()
    )
    traffic = Traffic(Api(stack.public_url), GPT, rate=60, hour=10, seed=1)
    stop = threading.Event()
    posting = threading.Thread(target=post_traffic, args=(traffic, lambda text: None), kwargs={"stop": stop})
    seen = Seen(stack)
    try:
        stack.start()
        seen.data = (stack.folder / "postgres").resolve()
        posting.start()
        wait_for(lambda: stack.value(f"sum({COUNTED})") > 30, "events in Prometheus", 30)
        seen.before = wait_for(stack.steward, "a replica that counts for all", 20)
        stack.kill_bridge(seen.before)
        seen.after = wait_for(stack.steward, "another that does", 30)
        posted = traffic.tally.events
        wait_for(lambda: traffic.tally.events > posted + 30, "traffic that goes on", 30)
        stop.set()
        posting.join(40)
        seen.posted, seen.sessions = traffic.tally.events, traffic.tally.sessions
        wait_for(lambda: stack.value(f"sum({COUNTED})") >= seen.posted, "a scrape of the last event", 20)
        wait_for(lambda: _all_read(stack, seen), "pages of both that live, read in time", 30)
        pages = [bridge.metrics_url for bridge in stack.bridges]
        api = seen.after.url
        seen.doctor = _examined(Places(api, " ".join(pages), stack.prometheus_url), 15)
        seen.doctor_of_one = _examined(Places(api, _of_another(stack, seen)), 0.2)
        places = {name: port for name, port in vars(stack.ports).items() if isinstance(port, int)}
        places |= {bridge.name: bridge.port for bridge in stack.bridges}
        stack.stop()
        seen.left = [name for name, port in places.items() if _listens(port)]
        yield seen
    finally:
        stop.set()
        if posting.is_alive():
            posting.join(40)
        stack.stop()


def _all_read(stack: Stack, seen: Seen) -> bool:
    """What Prometheus has, of a moment at which only the killed one is missed: a busy machine's page may be late."""
    for query in (f"sum({COUNTED})", "otel_bridge_ledger_gap", "count(otel_bridge_ledger_gap)",
                  "sum(otel_bridge_steward)", "otel_bridge_pending_records",
                  'sum(otel_bridge_records_total{result="accepted"})'):  # fmt: skip
        seen.values[query] = stack.value(query)
    seen.courses = stack.query("gpt_sessions_total[10m]")
    seen.down = [series["metric"] for series in stack.query('up{job!~"prometheus|alertmanager"} == 0')]
    of_all = seen.values["sum(otel_bridge_steward)"] == 1 and seen.values[f"sum({COUNTED})"] >= seen.posted
    return of_all and len(seen.down) == 1


def _examined(places: Places, wait: float) -> dict[str, StationResult]:
    return {result.station: result for result in Doctor(places, GPT, wait).examine(lambda result: None)}


def _of_another(stack: Stack, seen: Seen) -> str:
    """The page of a replica that lives and counts for nobody."""
    return next(bridge.metrics_url for bridge in stack.bridges if bridge not in (seen.before, seen.after))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_what_was_acknowledged_is_counted_once_although_a_replica_was_killed(seen: Seen) -> None:
    assert seen.values[f"sum({COUNTED})"] == seen.posted > 60


def test_the_ledger_is_whole(seen: Seen) -> None:
    assert seen.values["otel_bridge_ledger_gap"] == 0 and seen.values["count(otel_bridge_ledger_gap)"] == 1
    accepted = seen.values['sum(otel_bridge_records_total{result="accepted"})']
    assert accepted == seen.values["otel_bridge_pending_records"] >= seen.posted + seen.sessions


def test_another_replica_counts_for_all(seen: Seen) -> None:
    assert seen.before is not None and seen.after is not None
    assert seen.before.name != seen.after.name
    assert seen.values["sum(otel_bridge_steward)"] == 1


def test_to_prometheus_their_counters_are_one_series_that_never_falls(seen: Seen) -> None:
    (course,) = seen.courses
    assert "instance" not in course["metric"]
    values = [float(value) for _, value in course["values"]]
    assert values == sorted(values) and values[-1] >= seen.sessions


def test_one_that_is_gone_is_missed_by_name(seen: Seen) -> None:
    assert seen.before is not None
    assert [series["instance"] for series in seen.down] == [seen.before.metrics_address]


def test_the_doctor_finds_the_page_that_counts_for_all(seen: Seen) -> None:
    answers = {station: result.answer for station, result in seen.doctor.items()}
    assert (answers["puente"], answers["/metrics"], answers["Prometheus"]) == ("sí", "sí", "sí"), seen.doctor
    alone = seen.doctor_of_one["/metrics"]
    assert alone.answer == "no" and "un --metrics-url por réplica" in alone.todo


def test_nothing_of_it_is_left(seen: Seen) -> None:
    assert seen.left == []
    assert not seen.data.exists()
