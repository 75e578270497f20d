"""What clients/python measures beside answers and tools: blocks, functions, coroutines, generators; and what is said of
an answer or a session afterwards."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import requests
from mcp import Client
from mcp.server.mcpserver import MCPServer

from tests.clients.scripted import Reply, Request, Scripted, taken
from tests.harness.bridge import ROOT, Bridge
from tests.harness.waiting import wait_for

sys.path.insert(0, str(ROOT / "clients" / "python"))

from otel_bridge_client import BridgeClient, current, instrument, medir, medir_respuesta

MakeServer = Callable[..., Scripted]


def willing(request: Request) -> Reply:
    """`taken`, which knows ratings and ends, too."""
    return taken(request) if request.path in ("/api/sessions", "/api/events") else Reply(201, {"id": "x"})


@pytest.fixture
def server(make_server: MakeServer) -> Scripted:
    return make_server(willing)


@pytest.fixture
def client(server: Scripted) -> Iterator[BridgeClient]:
    with BridgeClient(server.api, "devops-expert", flush_interval=0.01) as made:
        yield made


def events(client: BridgeClient, server: Scripted) -> list[dict[str, Any]]:
    assert client.flush(10)
    return [event for request in server.requests if request.path == "/api/events" for event in request.body]


def sessions(server: Scripted) -> list[dict[str, Any]]:
    return [request.body for request in server.requests if request.path == "/api/sessions"]


# --- medir ------------------------------------------------------------------------------------------------------------


def test_a_block_is_an_event_with_all_that_was_filled_in(client: BridgeClient, server: Scripted) -> None:
    session = client.create_session("ana")
    with medir(client, "consulta", session=session, content="¿Qué?", version="v1@a b") as m:
        m.first_token()
        with m.tool("buscar documentos"):
            time.sleep(0.01)
        with pytest.raises(KeyError), m.tool("x"):
            raise KeyError
        m.tokens(25, 150, 20, 64)
        m.model = "gpt-x"
    (event,) = events(client, server)
    tools = event.pop("herramientas")
    assert [(tool["nombre"], tool.get("error")) for tool in tools] == [("buscar_documentos", None), ("x", "KeyError")]
    assert 10 <= tools[0]["ms"] <= event["latency_ms"] and 0 <= event["ttft_ms"] <= event["latency_ms"]
    assert {name: event[name] for name in event if name not in ("timestamp", "latency_ms", "ttft_ms")} == {
        "id": m.event_id,
        "sesion_id": session,
        "tipo": "consulta",
        "contenido": "¿Qué?",
        "tokens_entrada": 25,
        "tokens_salida": 150,
        "tokens_cache": 20,
        "tokens_razonamiento": 64,
        "modelo": "gpt-x",
        "version": "v1@a_b",
    }


def test_functions_coroutines_and_generators_are_measured_and_unchanged(client: BridgeClient, server: Scripted) -> None:
    def content(of: int) -> str:
        return f"de {of}"

    @medir(client, "function", content=content)
    def function(of: int) -> int:
        """Doubles."""
        time.sleep(0.02)
        return 2 * of

    @medir(client, "coroutine", content=content)
    async def coroutine(of: int) -> int:
        await asyncio.sleep(0.02)
        return 2 * of

    @medir(client, "generator", content=content)
    def generator(of: int) -> Iterator[Any]:
        got = yield of
        try:
            yield got
        except KeyError:
            yield "caught"
        return "end"

    @medir(client, "agenerator", content=content)
    async def agenerator(of: int) -> AsyncIterator[int]:
        for number in range(of):
            await asyncio.sleep(0.01)
            yield number

    async def numbers() -> list[int]:
        return [number async for number in agenerator(3)]

    assert (function(4), function.__name__, function.__doc__) == (8, "function", "Doubles.")
    assert asyncio.run(coroutine(5)) == 10
    running: Any = generator(6)
    assert next(running) == 6 and running.send("sent") == "sent" and running.throw(KeyError()) == "caught"
    with pytest.raises(StopIteration) as stop:
        next(running)
    assert stop.value.value == "end"
    assert asyncio.run(numbers()) == [0, 1, 2]
    found = events(client, server)
    assert [(event["tipo"], event["contenido"]) for event in found] == [
        ("function", "de 4"),
        ("coroutine", "de 5"),
        ("generator", "de 6"),
        ("agenerator", "de 3"),
    ]
    assert min(found[i]["latency_ms"] for i in (0, 1, 3)) >= 20
    assert not [event for event in found if "error" in event]


def test_an_exception_goes_on_and_leaving_early_is_none(client: BridgeClient, server: Scripted) -> None:
    @medir(client, "generator")
    def generator() -> Iterator[int]:
        yield 1
        raise LookupError("mine")

    @medir(client, "coroutine")
    async def coroutine() -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        list(generator())
    with pytest.raises(LookupError, match="mine"):
        asyncio.run(coroutine())
    with pytest.raises(SystemExit), medir(client, "block"):
        raise SystemExit
    left = generator()
    next(left)
    left.close()  # type: ignore[attr-defined]
    never = generator()
    del never
    found = [(event["tipo"], event.get("error")) for event in events(client, server)]
    assert found == [
        ("generator", "LookupError"),
        ("coroutine", "LookupError"),
        ("block", "SystemExit"),
        ("generator", None),
    ]


def test_what_runs_inside_finds_the_measurement_and_its_session_and_the_consumer_does_not(
    client: BridgeClient, server: Scripted
) -> None:
    session = client.create_session("ana")

    @medir(client, "inner")
    def stream() -> Iterator[str]:
        found = current()
        assert found is not None
        yield found.event_id

    assert current() is None
    with medir(client, "outer", session=session) as outer:
        for event_id in stream():
            assert current() is outer and event_id != outer.event_id
        asyncio.run(asyncio.sleep(0))
    assert current() is None
    assert {event["sesion_id"] for event in events(client, server)} == {session}


def test_tasks_that_share_one_measurement_end_each_its_own(client: BridgeClient, server: Scripted) -> None:
    shared = medir(client, "consulta", content=lambda: "", session=client.create_session("ana"))

    async def work(number: int) -> str:
        async with shared as m:
            m.content = str(number)
            await asyncio.sleep(0.05 * (3 - number))
            return m.event_id

    async def main() -> list[str]:
        return await asyncio.gather(*map(work, range(3)))

    ids = asyncio.run(main())
    found = events(client, server)
    assert [(event["id"], event["contenido"]) for event in found] == [(ids[n], str(n)) for n in (2, 1, 0)]
    assert 50 <= found[0]["latency_ms"] < found[1]["latency_ms"] < found[2]["latency_ms"]


def test_without_a_session_there_is_one_for_each_user_and_each_conversation(
    client: BridgeClient, server: Scripted, make_server: MakeServer
) -> None:
    ids = [client.session_for("ana"), client.session_for("ana"), client.session_for("luis"), client.session_for()]
    assert ids[0] == ids[1] and len(set(ids)) == 3
    talk = client.session_for("ana", "c-1")
    assert talk == client.session_for("ana", "c-1") != client.session_for("ana", "c-2")
    other = BridgeClient(make_server(willing).api, "devops-expert")
    assert other.session_for("ana", "c-1") == talk and other.session_for("ana") != ids[0]
    assert BridgeClient(None, "otro-gpt").session_for("ana", "c-1") != talk
    other.close()
    client.end_session(ids[0])
    assert client.session_for("ana") != ids[0]
    assert client.flush(10)
    assert [body["usuario_id"] for body in sessions(server)] == ["ana", "luis", "anonimo", "ana", "ana", "ana"]


def test_a_conversation_that_another_process_opened_is_there(make_server: MakeServer) -> None:
    def behave(request: Request) -> Reply:
        problem = {"type": "urn:otel-bridge:id-en-conflicto", "title": "Id en conflicto", "status": 409}
        return Reply(409, problem) if request.path == "/api/sessions" else willing(request)

    server = make_server(behave)
    with BridgeClient(server.api, "devops-expert") as client:
        client.log_event(client.session_for("ana", "c-1"), "consulta", "", 1)
        assert client.flush(10)
        assert client.stats()["dropped"] == {} and client.stats()["sent"] == 2
        client.log_event(client.create_session("ana"), "consulta", "", 1)
        assert client.flush(10)
        assert client.stats()["dropped"] == {"refused": 1, "session_refused": 1}


def test_a_session_that_the_bridge_has_no_more_is_opened_anew(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after its retention, or with another journal."""
    problem = {"type": "urn:otel-bridge:sesion-no-encontrada", "title": "Sesión no encontrada", "status": 404}
    gone = True

    def behave(request: Request) -> Reply:
        if not gone or not request.path.endswith("/events"):
            return willing(request)
        results = [{"indice": i, "estado": 404, "error": problem} for i in range(len(request.body))]
        return Reply(207, {"aceptados": 0, "rechazados": len(results), "resultados": results})

    monkeypatch.setattr("otel_bridge_client.sessions.ASK_AGAIN_SECONDS", -1.0)
    server, owner = make_server(behave), threading.Event()
    with BridgeClient(server.api, "devops-expert", flush_interval=0.01) as client:
        for expected in (3, 6, 6):
            for session in (client.session_for("ana", "c-1"), client.session_for("ana"), client.session_of(owner)):
                client.log_event(session, "consulta", "", 1)
            assert client.flush(10)
            assert len(sessions(server)) == expected
            gone = False
        assert client.stats()["dropped"] == {"refused": 3}
    assert [body["id"] for body in sessions(server)[:3]] == [body["id"] for body in sessions(server)[3:]]


def test_options_that_fail_or_are_asynchronous_cost_their_value_only(client: BridgeClient, server: Scripted) -> None:
    async def later(of: int) -> str:
        return "tarde"

    @medir(client, "consulta", content=later, user=lambda: "wrong arguments", version=lambda of: 1 / 0)
    def function(of: int) -> int:
        return of

    assert function(3) == 3
    (event,) = events(client, server)
    assert event["contenido"] == "" and "version" not in event


def test_a_tool_finds_its_measurement_whatever_an_option_gave(client: BridgeClient, server: Scripted) -> None:
    class Odd:
        def __str__(self) -> str:
            raise ValueError

    app = instrument(MCPServer("devops"), client, event_type=lambda call: Odd())  # type: ignore[arg-type, return-value]

    @app.tool()
    def revisar() -> str:
        measure = current()
        assert measure is not None
        measure.tokens(1, 2)
        return "bien"

    async def call() -> Any:
        async with Client(app) as caller:
            return await caller.call_tool("revisar", {})

    assert not asyncio.run(call()).is_error
    (event,) = events(client, server)
    assert (event["tipo"], event["tokens_salida"]) == ("revisar", 2)


def test_a_server_that_is_none_is_returned_and_said() -> None:
    client = BridgeClient("http://127.0.0.1:9/api", "devops-expert")
    thing = object()
    assert instrument(thing, client) is thing
    assert "instrument: object is no server" in str(client.stats()["last_error"])


def test_a_list_or_a_text_is_no_stream_and_no_usage(client: BridgeClient, server: Scripted) -> None:
    refused = requests.Response()
    refused.status_code = 500
    for answer in (["a"], "text", refused, None, {"usage": {"input_tokens": -1, "output_tokens": "5"}}):
        assert medir_respuesta(client, "consulta")(lambda answer=answer: answer)() is answer  # type: ignore[misc]
    assert events(client, server) == [] and client.stats()["dropped"] == {"no_usage": 5}


# --- feedback and ends ------------------------------------------------------------------------------------------------


def test_a_rating_follows_its_event_and_an_end_its_session(client: BridgeClient, server: Scripted) -> None:
    session = client.create_session("ana")
    with client.question(session, "consulta", "¿Qué?") as q:
        client.rate(q.event_id, 1, "muy bien \0")
    client.end_session(session)
    assert client.log_event(session, "consulta", "otra", 5)
    client.rate(q.event_id, -0.5)
    assert client.flush(10)
    posts = [(request.path, request.body) for request in server.requests]
    assert [path for path, _ in posts] == [
        "/api/sessions",
        "/api/events",
        f"/api/events/{q.event_id}/valoracion",
        f"/api/events/{q.event_id}/valoracion",
        f"/api/sessions/{session}/fin",
    ]
    assert posts[2][1] == {"valor": 1.0, "comentario": "muy bien \ufffd"} and posts[3][1] == {"valor": -0.5}
    assert client.stats()["sent"] == 6


def test_a_rating_waits_for_its_event_and_is_sent_again(make_server: MakeServer) -> None:
    fails = {"/api/events": 1, "valoracion": 1, "fin": 1}

    def behave(request: Request) -> Reply | None:
        for name in fails:
            if request.path.endswith(name) and fails[name]:
                fails[name] -= 1
                return Reply(503, {})
        return willing(request)

    server = make_server(behave)
    with BridgeClient(server.api, "devops-expert", flush_interval=0.01) as client:
        session = client.create_session("ana")
        event = client.log_event(session, "consulta", "", 1)
        client.rate(event, 1)
        client.end_session(session)
        assert client.flush(20)
        assert client.stats()["sent"] == 4 and client.stats()["dropped"] == {}
    order = [path.rpartition("/")[2] for path in server.paths()]
    assert order == ["sessions", "events", "events", "valoracion", "valoracion", "fin", "fin"]


@pytest.mark.parametrize("value", [None, "mucho", True, float("nan"), float("inf"), [], 10**400])
def test_what_is_no_number_is_no_rating(client: BridgeClient, server: Scripted, value: Any) -> None:
    client.rate("0199c0de-0000-7000-8000-000000000001", value)
    assert client.flush(10)
    assert server.requests == [] and client.stats()["dropped"] == {"invalid": 1}


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ("otro/../evento?", "otro%2F..%2Fevento%3F"),
        ("no hay\r\nX-Otra: cosa", "no%20hay%0D%0AX-Otra%3A%20cosa"),
        ("año \ud800", "a%C3%B1o%20%3F"),
    ],
    ids=["slashes", "a line break", "no text"],
)
def test_an_id_that_is_none_stays_within_its_place_and_holds_nothing_up(
    make_server: MakeServer, event: str, path: str
) -> None:
    problem = {"type": "urn:otel-bridge:evento-no-encontrado", "title": "Evento no encontrado", "status": 404}
    server = make_server(lambda request: Reply(404, problem) if "%" in request.path else willing(request))
    with BridgeClient(server.api, "devops-expert", flush_interval=0.01) as client:
        client.rate(event, 1)
        client.end_session(event)
        client.log_event(client.create_session("ana"), "consulta", "", 1)
        assert client.flush(5)
        assert client.stats()["sent"] == 2 and client.stats()["dropped"] == {"refused": 2}
    about = [request.path for request in server.requests if "%" in request.path]
    assert about == [f"/api/events/{path}/valoracion", f"/api/sessions/{path}/fin"]
    assert all("x-otra" not in request.headers for request in server.requests)


@pytest.mark.parametrize("url", ["https://koomtai.com/a p i", "https://koomtai.com/año", "https://koomtai.com/\u00ad"])
def test_an_address_with_a_path_that_cannot_be_sent_is_none(url: str) -> None:
    client = BridgeClient(url, "devops-expert")
    client.log_event(client.create_session("ana"), "consulta", "", 1)
    assert client.flush(1) and client.stats()["dropped"] == {"disabled": 2}


def test_an_empty_page_is_no_answer_to_a_rating(make_server: MakeServer) -> None:
    def behave(request: Request) -> Reply:
        return Reply(200, b"<html>") if len(server.requests) < 2 else Reply(204, b"")

    server = make_server(behave)
    with BridgeClient(server.api, "devops-expert", flush_interval=0.01) as client:
        client.rate("0199c0de-0000-7000-8000-000000000001", 1)
        assert client.flush(10)
        assert client.stats()["sent"] == 1 and len(server.requests) == 2


# --- what went wrong --------------------------------------------------------------------------------------------------


def test_the_last_error_says_what_the_bridge_said(shared_bridge: Bridge) -> None:
    told: list[Any] = []
    with BridgeClient(
        shared_bridge.api, "otro-gpt", on_drop=lambda id, reason, problem: told.append((reason, problem))
    ) as client:
        client.log_event(client.create_session("ana"), "consulta", "", 1)
        assert client.flush(10)
        stats = client.stats()
        assert stats["last_error"] == "HTTP 404 GPT no encontrado: " + told[0][1]["detail"]
        assert stats["causes"] == {"HTTP 404 GPT no encontrado": 2}
        assert [reason for reason, _ in told] == ["refused", "session_refused"] and told[0][1] == told[1][1]
    with BridgeClient(shared_bridge.api, "devops-expert") as client:
        client.log_event(client.create_session("ana"), "consulta", "", -1)
        assert client.flush(10)
        assert client.stats()["last_error"] == "HTTP 422 Datos inválidos: Revisa: «latency_ms»."


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(401, {"type": "urn:otel-bridge:x", "title": "Falta la clave"}), "HTTP 401 Falta la clave"),
        (Reply(403, b"<html>la pregunta de ana</html>"), "HTTP 403 Forbidden"),
        (Reply(404, {"title": "la pregunta de ana"}), "HTTP 404 Not Found"),
    ],
)
def test_only_the_bridges_own_words_are_repeated(make_server: MakeServer, reply: Reply, words: str) -> None:
    with BridgeClient(make_server(lambda request: reply).api, "devops-expert") as client:
        client.create_session("ana")
        assert client.flush(10)
        assert client.stats()["last_error"] == words


def test_what_is_tried_again_says_why(make_server: MakeServer) -> None:
    full = {"type": "urn:otel-bridge:sin-espacio", "title": "Sin espacio", "status": 503}
    for behave, words in (
        (lambda request: Reply(503, full), "retry: HTTP 503 Sin espacio"),
        (lambda request: None, ""),
    ):
        client = BridgeClient(make_server(behave).api, "devops-expert")
        client.create_session("ana")
        said = wait_for(lambda client=client: client.stats()["last_error"], "a first attempt")  # type: ignore[misc]
        assert str(said).startswith(words or "retry: RemoteDisconnected")
        client.close(0)


def test_a_session_that_was_refused_may_be_opened_again(make_server: MakeServer) -> None:
    """As a configuration that is mended lets it."""
    mended = False

    def behave(request: Request) -> Reply:
        if not mended and request.path == "/api/sessions":
            return Reply(404, {"type": "urn:otel-bridge:gpt-no-encontrado", "title": "GPT no encontrado"})
        return willing(request)

    with BridgeClient(make_server(behave).api, "devops-expert") as client:
        session = client.create_session("ana")
        assert client.flush(10)
        mended = True
        client.create_session("ana", session_id=session)
        client.log_event(session, "consulta", "", 1)
        assert client.flush(10)
        assert client.stats()["sent"] == 2
