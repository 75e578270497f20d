"""`otel-bridge ready` and `otel-bridge metrics`: what /readyz and /metrics say, where there is no curl."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from otel_bridge.commands.asking import _lines
from tests.harness.bridge import Bridge
from tests.harness.stand_in import UNEXPECTED, StandIn
from tests.harness.waiting import wait_for

Make = Callable[..., Bridge]


def here(bridge: Bridge) -> Bridge:
    """Its port where its commands find it: as in a container, in the environment."""
    bridge.environ |= {"OTEL_BRIDGE_PORT": str(bridge.port), "OTEL_BRIDGE_METRICS_PORT": str(bridge.metrics_port)}
    return bridge


def test_ready_says_what_readyz_says_and_its_exit_code_is_the_answer(make_bridge: Make) -> None:
    bridge = here(make_bridge()).start()
    done = bridge.run("ready")
    assert done.returncode == 0
    assert done.stdout.startswith(f"listo ({bridge.url}/readyz respondió 200)\n")
    assert "  exportación    sin destino configurado; los registros esperan en el diario\n" in done.stdout
    assert "  configuración  vigente\n" in done.stdout
    parts = bridge.http.get(f"{bridge.url}/readyz", timeout=5).json()
    assert json.loads(bridge.run("ready", "--json").stdout).keys() == parts.keys()
    shown = [line for line in done.stdout.splitlines()[1:] if not line.startswith("  ✘")]
    assert len(shown) == len(parts.keys() - {"estado", "problemas"}), "every part is shown"

    bridge.stop()
    done = bridge.run("ready")
    assert done.returncode == 1 and done.stdout == ""
    assert f"{bridge.url}/readyz no responde" in done.stderr


def test_ready_shows_pushed_metrics_and_what_it_does_not_know(
    make_bridge: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    bridge = here(make_bridge(OTEL_METRICS_EXPORTER="otlp", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")).start()
    assert re.search(r"^  métricas       \S", bridge.run("ready").stdout, re.M)
    newer = {"estado": "listo", "diario": "bien", "cola_nueva": {"estado": "llena"}, "problemas": []}
    assert [*_lines(newer)] == ["  diario         bien", "  cola nueva     llena"]


def test_ready_names_what_is_wrong(make_bridge: Make) -> None:
    bridge = here(make_bridge(OTEL_BRIDGE_JOURNAL_MAX_SIZE="1024")).start(wait=False)
    done = wait_for(lambda: d if (d := bridge.run("ready")).stdout else None, "an answer")
    assert done.returncode == 1
    assert "no listo" in done.stdout and "  ✘ disco: el diario alcanzó journal_max_size\n" in done.stdout


def test_a_configuration_that_went_bad_is_no_reason_not_to_answer(make_bridge: Make) -> None:
    bridge = here(make_bridge()).start()
    bridge.config.write_text(bridge.config.read_text("utf-8") + "\n[gpts.otro]\nslo_target = 7\n", encoding="utf-8")
    words = "el archivo tiene un error y sigue vigente la anterior"
    wait_for(lambda: words in bridge.run("ready").stdout, "what is wrong with the file")
    assert bridge.run("metrics", "otel_bridge_ledger_gap").stdout == "otel_bridge_ledger_gap 0.0\n"


def test_metrics_shows_the_lines_that_are_looked_for_with_their_values(make_bridge: Make) -> None:
    bridge = here(make_bridge()).start()
    assert bridge.event(bridge.session(), error="saturado").status_code == 201
    done = bridge.run("metrics", "duration_seconds_count.*saturado")
    assert done.returncode == 0
    assert done.stdout.startswith("gen_ai_client_operation_duration_seconds_count{")
    assert done.stdout.endswith(" 1.0\n"), "not the 0 that a new label set has on a scraper's first page"
    everything = bridge.run("metrics").stdout.splitlines()
    assert len(everything) > 100 and not any(line.startswith("#") for line in everything)
    none = bridge.run("metrics", "no_such_thing")
    assert (none.returncode, none.stdout) == (1, "") and "«no_such_thing»" in none.stderr


@pytest.mark.parametrize("command", ["ready", "metrics"])
@pytest.mark.parametrize("said", UNEXPECTED)
def test_another_program_at_that_address_is_told_and_no_traceback(make_bridge: Make, command: str, said: str) -> None:
    other = StandIn(lambda path, headers: (500, UNEXPECTED[said]))
    try:
        done = make_bridge().run(command, "--url", other.url)
    finally:
        other.close()
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stdout.startswith(f"{other.url}/") and "respondió 500" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["metrics", "("], "REGEX: se encontró '(', se esperaba una expresión regular"),
        (["ready", "--url", "10.0.0.1:8000"], "se esperaba http://… o https://…"),
        (["metrics", "--url", "ftp://u:secreto@x"], "se esperaba http://… o https://…"),
    ],
)
def test_wrong_usage_is_refused(make_bridge: Make, arguments: list[str], named: str) -> None:
    done = make_bridge().run(*arguments)
    assert done.returncode == 2 and named in done.stderr and "secreto" not in done.stderr
