"""The JavaScript client on ratings, ends of sessions, sessions of conversations, and what it says of a refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from otel_bridge.access import keys
from tests.clients.conftest import LANGUAGES, Driver
from tests.clients.scripted import Reply, Request, Scripted, taken
from tests.harness.bridge import Bridge
from tests.harness.waiting import wait_for

MakeServer = Callable[..., Scripted]


@pytest.fixture
def client() -> Iterator[Driver]:
    started = Driver(LANGUAGES["javascript"])
    yield started
    started.discard()


def about(request: Request) -> bool:
    return request.path.endswith(("/valoracion", "/fin"))


def answers(request: Request) -> Reply:
    """A bridge that takes ratings and ends."""
    return Reply(201, {**request.body, "ok": True}) if about(request) else taken(request)


def test_a_rating_follows_its_event_and_an_end_its_session(client: Driver, make_server: MakeServer) -> None:
    server = make_server(answers)
    client.new(url=server.api)
    session = client.session()
    event = client.event(session=session)
    client.rate(event=event, valor=-1, comentario="No era eso.")
    client.rate(event=event, valor=0.5)  # without ids: whoever presses twice has rated once
    client.end_session(session=session)
    assert client.flush(seconds=10)
    assert server.paths() == [
        "/api/sessions",
        "/api/events",
        f"/api/events/{event}/valoracion",
        f"/api/events/{event}/valoracion",
        f"/api/sessions/{session}/fin",
    ]
    first, second, end = [request.body for request in server.requests[2:]]
    assert (first, second, end) == ({"valor": -1, "comentario": "No era eso."}, {"valor": 0.5}, {})
    assert client.stats()["sent"] == 5


def test_they_wait_for_what_they_speak_of_and_are_sent_again_as_they_were(
    client: Driver, make_server: MakeServer
) -> None:
    calls = 0

    def behave(request: Request) -> Reply | None:
        nonlocal calls
        calls += 1
        if calls in (2, 4, 6, 8):
            return [Reply(503, {}), None][calls // 2 % 2]
        if request.path.endswith("/events"):  # one of each batch is to come again
            results = [{"indice": i, "estado": 503 if i and calls < 4 else 201} for i in range(len(request.body))]
            return Reply(207, {"aceptados": 1, "rechazados": 1, "resultados": results})
        return answers(request)

    server = make_server(behave)
    client.new(url=server.api, flush_interval=0.01)
    session = client.session()
    events = [client.event(session=session) for _ in range(2)]
    for event in events:
        client.rate(event=event, valor=1)
    client.end_session(session=session)
    wait_for(lambda: client.flush(seconds=2), "an empty queue")
    settled: list[str] = []
    for request in server.requests:
        if about(request):
            assert settled.count("/events") >= 2, "sent before all of the events were taken"
        settled.append(request.path.removeprefix("/api"))
    assert settled[-1] == f"/sessions/{session}/fin"
    for event in events:
        bodies = {request.raw for request in server.requests if event in request.path}
        assert len(bodies) == 1
    stats = client.stats()
    assert (stats["sent"], stats["dropped"]) == (6, {})


@pytest.mark.parametrize("valor", [1.1, -2, "1", None, True])
def test_what_is_no_rating_is_not_sent(client: Driver, make_server: MakeServer, valor: object) -> None:
    server = make_server(answers)
    client.new(url=server.api)
    client.rate(event="0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f", valor=valor)
    client.rate(event="", valor=1)
    client.end_session(session="")
    assert [reason for _, reason, _ in client.dropped()] == ["invalid"] * 3
    assert client.flush(seconds=5) and server.requests == []


def test_a_rating_that_the_bridge_refuses_is_told_and_holds_nothing_up(client: Driver, make_server: MakeServer) -> None:
    problem = {"type": "urn:otel-bridge:evento-no-encontrado", "title": "Evento no encontrado", "status": 404}
    server = make_server(lambda request: Reply(404, problem) if about(request) else taken(request))
    client.new(url=server.api)
    session = client.session()
    client.rate(event="otro/../evento?", valor=1)
    client.events(session=session)
    assert client.flush(seconds=10)
    assert server.paths()[2] == "/api/events/otro%2F..%2Fevento%3F/valoracion"
    assert [drop[:2] for drop in client.dropped()] == [["otro/../evento?", "refused"]]
    assert client.stats()["last_error"] == "HTTP 404 Evento no encontrado"
    assert client.stats()["sent"] == 2


@pytest.mark.parametrize(("gpt", "cause"), [("otro", "HTTP 404 GPT no encontrado"), ("con-clave", "HTTP 401 ")])
def test_the_last_error_says_the_cause_also_of_the_events_behind_it(
    client: Driver, make_bridge: Callable[..., Bridge], gpt: str, cause: str
) -> None:
    config = f'[gpts.devops-expert]\n[gpts.con-clave]\napi_key_hashes = ["{keys.hash_of(b"otb_" + b"d" * 43)}"]\n'
    bridge = make_bridge(config)
    bridge.start()
    client.new(url=bridge.api, gpt=gpt)
    session = client.session()
    client.events(session=session, count=2)
    assert client.flush(seconds=10)
    client.events(session=session)
    assert client.stats()["dropped"] == {"refused": 1, "session_refused": 3}
    assert client.stats()["last_error"].startswith(cause)
    problems: list[Any] = [problem for _, _, problem in client.dropped()]
    assert len({problem["type"] for problem in problems}) == 1  # told with each of them
    assert f"session_refused: dropped event {client.dropped()[1][0]}: {cause}" in client.end()


def test_the_last_error_says_why_it_tries_again(client: Driver, make_server: MakeServer) -> None:
    problem = {"type": "urn:otel-bridge:no-disponible", "title": "No disponible", "status": 503}
    server = make_server(lambda request: Reply(503, problem))
    client.new(url=server.api, flush_interval=0.01)
    client.session()
    wait_for(lambda: client.stats()["retries"] > 0, "a first attempt")
    assert client.stats()["last_error"] == "retry: HTTP 503 No disponible"


def test_a_conversation_is_the_same_session_in_another_process_and_for_one_key_only(make_server: MakeServer) -> None:
    """A bridge that has it already says so with 409: that is no refusal."""
    server = make_server(lambda request: Reply(409, {}) if request.path.endswith("/sessions") else taken(request))
    found = []
    for key in ("otb_a", "otb_a", "otb_b"):
        client = Driver(LANGUAGES["javascript"])
        client.new(url=server.api, api_key=key)
        session = client.session_for(user="ana", conversation="v1/uno")
        assert client.session_for(user="ana", conversation="v1/uno") == session
        assert client.session_for(user="ana") == client.session_for(user="ana") != session
        client.events(session=session)
        assert client.flush(seconds=10)
        assert client.stats()["dropped"] == {"refused": 1}  # of the user's, which is this process's own
        found.append(session)
        client.end_session(session=session)
        client.discard()
    assert found[0] == found[1] != found[2]
