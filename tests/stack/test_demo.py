"""`otel-bridge demo` posts what the guide documents; `make demo` tells a whole incident and leaves nothing behind."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_bridge.catalog import DEFAULT_EVENT_TYPES
from otel_bridge.commands.api import Api, PostFailed
from otel_bridge.commands.traffic import Traffic
from tests.harness.bridge import Bridge
from tests.harness.demo import assert_told, native, ours
from tests.harness.ports import free_port
from tests.harness.stand_in import UNEXPECTED, StandIn
from tests.harness.waiting import wait_for

DURATION = "gen_ai_client_operation_duration_seconds"


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bridge, str]]:
    """A bridge after eight seconds of demo, the last of them slow; and what the demo said."""
    bridge = Bridge(tmp_path_factory.mktemp("bridge"), OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS="0.5").start()
    done = bridge.run(
        "demo", "--url", bridge.api, "--rate", "120", "--hour", "10", "--speed", "2", "--duration", "8",
        "--incident", "5", "--incident-for", "2", "--seed", "3",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    yield bridge, done.stdout
    bridge.close()


def test_it_posts_the_seven_types_of_several_users(busy: tuple[Bridge, str]) -> None:
    bridge, _ = busy
    for kind in DEFAULT_EVENT_TYPES:
        assert bridge.metric(f"{DURATION}_count", event_type=kind) > 0, kind
    assert bridge.metric(f"{DURATION}_count", event_type="otro") == 0
    wait_for(lambda: bridge.metric("gpt_active_users", window="30m") >= 6, "several active users", 10)


def test_what_it_says_is_what_the_bridge_counted(busy: tuple[Bridge, str]) -> None:
    bridge, said = busy
    last = re.search(r"fin: (\d+) sesiones · (\d+) eventos · .* · (\d+) con error", said)
    assert last, said
    sessions, events, errors = map(int, last.groups())
    assert bridge.metric("gpt_sessions_total") == sessions
    assert bridge.metric(f"{DURATION}_count") == events
    failed = sum(
        value
        for (name, labels), value in bridge.scrape().items()
        if name == f"{DURATION}_count" and dict(labels)["error_type"]
    )
    assert failed == errors > 0


@pytest.mark.parametrize("body", UNEXPECTED.values(), ids=UNEXPECTED)
def test_what_is_no_bridge_is_said_in_words(busy: tuple[Bridge, str], body: bytes) -> None:
    odd = StandIn(lambda path, headers: (201, body))
    try:
        done = busy[0].run("demo", "--url", odd.url, "--duration", "5")
    finally:
        odd.close()
    assert done.returncode == 1
    assert done.stderr.startswith("otel-bridge demo: ") and "respuesta inesperada" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_incident_is_told_and_is_slow(busy: tuple[Bridge, str]) -> None:
    bridge, said = busy
    assert said.index("INCIDENTE") < said.index("fin del incidente") < said.index("fin: ")
    good, bad = (bridge.metric("gpt_slo_events_total", result=result) for result in ("good", "bad"))
    assert 0.1 < bad / (good + bad) < 0.5


def test_some_of_it_is_private_and_is_redacted(busy: tuple[Bridge, str]) -> None:
    assert busy[0].metric("otel_bridge_redactions_total", kind="email") > 0


def test_the_day_has_a_rhythm() -> None:
    pauses = {}
    for hour in (3, 10):
        traffic = Traffic(Api("http://127.0.0.1:9"), "devops-expert", rate=10, hour=hour, seed=1)
        pauses[hour] = sum(traffic.pause() for _ in range(300)) / 300
    assert pauses[3] > 10 * pauses[10]


def test_it_ends_well_when_it_is_interrupted(busy: tuple[Bridge, str]) -> None:
    bridge, _ = busy
    running = subprocess.Popen(
        bridge.command("demo", "--url", bridge.url),
        cwd=bridge.folder,
        env=bridge.env(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    running.stdout.readline()
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=10)
    assert running.returncode == 0
    assert "fin: " in said


def test_a_gpt_that_is_not_registered_is_said_at_once(busy: tuple[Bridge, str]) -> None:
    bridge, _ = busy
    done = bridge.run("demo", "--url", bridge.url, "--gpt", "nadie")
    assert done.returncode == 1
    assert "GPT no encontrado" in done.stderr


def test_a_bridge_that_is_not_there_is_said_with_what_to_do() -> None:
    with pytest.raises(PostFailed, match="otel-bridge serve"):
        Api(f"http://127.0.0.1:{free_port()}", patience_seconds=0.3).post("/sessions", {})


def test_a_restart_of_the_bridge_loses_none_of_it(make_bridge: object) -> None:
    assert callable(make_bridge)
    bridge: Bridge = make_bridge().start()
    running = subprocess.Popen(
        bridge.command("demo", "--url", bridge.url, "--rate", "50", "--hour", "10", "--duration", "4"),
        cwd=bridge.folder, env=bridge.env(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: bridge.metric(f"{DURATION}_count") > 5, "some traffic", 10)
    bridge.kill()
    bridge.start()
    said, _ = running.communicate(timeout=30)
    last = re.search(r"fin: (\d+) sesiones · (\d+) eventos", said)
    assert running.returncode == 0 and last, said
    # A post whose answer the kill cut off was repeated: events carry their own time, and are counted once.
    assert bridge.metric(f"{DURATION}_count") == int(last[2])


# --- make demo --------------------------------------------------------------------------------------------------------


def test_make_demo_tells_an_incident_from_traffic_to_resolve(tmp_path: Path) -> None:
    running = native(tmp_path, "--factor", "40", "--rate", "25")
    try:
        said, _ = running.communicate(timeout=150)
    finally:
        running.kill()
    assert running.returncode == 0, said
    story = (
        "ventanas y esperas 40 veces más cortas",
        "tráfico documentado hacia",
        "INCIDENTE",
        "Prometheus: GPTLatencyBudgetBurn 1h DISPARADA",
        "Alertmanager → guardia: GPTLatencyBudgetBurn 1h DISPARADA",
        "FIN DEL INCIDENTE",
        "Prometheus: GPTLatencyBudgetBurn 1h RESUELTA",
        "Alertmanager → guardia: GPTLatencyBudgetBurn 1h RESUELTA",
        "el libro cuadra",
        "todo parado",
    )
    assert_told(story, said)
    assert ours(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_make_demo_leaves_no_process_behind_however_it_ends(tmp_path: Path, number: signal.Signals) -> None:
    running = native(tmp_path)
    assert running.stdout is not None
    for line in running.stdout:
        if "tráfico documentado" in line:
            break
    assert len(ours(tmp_path)) >= 4
    begun = time.monotonic()
    running.send_signal(number)
    rest = running.stdout.read() if number == signal.SIGINT else ""
    running.wait(30)
    assert time.monotonic() - begun < 30
    if number == signal.SIGINT:
        assert running.returncode == 130
        assert "todo parado" in rest
    running.stdout.close()
    wait_for(lambda: ours(tmp_path) == [], "end of every program", 20)
