"""What both clients promise, over one suite: nothing lost, nothing doubled, nobody disturbed."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from itertools import pairwise

import msgspec
import pytest

from otel_bridge import errors
from otel_bridge.errors import Problem
from tests.clients.conftest import Counts, Driver
from tests.clients.scripted import Reply, Request, Scripted, losing_answers, taken
from tests.harness.bridge import Bridge
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

EVENTS = "gen_ai_client_operation_duration_seconds_count"
SESSIONS = "gpt_sessions_total"
NOBODY = "http://127.0.0.1:9/api"
"""The discard port: nothing listens there."""

MakeServer = Callable[..., Scripted]


def counted(bridge: Bridge) -> tuple[float, float]:
    """Sessions and events, as /metrics counts them."""
    return bridge.metric(SESSIONS), bridge.metric(EVENTS)


def state_of(bridge: Bridge, session: str) -> dict[str, object]:
    found: dict[str, object] = bridge.http.get(f"{bridge.api}/sessions/{session}", timeout=10).json()
    return found


# --- delivery against a real bridge ---------------------------------------------------------------------------


def test_sessions_and_events_arrive_and_are_counted_once(client: Driver, shared_bridge: Bridge, counts: Counts) -> None:
    client.new(url=shared_bridge.api)
    session = client.session()
    client.events(session=session, count=500, model="gpt-6-luna")
    assert client.flush(seconds=20)
    assert counts.records() == (1, 500)
    state = state_of(shared_bridge, session)
    assert (state["eventos"], state["tokens_entrada"], state["tokens_salida"]) == (500, 12_500, 75_000)
    stats = client.stats()
    assert (stats["sent"], stats["pending"], stats["dropped"]) == (501, 0, {})


def test_a_bridge_that_is_killed_and_comes_back_loses_and_doubles_nothing(client: Driver, bridge: Bridge) -> None:
    client.new(url=bridge.api, flush_interval=0.02, batch_size=20, timeout=5)
    sessions = []
    for _ in range(2):
        for _ in range(5):
            sessions.append(client.session())
            client.events(session=sessions[-1], count=30)
        wait_for(lambda: client.stats()["sent"] > 0, "first delivery")
        bridge.kill()  # while it works on the rest
        sessions.append(client.session())
        client.events(session=sessions[-1], count=30)
        client.events(session=sessions[0], count=10)
        wait_for(lambda: client.stats()["retries"] > 0, "an attempt while it is away")
        bridge.start()
    wait_for(lambda: client.flush(seconds=2), "an empty queue", 40)
    assert counted(bridge) == (12, 12 * 30 + 20)
    assert state_of(bridge, sessions[0])["eventos"] == 50
    assert {state_of(bridge, session)["eventos"] for session in sessions[1:]} == {30}
    assert client.dropped() == []


def test_an_answer_that_is_lost_doubles_nothing(
    client: Driver, shared_bridge: Bridge, counts: Counts, make_server: MakeServer
) -> None:
    proxy = make_server(losing_answers(shared_bridge.port, lambda number: number % 2 == 1))
    client.new(url=proxy.api, flush_interval=0.02, batch_size=50)
    session = client.session()
    client.events(session=session, count=100)
    wait_for(lambda: client.flush(seconds=2), "an empty queue")
    assert counts.records() == (1, 100)
    assert counts.metric("otel_bridge_records_total", result="duplicate") > 0


def test_a_bridge_that_is_away_at_first_gets_the_session_before_its_events(
    client: Driver, make_bridge: Callable[..., Bridge]
) -> None:
    bridge = make_bridge()
    client.new(url=bridge.api, flush_interval=0.05)
    session = client.session()
    client.events(session=session, count=50)
    wait_for(lambda: client.stats()["retries"] > 0, "a first attempt")
    assert client.stats()["pending"] == 51
    bridge.start()
    wait_for(lambda: client.flush(seconds=2), "an empty queue")
    assert state_of(bridge, session)["eventos"] == 50
    assert client.dropped() == []


def test_a_limit_of_the_bridge_delays_and_loses_nothing(client: Driver, make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge(OTEL_BRIDGE_RATE_LIMIT="50/second").start()
    client.new(url=bridge.api, flush_interval=0.02, batch_size=100)
    session = client.session()
    client.events(session=session, count=80)  # more at once than a second allows, and a batch that never fits
    wait_for(lambda: client.flush(seconds=5), "an empty queue", 40)
    assert counted(bridge) == (1, 80)
    assert client.stats()["retries"] > 0
    assert bridge.metric("otel_bridge_records_total", result="rejected", reason="urn:otel-bridge:limite-excedido") > 0


def test_a_key_opens_a_gpt_that_requires_one(client: Driver, make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge()
    made = bridge.run("keys", "new", "devops-expert", "--write")
    key = next(word for word in made.stdout.split() if word.startswith("otb_"))
    bridge.start()
    assert (
        bridge.post(
            "/sessions", {"gpt_id": "devops-expert", "usuario_id": "u", "timestamp_inicio": "2025-06-29T20:00Z"}
        ).status_code
        == 401
    )
    client.new(url=bridge.api, api_key=key)
    client.events(session=client.session(), count=3)
    assert client.flush(seconds=10)
    assert counted(bridge) == (1, 3)


def test_compressed_bodies_arrive(client: Driver, shared_bridge: Bridge, counts: Counts) -> None:
    client.new(url=shared_bridge.api, gzip=True)
    client.events(session=client.session(), count=100)
    assert client.flush(seconds=10)
    assert counts.records() == (1, 100)


def test_a_question_is_measured_and_its_failure_goes_on_to_the_caller(
    client: Driver, shared_bridge: Bridge, counts: Counts
) -> None:
    client.new(url=shared_bridge.api)
    session = client.session()
    assert client.question(session=session, seconds=0.2) is None
    assert client.question(session=session, seconds=0.01, fail=True) == "of the caller"
    assert client.flush(seconds=10)
    state = state_of(shared_bridge, session)
    assert (state["eventos"], state["eventos_con_error"], state["tokens_salida"]) == (2, 1, 300)
    assert counts.metric(EVENTS, error_type="TimeoutError") == 1
    assert 0.2 <= counts.metric("gen_ai_client_operation_duration_seconds_sum") < 5


def test_tokens_from_the_cache_are_sent_where_they_are_told(client: Driver, make_server: MakeServer) -> None:
    server = make_server()
    client.new(url=server.api)
    session = client.session()
    client.events(session=session)
    client.events(session=session, tokens_cached=0)
    client.events(session=session, tokens_cached=20)
    client.question(session=session, seconds=0)
    client.question(session=session, seconds=0, tokens=[25, 150, 10])
    client.events(session=session, tokens_cached="veinte")
    assert client.flush(seconds=10)
    sent = [event for request in server.requests if request.path.endswith("/events") for event in request.body]
    assert [event.get("tokens_cache", "nothing") for event in sent] == ["nothing", 0, 20, "nothing", 10]
    assert [reason for _, reason, _ in client.dropped()] == ["invalid"]


# --- refusals -------------------------------------------------------------------------------------------------


def test_a_refused_event_is_reported_and_not_sent_again_and_the_others_are_taken(
    client: Driver, shared_bridge: Bridge, counts: Counts
) -> None:
    client.new(url=shared_bridge.api)
    session = client.session()
    client.events(session=session, count=5)
    client.events(session=session, latency=-1)
    client.events(session=session, count=5)
    client.events(session="00000000-0000-4000-8000-000000000000")
    assert client.flush(seconds=10)
    drops = client.dropped()
    assert [(reason, problem["type"]) for _, reason, problem in drops] == [
        ("refused", "urn:otel-bridge:datos-invalidos"),
        ("refused", "urn:otel-bridge:sesion-no-encontrada"),
    ]
    assert drops[0][2]["errors"][0]["campo"] == "latency_ms"
    assert counts.records() == (1, 10)
    assert counts.metric("otel_bridge_records_total", result="rejected") == 2


def test_events_of_a_refused_session_are_reported_and_not_sent(
    client: Driver, shared_bridge: Bridge, counts: Counts
) -> None:
    client.new(url=shared_bridge.api, gpt="otro-gpt")
    session = client.session()
    client.events(session=session, count=3)
    assert client.flush(seconds=10)
    client.events(session=session)
    assert [reason for _, reason, _ in client.dropped()] == ["refused"] + 4 * ["session_refused"]
    assert client.dropped()[0][2]["type"] == "urn:otel-bridge:gpt-no-encontrado"
    assert counts.metric("otel_bridge_records_total", result="rejected", kind="event") == 0


def test_a_record_that_spoils_its_batch_is_found_and_dropped_alone(client: Driver, make_server: MakeServer) -> None:
    def behave(request: Request) -> Reply:
        if request.path.endswith("/events") and any(event["contenido"] == "poison" for event in request.body):
            return Reply(422, {"type": "urn:otel-bridge:datos-invalidos", "status": 422})
        return taken(request)

    server = make_server(behave)
    client.new(url=server.api)
    session = client.session()
    client.events(session=session, count=20)
    client.events(session=session, content="poison")
    client.events(session=session, count=20)
    assert client.flush(seconds=10)
    assert client.stats()["sent"] == 41
    assert client.stats()["dropped"] == {"refused": 1}


# --- waiting --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_waited_for(client: Driver, make_server: MakeServer, status: int, form: str) -> None:
    until = 0.0

    def behave(request: Request) -> Reply:
        nonlocal until
        if not until:
            # A date has whole seconds: the next but one is at least one second away.
            until = request.at + (1 if form == "seconds" else 2 - time.time() % 1)
            words = "1" if form == "seconds" else formatdate(int(time.time()) + 2, usegmt=True)
            return Reply(status, {}, {"Retry-After": words})
        return taken(request)

    server = make_server(behave)
    client.new(url=server.api, flush_interval=0.01)
    client.session()
    assert client.flush(seconds=10)
    assert len(server.requests) == 2
    assert server.requests[1].at >= until - 0.01


def test_what_may_have_been_taken_is_sent_again_as_it_was(client: Driver, make_server: MakeServer) -> None:
    """So it is recognised, if it was."""
    unknown = {kind: msgspec.to_builtins(Problem(errors.OUTCOME_UNKNOWN).document()) for kind in ("sessions", "events")}

    def behave(request: Request) -> Reply:
        problem = unknown.pop(request.path.rpartition("/")[2], None)
        return taken(request) if problem is None else Reply(503, problem, {"Retry-After": "1"})

    server = make_server(behave)
    client.new(url=server.api)
    session = client.session()
    client.events(session=session, count=3)
    wait_for(lambda: client.flush(seconds=2), "an empty queue")
    for kind, count in (("sessions", 1), ("events", 3)):
        posts = [request.raw for request in server.requests if request.path.endswith(kind)]
        assert len(posts) == 2 and posts[0] == posts[1] and posts[0].count(b'"id"') == count
    assert not unknown and client.stats()["sent"] == 4 and not client.stats()["dropped"]


def test_only_what_may_be_taken_later_is_sent_again(client: Driver, make_server: MakeServer) -> None:
    first = True

    def behave(request: Request) -> Reply:
        nonlocal first
        if request.path.endswith("/sessions") or not first:
            return taken(request)
        first = False
        statuses = [201, 429, 422, 503, 200]
        results = [{"indice": i, "estado": status} for i, status in enumerate(statuses)]
        return Reply(207, {"aceptados": 2, "rechazados": 3, "resultados": results})

    server = make_server(behave)
    client.new(url=server.api)
    session = client.session()
    client.events(session=session, count=5)
    wait_for(lambda: client.flush(seconds=2), "an empty queue")
    batches = [[event["id"] for event in request.body] for request in server.requests if "events" in request.path]
    assert batches[1] == [batches[0][1], batches[0][3]]
    assert client.stats()["sent"] == 5
    assert client.stats()["dropped"] == {"refused": 1}


def test_pauses_grow_while_the_bridge_is_away(client: Driver, make_server: MakeServer) -> None:
    server = make_server(lambda request: Reply(500, {}))
    client.new(url=server.api, flush_interval=0.01)
    client.session()
    wait_for(lambda: len(server.requests) >= 4, "four attempts")
    at = [request.at for request in server.requests]
    pauses = [later - earlier for earlier, later in pairwise(at)]
    assert pauses[0] >= 0.24 and pauses[1] >= 0.49 and pauses[2] >= 0.99


def test_what_is_not_the_bridges_answer_is_no_acknowledgement(client: Driver, make_server: MakeServer) -> None:
    def behave(request: Request) -> Reply:
        if len(server.requests) < 3:
            return Reply(200, b"<html>Welcome to the hotel's network</html>", {"Content-Type": "text/html"})
        return taken(request)

    server = make_server(behave)
    client.new(url=server.api, flush_interval=0.01)
    client.session()
    wait_for(lambda: client.stats()["sent"] == 1, "delivery")
    assert len(server.requests) == 3


def test_a_redirect_is_not_followed_with_the_key(client: Driver, make_server: MakeServer) -> None:
    elsewhere = make_server()
    server = make_server(lambda request: Reply(307, {}, {"Location": elsewhere.api + "/sessions"}))
    client.new(url=server.api, flush_interval=0.01, api_key="otb_secret")
    client.session()
    wait_for(lambda: len(server.requests) >= 2, "a second attempt")
    assert server.requests[0].headers["authorization"] == "Bearer otb_secret"
    assert elsewhere.requests == []
    assert client.stats()["pending"] == 1


# --- the caller is not disturbed ------------------------------------------------------------------------------


def test_a_full_queue_drops_newcomers_counts_them_and_delays_nobody(
    client: Driver, make_bridge: Callable[..., Bridge]
) -> None:
    bridge = make_bridge()
    client.new(url=bridge.api, max_queue=100, flush_interval=0.05)
    session = client.session()
    slow = client.events(session=session, count=2000)
    late = client.session()
    client.events(session=late)
    stats = client.stats()
    assert stats["pending"] == 100
    assert stats["dropped"] == {"queue_full": 1902, "session_refused": 1}
    assert len(client.dropped()) == 1903
    assert slow < 0.5  # calls that waited for the network would take longer, each of them
    bridge.start()
    wait_for(lambda: client.flush(seconds=2), "an empty queue")
    assert counted(bridge) == (1, 99)


def test_the_queue_is_bounded_in_bytes_too(client: Driver) -> None:
    client.new(url=NOBODY, max_queue_bytes=1_000_000)
    client.events(session=client.session(), count=100, content="x" * 60_000)
    assert 10 < client.stats()["pending"] < 20


@pytest.mark.parametrize("url", [NOBODY, None, "", "no es una URL", "ftp://example.org", "http://[", "http://h:x/"])
def test_nothing_is_ever_thrown(client: Driver, url: str | None) -> None:
    client.new(url=url, flush_interval=0.01, timeout=1, broken_callback=True)
    client.hostile()
    client.flush(seconds=0.05)
    client.close(seconds=0.05)
    client.hostile()
    errors = client.end()
    assert client.process.returncode == 0
    assert "Traceback" not in errors and "Unhandled" not in errors


def test_nonsense_is_dropped_or_refused_and_the_rest_is_taken(
    client: Driver, shared_bridge: Bridge, counts: Counts
) -> None:
    client.new(url=shared_bridge.api, broken_callback=True)
    client.hostile()
    session = client.session()
    client.events(session=session, content="mitad de un par: \ud83d, y un nulo: \0")
    assert client.flush(seconds=20)
    stats = client.stats()
    assert stats["pending"] == 0
    assert len(client.dropped()) == sum(stats["dropped"].values()) > 20
    assert state_of(shared_bridge, session)["eventos"] == 1


def test_logs_hold_no_content_no_user_and_no_key(client: Driver, shared_bridge: Bridge, counts: Counts) -> None:
    client.new(url=shared_bridge.api, api_key="otb_secret")
    session = client.session(user="ana@example.org")
    client.events(session=session, content="mi contraseña", latency=-1)
    client.flush(seconds=5)
    errors = client.end()
    assert "refused" in errors
    assert not [word for word in ("otb_secret", "ana@", "contraseña") if word in errors]


# --- the end --------------------------------------------------------------------------------------------------


def test_what_is_queued_when_the_process_ends_is_sent(client: Driver, shared_bridge: Bridge, counts: Counts) -> None:
    client.new(url=shared_bridge.api, flush_interval=60)
    session = client.session()
    client.events(session=session, count=150)
    client.end()
    assert client.process.returncode == 0
    assert counts.records() == (1, 150)


def test_a_bridge_that_is_away_holds_the_end_of_the_process_no_longer_than_told(client: Driver) -> None:
    client.new(url=f"http://127.0.0.1:{free_port()}/api", exit_timeout=0.5)
    client.events(session=client.session(), count=10)
    started = time.monotonic()
    errors = client.end()
    assert time.monotonic() - started < 5
    assert client.process.returncode == 0
    assert "exit: dropped" in errors


def test_a_bridge_that_never_answers_holds_the_end_no_longer_than_told(client: Driver, make_server: MakeServer) -> None:
    def behave(request: Request) -> None:
        time.sleep(8)

    client.new(url=make_server(behave).api, exit_timeout=0.5)
    client.session()
    started = time.monotonic()
    client.end()
    assert time.monotonic() - started < 6


def test_close_sends_the_rest_and_takes_nothing_more(client: Driver, shared_bridge: Bridge, counts: Counts) -> None:
    client.new(url=shared_bridge.api, flush_interval=60)
    session = client.session()
    client.events(session=session, count=10)
    assert client.close(seconds=10)
    client.events(session=session)
    assert client.stats()["dropped"] == {"closed": 1}
    assert counts.records() == (1, 10)
