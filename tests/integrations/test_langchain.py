"""LangChain's real packages, a stand-in for the model's API, a real bridge: one event an answer, with what is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.model_api import FIRST_SECONDS, TOKENS_CACHED, TOKENS_IN, TOKENS_OUT, TOKENS_REASONING, ModelApi
from tests.harness.otlp import OtlpReceiver
from tests.harness.waiting import wait_for
from tests.integrations.conftest import HERE, Packages, Told, play

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # installing comes first

TOKENS = [TOKENS_IN, TOKENS_OUT]


@pytest.fixture(scope="module")
def told(packages: Packages, model: ModelApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    receiver = OtlpReceiver().start()
    yield from play(HERE / "langchain_scenarios.py", packages, model, receiver, tmp_path_factory.mktemp("langchain"))
    receiver.close()


def check(event: dict[str, Any], model: str = "gpt-6.2-sol", times: int = 1) -> None:
    assert event["tokens"] == [tokens * times for tokens in TOKENS]
    assert (event["tokens_cached"], event["tokens_reasoning"]) == (TOKENS_CACHED * times, TOKENS_REASONING * times)
    assert (event["model"], event["error"], event["type"], event["version"]) == (model, None, "pipeline", "v7")


@pytest.mark.parametrize("name", ["model", "chain", "stream", "events", "astream", "inner"])
def test_an_answer_is_one_event_with_what_the_model_told(told: Told, name: str) -> None:
    event = told.one(name)
    check(event)
    streams = name in ("stream", "events", "astream")
    assert (event["ttft_ms"] is not None) is streams
    if streams:
        assert FIRST_SECONDS * 1000 <= event["ttft_ms"] < event["latency"]
    assert event["content"] == ("hola" if name in ("model", "events", "inner") else "¿Qué es un canary?")


@pytest.mark.parametrize(("name", "count"), [("parallel", 5), ("batch", 3)])
def test_answers_side_by_side_are_told_apart(told: Told, name: str, count: int) -> None:
    assert len({event["id"] for event in told.events[name]}) == len(told.events[name]) == count
    for event in told.events[name]:
        check(event)


def test_branches_of_one_answer_are_added_up(told: Told) -> None:
    check(told.one("branches"), times=2)


def test_an_agent_is_one_event_a_model_and_its_tools_go_with_the_answer(told: Told) -> None:
    other, answer = told.events["agent"]
    check(other, "gpt-6.2-sol")
    check(answer, "gpt-6-luna")
    assert other["latency"] < answer["latency"] and other["tools"] == []
    searched, broken = answer["tools"]
    assert searched["name"] == "buscar" and 50 <= searched["ms"] < answer["latency"]
    assert (broken["name"], broken["error"]) == ("rota", "ValueError")


@pytest.mark.parametrize("name", ["no usage", "no usage in a stream", "broken off"])
def test_tokens_that_nobody_told_are_never_invented(told: Told, name: str) -> None:
    assert told.drops[name] == ["no_usage"] and name not in told.events


def test_tokens_may_be_counted_by_the_builder(told: Told) -> None:
    assert told.one("counted")["tokens"] == [len("SIN-USO"), len("Empieza por un Dockerfile.")]


def test_an_option_that_fails_costs_its_value_and_not_the_answer(told: Told) -> None:
    assert told.drops["options that fail"] == [
        "NOTE option: session: ZeroDivisionError",
        "NOTE option: count: ZeroDivisionError",
        "no_usage",
    ]


@pytest.mark.parametrize(
    ("name", "error", "tokens"),
    [
        ("refused", "OpenAIModelNotFoundError", [0, 0]),
        ("failed later", "ZeroDivisionError", TOKENS),
        ("cancelled", "CancelledError", [0, 0]),
    ],
)
def test_an_answer_that_failed_has_its_errors_class(told: Told, name: str, error: str, tokens: list[int]) -> None:
    event = told.one(name)
    assert (event["error"], event["tokens"]) == (error, tokens)


def test_a_run_without_a_model_is_no_answer_and_nothing_is_left_over(told: Told) -> None:
    assert not {"no model", "left over"} & {*told.events, *told.drops}


def test_answers_that_never_end_are_forgotten_in_the_end_and_counted(told: Told) -> None:
    assert told.drops["never ended"] == ["no_usage"]


def test_the_bridge_took_each_of_them_once_and_the_conversation_is_one_session(told: Told) -> None:
    sent = [event for events in told.events.values() for event in events]
    assert told.stats["dropped"] == {"no_usage": 5} and told.stats["pending"] == 0
    named = {event["session"] for event in sent if event["version"] == "v7" and event not in told.events["inner"]}
    assert len(named) == 1
    wait_for(lambda: len(told.receiver.find(name="pipeline")) >= len(sent), "the spans")
    spans = told.receiver.find(name="pipeline")
    assert len(spans) == len(sent)
    failed = sorted(span.attributes["error.type"] for span in spans if "error.type" in span.attributes)
    assert failed == ["CancelledError", "OpenAIModelNotFoundError", "ZeroDivisionError"]
    told_in = sum(span.attributes["gen_ai.usage.input_tokens"] for span in spans)
    assert told_in == sum(event["tokens"][0] for event in sent)
