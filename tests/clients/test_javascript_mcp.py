"""`instrument` of the JavaScript client on servers of the official TypeScript SDK, of both generations."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Driver
from tests.clients.scripted import Scripted
from tests.harness.bridge import Bridge
from tests.harness.javascript import Project
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # installing comes first

SERVERS = [f"{sdk} {kind}" for sdk in ("sdk", "split") for kind in ("McpServer", "Server")]
NO_ERROR = "none"
AWAY_SECONDS = 60 if os.environ.get("CHAOS") == "long" else 0
"""How long the bridge stays away: only until the client has noticed, or as the promise has it."""

MakeServer = Callable[..., Scripted]


class Servers:
    """One process for each server: what is begun anew is the client of the bridge, by `new`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: dict[str, Driver] = {}

    def __call__(self, server: str) -> Driver:
        if server not in self._started:
            self._started[server] = Driver(["node", "tools.mjs", *server.split()], self._folder)
        return self._started[server]

    def close(self) -> None:
        for one in self._started.values():
            one.discard()


@pytest.fixture(scope="module")
def run(project: Project) -> Iterator[Servers]:
    servers = Servers(project.folder)
    yield servers
    servers.close()


@pytest.fixture(params=SERVERS)
def tools(request: pytest.FixtureRequest, run: Servers) -> Driver:
    return run(request.param)


@pytest.fixture
def is_low(tools: Driver) -> bool:
    return tools.process.args[-1] == "Server"  # type: ignore[index]


def sent(server: Scripted, path: str) -> list[dict[str, Any]]:
    bodies = [request.body for request in server.requests if request.path.endswith(path)]
    return [one for body in bodies for one in (body if isinstance(body, list) else [body])]


def test_a_call_is_an_event_with_the_tools_own_time_and_no_word_of_its_arguments(
    tools: Driver, make_server: MakeServer
) -> None:
    bridge = make_server()
    tools.new(url=bridge.api)
    times = (0, 0, 50, 100, 150)
    own = [float(tools.call(tool="lenta", args={"ms": ms})["result"]["content"][0]["text"]) for ms in times]
    assert tools.flush(seconds=10)
    events = sent(bridge, "/events")
    assert [event["tipo"] for event in events] == ["lenta"] * 5
    beyond = sorted(event["latency_ms"] - took for event, took in zip(events, own, strict=True))
    # The median: a busy machine takes the processor away for as long now and then.
    assert beyond[0] > -0.01 and beyond[2] < 50, beyond
    for event in events:
        assert (event["contenido"], event["tokens_entrada"], event["tokens_salida"]) == ("", 0, 0)
        assert "error" not in event and "ms" not in event
    (session,) = sent(bridge, "/sessions")  # the connection's
    assert session["usuario_id"] == "anonimo"
    assert {event["sesion_id"] for event in events} == {session["id"]}


def test_what_passes_through_is_the_same_as_without_it(tools: Driver, make_server: MakeServer) -> None:
    tools.new(url=make_server().api)
    calls: list[dict[str, Any]] = [
        {"tool": "dice_que_no"},
        {"tool": "falla"},
        {"tool": "avanza"},
        {"tool": "tardia"},
        {"tool": "ninguna"},
        {"tool": "lenta", "args": {"ms": "mucho"}},
        {"tool": "espera", "abort_after": 50},
    ]
    for call in calls:
        assert tools.call(**call) == tools.bare(**call), call
    assert tools.call(tool="avanza")["progress"] == [1, 2]
    wait_for(lambda: tools.seen()["aborted"] == 2, "both calls to hear of it")


def test_an_event_says_how_a_call_failed(tools: Driver, is_low: bool, make_server: MakeServer) -> None:
    bridge = make_server()
    tools.new(url=bridge.api)
    for tool in ("tardia", "dice_que_no", "falla", "ninguna"):
        tools.call(tool=tool)
    tools.call(tool="espera", abort_after=20)
    wait_for(lambda: tools.seen()["aborted"], "the aborted call")
    assert tools.flush(seconds=10)
    errors = [(event["tipo"], event.get("error", NO_ERROR)) for event in sent(bridge, "/events")]
    unknown = "TypeError" if is_low else "herramienta_desconocida"  # as the low-level server here says it
    assert errors == [
        ("tardia", NO_ERROR),
        ("dice_que_no", "error_herramienta"),
        ("falla", "LimitReached"),
        ("ninguna", unknown),
        ("espera", "AbortError"),
    ]
    assert not [request for request in bridge.requests if b"secreto" in request.raw]


def test_options_say_type_content_user_and_session(tools: Driver, make_server: MakeServer) -> None:
    bridge = make_server()
    functions = {
        "content": "(call, result) => `${call.name}: ${call.arguments.ms} ${result.content.length}`",
        "user": "(call) => call.meta.quien",
        "version": "() => 'prompt 7'",
        "model": "() => { throw new Error('the builder’s own fault') }",
    }
    tools.new(url=bridge.api, first=True, eventType={"lenta": "consulta"}, functions=functions)
    tools.call(tool="lenta", args={"ms": 1}, meta={"quien": "ana", "openai/session": "v1/uno"})
    tools.call(tool="tardia", meta={"quien": "ana", "openai/session": "v1/uno"})
    tools.call(tool="lenta", meta={"openai/session": "v1/dos", "openai/subject": "v1/beto"})
    assert tools.flush(seconds=10)
    events = sent(bridge, "/events")
    assert [(event["tipo"], event["contenido"]) for event in events] == [
        ("consulta", "lenta: 1 1"),
        ("tardia", "tardia: undefined 1"),
        ("consulta", "lenta: undefined 1"),
    ]
    assert {event["version"] for event in events} == {"prompt_7"}
    sessions = sent(bridge, "/sessions")
    assert [session["usuario_id"] for session in sessions] == ["ana", "openai-subject:v1/beto"]
    ids = [session["id"] for session in sessions]
    assert [event["sesion_id"] for event in events] == [ids[0], ids[0], ids[1]]


def test_a_conversation_has_one_session_in_every_process(run: Servers, bridge: Bridge) -> None:
    first, second = run("sdk McpServer"), run("split Server")
    for tools in (first, second):
        tools.new(url=bridge.api, eventType="consulta")
        for _ in range(3):
            tools.call(tool="lenta", meta={"openai/session": "v1/uno", "openai/subject": "v1/ana"})
        assert tools.flush(seconds=10)
        assert tools.stats()["dropped"] == {}
    assert bridge.metric("gpt_sessions_total") == 1
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count") == 6


def test_a_tool_adds_what_it_knows_of_its_own_call(tools: Driver, make_server: MakeServer) -> None:
    bridge = make_server()
    tools.new(url=bridge.api)
    tools.call(tool="anota")
    assert tools.flush(seconds=10)
    (event,) = sent(bridge, "/events")
    names = ("tokens_entrada", "tokens_salida", "tokens_cache", "tokens_razonamiento", "modelo")
    assert [event[name] for name in names] == [30, 12, 10, 4, "gpt-6.2-sol"]
    (tool,) = event["herramientas"]
    assert tool["nombre"] == "buscar" and 19 < tool["ms"] <= event["latency_ms"]
    assert tools.seen()["measured"] == [event["id"]]


@pytest.mark.parametrize(
    ("server", "stateful"), [("sdk McpServer", True), ("sdk McpServer", False), ("split McpServer", False)]
)
def test_over_http_an_mcp_session_is_a_session_and_without_one_a_user_is(
    run: Servers, make_server: MakeServer, server: str, stateful: bool
) -> None:
    bridge = make_server()
    tools = run(server)
    tools.new(url=bridge.api)
    tools.http(stateful=stateful, clients=3, calls=2)
    assert tools.flush(seconds=10)
    events, sessions = sent(bridge, "/events"), sent(bridge, "/sessions")
    assert len(events) == 6 and len(sessions) == (3 if stateful else 1)
    assert {event["sesion_id"] for event in events} == {session["id"] for session in sessions}


def test_what_is_no_server_is_returned_as_it_is(run: Servers, make_server: MakeServer) -> None:
    tools = run("sdk McpServer")
    tools.new(url=make_server().api)
    assert "no server of the official SDK" in tools.instrument_nonsense()


@pytest.mark.parametrize("tools", ["sdk McpServer", "split Server"], indirect=True)
def test_a_bridge_that_is_away_loses_and_doubles_nothing_and_holds_no_call_up(tools: Driver, bridge: Bridge) -> None:
    tools.new(url=bridge.api, eventType="consulta")
    tools.many(count=50, tool="lenta")
    wait_for(lambda: tools.stats()["sent"] > 0, "first delivery")
    bridge.kill()
    began = time.monotonic()
    tools.many(count=100, tool="lenta")
    assert time.monotonic() - began < 10  # a call that waited for the bridge would take longer, each of them
    wait_for(lambda: tools.stats()["retries"] > 0, "an attempt while it is away")
    while time.monotonic() - began < AWAY_SECONDS:
        tools.many(count=1, tool="lenta")
        time.sleep(1)
    bridge.start()
    tools.many(count=50, tool="lenta")
    wait_for(lambda: tools.flush(seconds=2), "an empty queue", 40)
    stats = tools.stats()
    assert stats["dropped"] == {}
    assert bridge.metric("gpt_sessions_total") == 1
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count") == stats["sent"] - 1 >= 200
