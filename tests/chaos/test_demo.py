"""`make demo REPLICAS=3`, whole. Its short form is tests/stack/test_replicas.py."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from deploy.native.postgres import remove_left_over
from tests.chaos.conftest import long_form
from tests.harness.demo import assert_told, native, ours
from tests.harness.waiting import wait_for

pytestmark = long_form


def test_the_incident_is_told_although_the_replica_that_counts_is_killed_in_it(tmp_path: Path) -> None:
    running = native(tmp_path, "--replicas", "3", "--factor", "40", "--rate", "25")
    try:
        said, _ = running.communicate(timeout=200)
    finally:
        running.kill()
    assert running.returncode == 0, said
    story = (
        "3 otel-bridge sobre un PostgreSQL",
        "Alertmanager → guardia: GPTLatencyBudgetBurn 1h DISPARADA",
        "kill -9 a otel-bridge-",
        "s cuenta por todas otel-bridge-",
        "vuelve a estar en marcha",
        "Alertmanager → guardia: GPTLatencyBudgetBurn 1h RESUELTA",
        "nada se perdió ni se contó dos veces",
        "el libro cuadra",
        "todo parado",
    )
    assert_told(story, said)
    assert ours(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_it_leaves_no_process_behind_however_it_ends(tmp_path: Path, number: signal.Signals) -> None:
    running = native(tmp_path, "--replicas", "2")
    assert running.stdout is not None
    for line in running.stdout:
        if "tráfico documentado" in line:
            break
    data = (tmp_path / "demo" / "postgres").resolve()
    try:
        assert (
            ours(data) and len(ours(tmp_path)) >= 7
        )  # itself, PostgreSQL, two bridges, Caddy, Prometheus, Alertmanager
    finally:
        running.send_signal(number)
    rest = running.stdout.read() if number == signal.SIGINT else ""
    running.wait(30)
    running.stdout.close()
    assert number == signal.SIGKILL or "todo parado" in rest
    wait_for(lambda: ours(tmp_path) == ours(data) == [], "end of every program", 30)
    assert data.exists() == (number == signal.SIGKILL), "after kill -9 the next demo in that folder removes it"
    remove_left_over(tmp_path / "demo")
    assert not data.exists()
