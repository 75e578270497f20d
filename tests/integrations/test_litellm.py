"""LiteLLM's real package, a stand-in for the model's API, a real bridge: one event a call, with what the model told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.model_api import TOKENS_CACHED, TOKENS_IN, TOKENS_OUT, TOKENS_REASONING, ModelApi
from tests.harness.otlp import OtlpReceiver
from tests.harness.waiting import wait_for
from tests.integrations.conftest import HERE, Packages, Told, play

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # installing comes first

WITHOUT = (
    "no usage",
    "no usage asked for",
    "no usage told",
    "no usage asked for, async",
    "no usage told, async",
)


@pytest.fixture(scope="module")
def told(packages: Packages, model: ModelApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    receiver = OtlpReceiver().start()
    yield from play(HERE / "litellm_scenarios.py", packages, model, receiver, tmp_path_factory.mktemp("litellm"))
    receiver.close()


def check(event: dict[str, Any]) -> None:
    assert event["tokens"] == [TOKENS_IN, TOKENS_OUT]
    assert (event["tokens_cached"], event["tokens_reasoning"]) == (TOKENS_CACHED, TOKENS_REASONING)
    assert (event["model"], event["error"], event["type"], event["version"]) == ("gpt-6.2-sol", None, "pipeline", "v7")
    assert event["content"] == "hola" and event["latency"] > 0


@pytest.mark.parametrize("name", ["plain", "async", "stream", "astream", "responses"])
def test_a_call_is_one_event_with_what_the_model_told(told: Told, name: str) -> None:
    event = told.one(name)
    check(event)
    assert (event["ttft_ms"] is not None) is (name in ("stream", "astream"))
    if event["ttft_ms"] is not None:
        assert 0 < event["ttft_ms"] < event["latency"]


def test_calls_side_by_side_are_told_apart(told: Told) -> None:
    assert len({event["id"] for event in told.events["parallel"]}) == len(told.events["parallel"]) == 5
    for event in told.events["parallel"]:
        check(event)


def test_what_litellms_own_cache_answers_costs_no_tokens(told: Told) -> None:
    asked, kept = told.events["cached"]
    assert (asked["tokens"], kept["tokens"]) == ([TOKENS_IN, TOKENS_OUT], [0, 0])
    assert asked["model"] == kept["model"] == "gpt-6.2-sol"


@pytest.mark.parametrize("name", WITHOUT)
def test_tokens_that_litellm_estimates_are_not_taken_for_measured(told: Told, name: str) -> None:
    assert told.drops[name] == ["no_usage"] and name not in told.events


def test_tokens_may_be_counted_by_the_builder(told: Told) -> None:
    assert told.one("counted")["tokens"] == [len("SIN-USO"), len("Empieza por un Dockerfile.")]


@pytest.mark.parametrize("name", ["refused", "refused, async"])
def test_a_call_that_failed_has_its_errors_class(told: Told, name: str) -> None:
    event = told.one(name)
    assert (event["error"], event["tokens"]) == ("NotFoundError", [0, 0])


def test_what_answers_no_question_is_no_event(told: Told) -> None:
    assert "no answer" not in {*told.events, *told.drops}


def test_the_bridge_took_each_of_them_once_and_the_conversation_is_one_session(told: Told) -> None:
    sent = [event for events in told.events.values() for event in events]
    assert told.stats["dropped"] == {"no_usage": len(WITHOUT)} and told.stats["pending"] == 0
    assert len({event["session"] for event in sent}) == 1
    wait_for(lambda: len(told.receiver.find(name="pipeline")) >= len(sent), "the spans")
    spans = told.receiver.find(name="pipeline")
    assert len(spans) == len(sent)
    told_out = sum(span.attributes["gen_ai.usage.output_tokens"] for span in spans)
    assert told_out == sum(event["tokens"][1] for event in sent)
