"""`instrument` on real servers of both lines of the official MCP SDK, called by its client, with a real bridge."""

from __future__ import annotations

import functools
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.sdk.conftest import Program, Road
from tests.harness.waiting import wait_for

LONG = os.environ.get("CHAOS") == "long"
SECRET = "hunter2"

BOTH = {
    "fast": {"kind": "fast"},
    "low": {"kind": "low"},
    "told": {"kind": "low", "arguments": True, "types": {"lenta": "consulta"}, "user": "ana"},
    "broken": {"kind": "low", "broken": True},
    "http": {"kind": "fast", "over": "http", "stateless": False, "mode": "legacy"},
    "stateless": {"kind": "fast", "over": "http", "stateless": True, "mode": "legacy"},
}
CASES: dict[str, dict[str, Any]] = {
    "1": {**BOTH, "late": {"kind": "low", "before": False}},
    "2": {
        **BOTH,
        "modern": {"kind": "fast", "mode": "auto"},
        "modern-http": {"kind": "fast", "over": "http", "stateless": False, "mode": "auto"},
    },
}


class Told:
    """What one line's servers did, and what arrived of it."""

    def __init__(self, said: dict[str, Any], errors: str, road: Road) -> None:
        self.said = said
        self.errors = errors
        self.road = road
        self._by_case = road.by("version")

    def events(self, case: str) -> list[dict[str, Any]]:
        return self._by_case[case]

    def errors_of(self, case: str) -> list[tuple[str, str | None]]:
        return [(event["tipo"], event.get("error")) for event in self.events(case)]


@pytest.fixture(scope="module")
def tell(
    run: Callable[..., Program], make_road: Callable[..., Road], request: pytest.FixtureRequest
) -> Callable[[str], Told]:
    """Each line's servers run once."""

    @functools.cache
    def tell(line: str) -> Told:
        before = request.getfixturevalue("mcp_1") if line == "1" else ""
        road = make_road()
        program = run("mcp_driver.py", road.api, json.dumps(CASES[line]), before=before)
        return Told(program.said(), program.errors, road)

    return tell


@pytest.fixture(params=CASES)
def told(request: pytest.FixtureRequest, tell: Callable[[str], Told]) -> Told:
    return tell(request.param)


def cases(*names: str) -> Any:
    """Those of them that a line has, of both lines."""
    found = [(line, name) for line in CASES for name in names if name in CASES[line]]
    return pytest.mark.parametrize(("told", "case"), found, indirect=["told"])


COMMON = [
    ("lenta", None),
    ("falla", "LookupError"),
    ("avisa", "error_herramienta"),
    ("nadie", "herramienta_desconocida"),
    ("lenta", None),
    ("lenta", None),
]
END = [("eterna", "CancelledError"), ("lenta", None)]


@cases("low", "late", "broken")
def test_each_call_of_a_low_level_server_is_an_event_with_its_error(told: Told, case: str) -> None:
    assert told.errors_of(case) == COMMON + END


@cases("fast", "modern")
def test_each_call_of_fastmcp_or_mcpserver_is_an_event_with_its_error(told: Told, case: str) -> None:
    mine = [("sincrona", None), ("sincrona", "ValidationError"), ("progresa", None)]
    common = [(name, "ToolError" if name == "avisa" else error) for name, error in COMMON]
    assert told.errors_of(case) == common + mine + END


@cases("fast", "low", "late", "modern")
def test_what_the_client_of_the_server_gets_is_unchanged(told: Told, case: str) -> None:
    said = told.said[case]["said"]
    assert not said["lenta"]["error"] and said["lenta"]["text"] == told.events(case)[0]["id"]
    assert said["falla"].get("raised") == "MCPError" or said["falla"]["error"]
    assert said["avisa"]["error"]
    assert "Unknown tool: nadie" in said["nadie"]["text"]
    assert 90 < said["cancelada"] < 5000
    if "pasos" in said:
        assert said["pasos"] == [[0.0, 3.0], [1.0, 3.0], [2.0, 3.0]]
        assert said["sincrona"] == {"error": False, "text": "hecho"}
        assert said["mal"]["error"]


@cases("fast", "low", "modern")
def test_the_latency_is_the_tools_own_within_50_ms(told: Told, case: str) -> None:
    tools = [ms for name, ms in told.said[case]["took"] if name == "lenta"]
    events = [event["latency_ms"] for event in told.events(case) if event["tipo"] == "lenta"]
    differences = [event - tool for event, tool in zip(events, tools, strict=True)]
    assert tools[0] > 119 and min(differences) >= 0
    assert statistics.median(differences) < 50  # a shared machine may hold up one of them


@cases("fast", "low")
def test_conversation_and_user_are_those_of_meta_else_the_mcp_session(told: Told, case: str) -> None:
    sessions = told.road.sessions()
    events = told.events(case)
    of = [sessions[event["sesion_id"]] for event in events]
    chatgpt = of[4]
    assert of[5] is chatgpt and chatgpt["usuario_id"] == "openai-subject:sujeto-1"
    mcp = of[:4] + of[6:-1]
    assert all(session is of[0] for session in mcp) and of[0]["usuario_id"] == "anonimo"
    assert of[-1] not in (of[0], chatgpt)  # a second connection


@cases("http", "stateless", "modern-http")
def test_over_http_an_mcp_session_is_a_session_and_without_one_a_user_has_one(told: Told, case: str) -> None:
    found = [event["sesion_id"] for event in told.events(case)]
    assert len(found) == 4
    assert [found.index(session) for session in found] == ([0, 0, 2, 2] if case == "http" else [0, 0, 0, 0])


@cases("fast", "low", "http")
def test_nothing_of_the_arguments_or_of_an_exception_is_sent_unless_asked_for(told: Told, case: str) -> None:
    assert {event["contenido"] for event in told.events(case)} == {""}
    assert SECRET not in json.dumps([event for event in told.road.events() if event.get("version") != "told"])


def test_a_builder_chooses_type_user_and_content(told: Told) -> None:
    events = told.events("told")
    assert [event["tipo"] for event in events].count("consulta") == 4 and "falla" in {e["tipo"] for e in events}
    assert SECRET in events[0]["contenido"]
    assert told.road.sessions()[events[0]["sesion_id"]]["usuario_id"] == "ana"


def test_options_that_fail_cost_their_values_and_are_told_once(told: Told) -> None:
    assert told.said["broken"]["stats"]["last_error"] == "option: content: ZeroDivisionError"
    assert told.errors.count("otel-bridge: option: ") == 1


def test_a_server_that_is_instrumented_twice_counts_once_and_says_so(told: Told) -> None:
    assert "is instrumented already" in told.errors


def test_everything_is_journaled_once(told: Told) -> None:
    bridge, events = told.road.bridge, told.road.events()
    assert all(one["stats"]["dropped"] == {} and one["stats"]["pending"] == 0 for one in told.said.values())
    assert len({event["id"] for event in events}) == len(events) == sum(len(e) for e in map(told.events, told.said))
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count") == len(events)
    latencies = bridge.metric("gen_ai_client_operation_duration_seconds_sum")
    assert latencies == pytest.approx(sum(event["latency_ms"] for event in events) / 1000, rel=0.01)
    # The conversation of ChatGPT was opened by several clients: the same session each time.
    assert bridge.metric("gpt_sessions_total") == len(told.road.sessions())


@pytest.mark.timeout(600)
def test_a_bridge_that_is_away_meanwhile_loses_and_doubles_no_call(
    run: Callable[..., Program], make_road: Callable[..., Road], tmp_path: Path
) -> None:
    road, enough = make_road(), tmp_path / "enough"
    case = {"kind": "fast", "over": "burst", "until": str(enough), "close": 60}
    program = run("mcp_driver.py", road.api, json.dumps({"away": case}))
    wait_for(lambda: len(road.events()) > 5, "first events")
    road.bridge.kill()
    posts = len(road.proxy.requests)
    wait_for(lambda: len(road.proxy.requests) > posts + 2, "attempts while it is away")
    if LONG:
        time.sleep(60)
    road.bridge.start()
    wait_for(lambda: road.bridge.metric("gen_ai_client_operation_duration_seconds_count") > 20, "events again", 90)
    enough.touch()
    (away,) = program.said().values()
    called = [call["text"] for call in away["said"]]
    assert not any(call["error"] for call in away["said"])
    assert max(ms for _, ms in away["took"]) < 5000  # no call waits for the bridge
    assert away["stats"]["retries"] > 0 and away["stats"]["dropped"] == {}
    assert {event["id"] for event in road.events()} == set(called)
    assert road.bridge.metric("gen_ai_client_operation_duration_seconds_count") == len(called)
    assert road.bridge.metric("gpt_sessions_total") == 1
