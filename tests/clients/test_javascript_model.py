"""`medirRespuesta` of the JavaScript client on the real `openai` package, before a stand-in for the model's HTTP API;
and `medir` on anything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.clients.conftest import Driver
from tests.clients.scripted import Scripted
from tests.harness.javascript import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # installing comes first

MakeServer = Callable[..., Scripted]
TEXT = "Empieza por un Dockerfile."
APIS = ["responses", "chat"]
KNOWN = {"modelo": "gpt-6.2-sol", "tokens_entrada": 25, "tokens_salida": 150, "tokens_cache": 20,
         "tokens_razonamiento": 64}  # fmt: skip


@pytest.fixture(scope="module")
def process(project: Project) -> Iterator[Driver]:
    started = Driver(["node", "model.mjs"], project.folder)
    yield started
    started.discard()


class Asked:
    """A measured client of the model; what it tells the bridge."""

    def __init__(self, model: Driver, bridge: Scripted) -> None:
        self._model = model
        self._bridge = bridge
        model.new(url=bridge.api)

    def __call__(self, **request: Any) -> Any:
        return self._model.ask(**request)

    def events(self) -> list[dict[str, Any]]:
        assert self._model.flush(seconds=10)
        return [one for request in self._bridge.requests if "/events" in request.path for one in request.body]

    def event(self) -> dict[str, Any]:
        (found,) = self.events()
        return found

    def advice(self) -> str:
        return str(self._model.stats()["lastError"])

    def drops(self) -> list[str]:
        found: list[str] = self._model.dropped()
        return found


@pytest.fixture
def ask(process: Driver, make_server: MakeServer) -> Asked:
    return Asked(process, make_server())


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("way", [None, "withResponse", "wait"])
def test_usage_and_model_are_read_off_an_answer(ask: Asked, api: str, way: str | None) -> None:
    answer = ask(api=api, way=way, wait=way == "wait")
    assert answer == (TEXT if way != "withResponse" else f"200 {'resp_1' if api == 'responses' else 'chat_1'}")
    event = ask.event()
    assert event.items() >= KNOWN.items()
    assert "ttft_ms" not in event and "error" not in event and event["contenido"] == ""


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("way", [None, "tee", "readable"])
def test_a_stream_says_its_usage_and_the_time_to_its_first_token(ask: Asked, api: str, way: str | None) -> None:
    found = ask(api=api, stream=True, include=True, first="120", pause="40", way=way)
    assert found == {None: TEXT, "tee": [TEXT, TEXT], "readable": True}[way]
    event = ask.event()
    assert event.items() >= KNOWN.items() and "error" not in event
    assert event["ttft_ms"] >= 115 and event["ttft_ms"] + 75 <= event["latency_ms"]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("way", [None, "final"])
def test_the_helper_streams_of_the_package_are_read_as_well(ask: Asked, api: str, way: str | None) -> None:
    found = ask(api=api, helper=True, stream=True, include=True, first="50", way=way)
    assert found == TEXT or found in ("ResponseStream", "ChatCompletionStream")
    event = ask.event()
    assert event.items() >= KNOWN.items() and event["ttft_ms"] >= 45


@pytest.mark.parametrize("api", APIS)
def test_a_refusal_and_a_failure_are_events_with_their_class(ask: Asked, api: str) -> None:
    assert ask(api=api, mode="limit") == "RateLimitError"
    assert ask(api=api, mode="limit", stream=True) == "RateLimitError"
    assert ask(api=api, mode="limit", helper=True, stream=True) == "RateLimitError"
    assert ask(api=api, mode="limit", way="asResponse") == "RateLimitError"
    assert [event["error"] for event in ask.events()] == ["RateLimitError"] * 4
    assert {(event["tokens_entrada"], event["tokens_salida"]) for event in ask.events()} == {(0, 0)}


def test_parts_that_are_more_than_their_whole_are_left_out(ask: Asked) -> None:
    """The bridge refuses such an event."""
    ask(api="chat", mode="beside")
    event = ask.event()
    assert (event["tokens_entrada"], event["tokens_salida"]) == (5, 15)
    assert "tokens_cache" not in event and "tokens_razonamiento" not in event


def test_a_response_that_says_that_it_failed_is_a_failed_event(ask: Asked) -> None:
    assert ask(api="responses", mode="failed") == ""
    assert ask.event()["error"] == "server_error"


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(("mode", "error"), [("broken", "TypeError"), ("error", "APIError")])
def test_a_stream_that_fails_midway_is_a_failed_event_and_its_error_the_callers(
    ask: Asked, api: str, mode: str, error: str
) -> None:
    assert ask(api=api, stream=True, include=True, mode=mode, counts=9, pause="50") == error
    event = ask.event()
    assert event["error"] == error and "ttft_ms" in event
    assert (event["tokens_entrada"], event["tokens_salida"]) == (9, len("Empieza por un "))


@pytest.mark.parametrize("api", APIS)
def test_what_says_no_usage_is_counted_by_the_builder_or_dropped_and_never_made_up(ask: Asked, api: str) -> None:
    cases: list[dict[str, Any]] = [
        {"stream": True, "mode": "no usage"},  # chat: nor was it asked for
        {"stream": True, "include": True, "leave": True},
        {"mode": "no usage"},
        {"way": "asResponse"},
    ]
    for case in cases:
        ask(api=api, **case)
    assert ask.events() == [] and ask.drops() == ["no_usage"] * 4
    assert ask.advice().endswith("(stream_options.include_usage) or give `count`")
    for case in cases[:3]:
        ask(api=api, counts=9, **case)
    events = ask.events()
    assert [event["tokens_entrada"] for event in events] == [9, 9, 9]
    assert [event["tokens_salida"] for event in events] == [len(TEXT), len("Empieza "), len(TEXT)]
    assert not [event for event in events if "error" in event]


def test_a_consumer_that_thinks_after_the_last_part_is_not_the_models_time(ask: Asked, process: Driver) -> None:
    took = process.consumer(api="chat", stream=True, include=True, think=100)
    latency = ask.event()["latency_ms"]
    assert 495 <= latency <= took - 95  # between six chunks, not behind the sixth


def test_answers_that_belong_together_are_added_up(ask: Asked, process: Driver) -> None:
    process.together()
    event = ask.event()
    assert (event["tokens_entrada"], event["tokens_salida"], event["tokens_cache"]) == (50, 300, 40)
    assert (event["modelo"], event["version"]) == ("gpt-6.2-sol", "v2")


def test_medir_measures_functions_what_they_yield_and_anything_between(ask: Asked, process: Driver) -> None:
    assert process.measures() == ["HOLA", "adiós", "secreto", 36, "ab", "sigue", "sigue", "sigue", "sigue"]
    plain, slow, fails, yields, handle, run, broken = ask.events()
    assert (plain["contenido"], plain["tokens_entrada"], plain["tokens_salida"], plain["version"]) == (
        "hola",
        4,
        1,
        "v1",
    )
    assert (slow["tipo"], slow["contenido"], slow["tokens_entrada"]) == ("monitoreo", "adiós", 5)
    assert slow["latency_ms"] >= 49
    assert fails["error"] == "TypeError"
    assert yields["ttft_ms"] >= 39 and yields["ttft_ms"] + 39 <= yields["latency_ms"]
    assert (handle["id"], handle["error"]) == ("0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f", "limite")
    (found, failed) = handle["herramientas"]
    assert found == {"nombre": "buscar_documentos", "ms": 5}
    assert (failed["nombre"], failed["error"]) == ("falla", "RangeError")
    assert (run["tokens_entrada"], run["tokens_salida"]) == (7, 8)
    assert (broken["contenido"], broken["tokens_entrada"]) == ("", 0)
