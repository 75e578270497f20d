"""`otel-bridge slo suggest` beside a bridge that serves."""

from __future__ import annotations

import tomllib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.harness.bridge import GUIDE_EVENT, Bridge
from tests.harness.waiting import wait_for


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """It has answered 2,000 times in nine days: nine of ten took 0.9 s, one 1.4 s; and once nobody measured."""
    bridge = Bridge(tmp_path_factory.mktemp("slo")).start()
    begin = datetime.now(UTC) - timedelta(days=9)
    session = bridge.session(timestamp_inicio=begin.isoformat())
    events = [
        {
            **GUIDE_EVENT, "sesion_id": session, "latency_ms": 1400 if n % 10 == 0 else 900, "ttft_ms": 200,
            "timestamp": (begin + timedelta(minutes=6 * n)).isoformat(),
        }
        for n in range(2000)
    ]  # fmt: skip
    answer = bridge.post("/events", events)
    assert answer.status_code == 201, answer.text
    yield bridge
    bridge.close()


def test_it_proposes_what_would_have_been_kept(bridge: Bridge) -> None:
    run = bridge.run("slo", "suggest")
    assert (run.returncode, run.stderr) == (0, "")
    assert "2.000 respuestas del " in run.stdout and "; 0 % con error" in run.stdout
    rows = {line.split(" s ")[0].strip(): line.split() for line in run.stdout.splitlines() if " s   " in line}
    assert rows["1,5"][2:6] == ["100", "%", "0", "%"] and "propuesto" in rows["1,5"]
    assert rows["1,25"][2:6] == ["90", "%", "1.000", "%"]
    assert "hoy" in rows["5"]
    assert "Uno más estricto, 1,25 s, habría gastado el 1.000 % del presupuesto" in run.stdout
    assert "Primer token" in run.stdout


def test_the_toml_can_be_pasted(bridge: Bridge) -> None:
    run = bridge.run("slo", "suggest", "devops-expert", "--toml")
    assert tomllib.loads(run.stdout) == {"latency_objective_seconds": 1.5, "slo_target": 0.99}
    file = bridge.folder / "pasted.toml"
    file.write_text(f'[gpts.devops-expert]\nname = "DevOps Expert"\n{run.stdout}', encoding="utf-8")
    assert bridge.run("check", "--config", str(file)).returncode == 0


def test_history_is_left_out_unless_it_is_asked_for(bridge: Bridge) -> None:
    """It goes to another GPT, whose id needs quotes in TOML."""
    bridge.config.write_text(bridge.config.read_text(encoding="utf-8") + '[gpts."con.punto"]\n', encoding="utf-8")
    wait_for(lambda: "con.punto" in bridge.output().rpartition("the configuration was read again")[2], "the new GPT")
    then = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    session = str(uuid.uuid4())
    marked = {"Otel-Bridge-Historial": "1"}
    told = {"id": session, "gpt_id": "con.punto", "usuario_id": "u", "timestamp_inicio": then}
    assert bridge.post("/sessions", told, headers=marked).status_code == 201
    events = [{**GUIDE_EVENT, "sesion_id": session, "id": str(uuid.uuid4()), "timestamp": then} for _ in range(200)]
    assert bridge.post("/events", events, headers=marked).status_code == 201
    left = bridge.run("slo", "suggest", "con.punto").stdout
    assert "200 respuestas son historia traída" in left and "nada que decir" in left
    counted = bridge.run("slo", "suggest", "con.punto", "--history").stdout
    assert "200 respuestas el " in counted and '[gpts."con.punto"]' in counted


def test_fewer_weeks_and_another_target_are_asked_for(bridge: Bridge) -> None:
    run = bridge.run("slo", "suggest", "--weeks", "1", "--target", "0.9")
    assert "aquí se juzga con 90 %" in run.stdout
    counted = int(run.stdout.split(" respuestas del")[0].split()[-1].replace(".", ""))
    assert 1500 < counted < 1530
    assert "Propuesto: 1 s" in run.stdout


def test_nothing_measured_is_nothing_to_say(bridge: Bridge) -> None:
    run = bridge.run("slo", "suggest", "--weeks", "0.0001")
    assert run.returncode == 0 and "nada que decir" in run.stdout
    assert bridge.run("slo", "suggest", "--weeks", "0.0001", "--toml").stdout.startswith("#")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no-existe"], "no-existe"),
        (["--weeks", "0"], "semanas"),
        (["--weeks", "nan"], "nan"),
        (["--target", "99"], "0.99"),
        (["--journal", "sqlite:///no-hay.db"], "no-hay.db"),
    ],
)
def test_what_cannot_be_asked_is_told(bridge: Bridge, arguments: list[str], told: str) -> None:
    run = bridge.run("slo", "suggest", *arguments)
    assert run.returncode == 2 and told in run.stderr and not run.stdout
