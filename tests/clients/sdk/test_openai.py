"""`medir_respuesta` and `read` with the real `openai` package, against a stand-in for the model's HTTP API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.clients.sdk.conftest import Program, Road
from tests.clients.sdk.model_api import THINKS, ModelApi

SAID = {"tokens_entrada": 120, "tokens_salida": 80, "tokens_cache": 100, "tokens_razonamiento": 64}
TWICE = {name: 2 * count for name, count in SAID.items()}
NONE = {"tokens_entrada": 0, "tokens_salida": 0}
TEXT = "Empieza por un Dockerfile."

FIELDS: dict[str, dict[str, Any] | None] = {
    "response": {**SAID, "modelo": "gpt-x"},
    "response_slow": {**SAID, "modelo": "gpt-slow"},
    "response_silent": None,
    "response_counted": {"tokens_entrada": 7, "tokens_salida": 9, "modelo": "gpt-silent"},
    "response_failing": {**NONE, "modelo": "gpt-failing", "error": "server_error"},
    "response_busy": {**NONE, "error": "RateLimitError"},
    "response_unreachable": {**NONE, "error": "APIConnectionError"},
    "stream": {**SAID, "modelo": "gpt-slow"},
    "stream_is_held": {**SAID, "modelo": "gpt-x"},
    "stream_closed": None,
    "stream_closed_counted": {"tokens_entrada": 5, "tokens_salida": 8, "modelo": "gpt-x"},
    "stream_forgotten": {"tokens_entrada": 1, "tokens_salida": 1, "modelo": "gpt-x"},
    "stream_never_read": {"tokens_entrada": 1, "tokens_salida": 0},
    "stream_breaking": {**NONE, "modelo": "gpt-breaking", "error": "APIConnectionError"},
    "stream_failing": {**NONE, "modelo": "gpt-failing", "error": "server_error"},
    "helper": {**SAID, "modelo": "gpt-slow"},
    "helper_busy": {**NONE, "error": "RateLimitError"},
    "completion": {**SAID, "modelo": "gpt-x"},
    "completion_silent": None,
    "completion_stream": {**SAID, "modelo": "gpt-slow"},
    "completion_stream_is_held": {**SAID, "modelo": "gpt-x"},
    "completion_stream_silent": None,
    "completion_stream_breaking": {**NONE, "modelo": "gpt-breaking", "error": "APIConnectionError"},
    "completion_helper": {**SAID, "modelo": "gpt-x"},
    "raw": {**SAID, "modelo": "gpt-x"},
    "raw_stream": {**SAID, "modelo": "gpt-slow"},
    "block": {**TWICE, "modelo": "gpt-slow"},
    "block_not_consumed": None,
    "function_of_mine": {**SAID, "modelo": "gpt-x", "version": "prompt-7"},
    "async_response": {**SAID, "modelo": "gpt-x"},
    "async_stream": {**SAID, "modelo": "gpt-slow"},
    "async_stream_closed": {"tokens_entrada": 5, "tokens_salida": 8, "modelo": "gpt-x"},
    "async_helper": {**SAID, "modelo": "gpt-slow"},
    "async_completion_stream": {**SAID, "modelo": "gpt-x"},
    "async_cancelled": {**NONE, "error": "CancelledError"},
}
"""The event of each scenario; None where there is none, for nobody knows its tokens."""

GAVE: dict[str, Any] = {
    "response": ["Response", TEXT],
    "response_silent": TEXT,
    "response_counted": [TEXT, "gpt-silent"],
    "response_failing": "failed",
    "response_busy": 429,
    "response_unreachable": "APIConnectionError",
    "stream": [True, "response.completed"],
    "stream_is_held": 8,
    "stream_closed": "Empieza ",
    "stream_breaking": "APIConnectionError",
    "stream_failing": "response.failed",
    "helper": TEXT,
    "helper_busy": 429,
    "completion": TEXT,
    "completion_stream": 7,
    "completion_stream_silent": 6,
    "completion_stream_breaking": "APIConnectionError",
    "completion_helper": TEXT,
    "raw": TEXT,
    "raw_stream": "response.completed",
    "compatible": ["otro", 2],
    "function_of_mine": [TEXT, "ask", "Asks."],
    "async_response": TEXT,
    "async_stream": [True, "response.completed"],
    "async_stream_closed": "Empieza ",
    "async_helper": TEXT,
    "async_completion_stream": 7,
}
SLOW_STREAMS = ["stream", "helper", "completion_stream", "raw_stream", "async_stream", "async_helper"]
OTHERS = {"id", "sesion_id", "timestamp", "tipo", "contenido", "latency_ms", "ttft_ms"}


class Told:
    def __init__(self, said: dict[str, Any], errors: str, road: Road) -> None:
        self.said, self.stats, self.errors, self.road = said["said"], said["stats"], errors, road
        self._events = road.by("sesion_id")

    def events(self, scenario: str) -> list[dict[str, Any]]:
        return self._events[self.said[scenario]["session"]]


@pytest.fixture(scope="module")
def told(run: Callable[..., Program], make_road: Callable[..., Road]) -> Iterator[Told]:
    pytest.importorskip("openai")
    road, model_api = make_road(), ModelApi()
    program = run("openai_driver.py", road.api, model_api.url)
    yield Told(program.said(), program.errors, road)
    model_api.close()


@pytest.mark.parametrize("scenario", FIELDS)
def test_an_answer_is_an_event_with_what_it_says_of_itself(told: Told, scenario: str) -> None:
    wanted = FIELDS[scenario]
    found = [{name: value for name, value in event.items() if name not in OTHERS} for event in told.events(scenario)]
    assert found == ([] if wanted is None else [wanted])


@pytest.mark.parametrize("scenario", GAVE)
def test_the_caller_gets_what_the_package_gives(told: Told, scenario: str) -> None:
    assert told.said[scenario]["gave"] == GAVE[scenario]


@pytest.mark.parametrize("scenario", SLOW_STREAMS)
def test_the_time_to_the_first_token_is_that_of_the_first_piece_of_output(told: Told, scenario: str) -> None:
    (event,) = told.events(scenario)
    assert THINKS * 1000 <= event["ttft_ms"] <= event["latency_ms"] < 5000


def test_without_a_stream_nobody_knows_the_time_to_the_first_token(told: Told) -> None:
    (event,) = told.events("response_slow")
    assert "ttft_ms" not in event and event["latency_ms"] >= THINKS * 1000


@pytest.mark.parametrize("scenario", ["stream_is_held", "completion_stream_is_held"])
def test_a_consumer_that_thinks_is_not_the_models_time(told: Told, scenario: str) -> None:
    (event,) = told.events(scenario)
    assert event["latency_ms"] <= told.said[scenario]["took"] - 400


def test_what_another_package_returns_is_read_alike(told: Told) -> None:
    whole, stream = told.events("compatible")
    assert (whole["tokens_entrada"], whole["tokens_salida"], whole["modelo"]) == (3, 4, "otro")
    assert (stream["tokens_entrada"], stream["tokens_salida"]) == (3, 4) and "ttft_ms" in stream


def test_what_has_no_usage_is_counted_and_told_and_never_estimated(told: Told) -> None:
    silent = sum(fields is None for fields in FIELDS.values())
    assert told.stats["dropped"] == {"no_usage": silent}
    assert "include_usage" in told.errors


def test_content_and_event_id_are_sent_where_a_builder_says_so_and_else_not(told: Told) -> None:
    (event,) = told.events("function_of_mine")
    assert event["contenido"] == "¿Qué es un canary?" and event["id"] == "0199c0de-0000-7000-8000-000000000001"
    others = [told.events(name) for name in told.said if name != "function_of_mine"]
    assert {event["contenido"] for events in others for event in events} == {""}


def test_everything_is_journaled_once(told: Told) -> None:
    counted = told.road.bridge.metric("gen_ai_client_operation_duration_seconds_count")
    assert counted == len(told.road.events()) == len({event["id"] for event in told.road.events()})
    tokens = told.road.bridge.metric("gen_ai_client_token_usage_sum", gen_ai_token_type="output")
    assert tokens == sum(event["tokens_salida"] for event in told.road.events())
