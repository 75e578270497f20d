"""LiteLLM: a logger that makes one event of each call of a model.

    litellm.callbacks = [BridgeLogger(client, "consulta")]
    litellm.completion(model=…, messages=…, metadata={"conversation_id": "c-1", "user_id": "u-1"})

For `completion`, `responses`, their asynchronous forms and streams, in a program or in LiteLLM's proxy. A stream that
is left before its end is told to no logger, so it has no event. Not imported by the package: needs litellm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import litellm
from litellm.integrations.custom_logger import CustomLogger

from otel_bridge_client.client import BridgeClient
from otel_bridge_client.metadata import conversation_of, user_of
from otel_bridge_client.spent import Count, Spent, record
from otel_bridge_client.subjects import Option, Subject
from otel_bridge_client.usage import get, text_of

ANSWERS = ("completion", "text_completion", "responses", "anthropic_messages")
"""Kinds of calls that answer a question (and, with an `a` before them, their asynchronous forms); embeddings, pictures
and the like do not."""
_NAMES = ("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")


class BridgeLogger(CustomLogger):  # type: ignore[misc]  # litellm is not installed where types are checked
    """One for the process. Options as `medir` has them, each a value or a function of the call's `metadata`. Without
    them its `thread_id`, `session_id` or `conversation_id` names the conversation, its `user_id` the user.
    `content`: whether the question is sent. `count`: tells tokens where an answer does not."""

    def __init__(
        self,
        client: BridgeClient,
        event_type: Option = "consulta",
        *,
        session: Option = None,
        user: Option = user_of,
        conversation: Option = conversation_of,
        version: Option = None,
        content: bool = False,
        count: Count | None = None,
    ) -> None:
        super().__init__()
        self._client = client
        self._subject = Subject(
            client, event_type, session=session, user=user, conversation=conversation, version=version
        )
        self._content = content
        self._count = count

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._ended(kwargs, response_obj, start_time, end_time, None)

    def log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._ended(kwargs, response_obj, start_time, end_time, get(kwargs, "exception"))

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.log_success_event(kwargs, response_obj, start_time, end_time)

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.log_failure_event(kwargs, response_obj, start_time, end_time)

    def _ended(self, call: Any, answer: Any, start: Any, end: Any, error: Any) -> None:
        try:
            kind = str(get(call, "call_type") or get(call, "standard_logging_object", "call_type") or "completion")
            if kind in ANSWERS or (kind[:1] == "a" and kind[1:] in ANSWERS):
                self._record(call, answer, start, end, error)
        except Exception as problem:
            self._client.note("internal", f"litellm: {type(problem).__name__}")

    def _record(self, call: Any, answer: Any, start: Any, end: Any, error: Any) -> None:
        metadata = get(call, "litellm_params", "metadata")
        measure = self._subject.begin(metadata if isinstance(metadata, Mapping) else {})
        latency = (end - start).total_seconds() * 1000
        question = _question(get(call, "messages") or get(call, "input"))
        measure.content = question if self._content else ""
        measure.model = _model(call)
        if error is not None:
            measure.error = type(error).__name__
            record(self._client, measure, latency, ())
            return
        first = get(call, "completion_start_time")
        if get(call, "stream") and first is not None:
            measure.ttft_ms = max(0.0, (first - start).total_seconds() * 1000)
        spent = Spent(measure.model, latency)
        if get(call, "cache_hit") is True:
            spent.known = True  # LiteLLM's own cache answered: no model spent anything
        elif not _estimated(call, answer):
            for names in _NAMES:
                if not spent.known:
                    spent.add(get(answer, "usage"), names)
        record(self._client, measure, latency, [spent], self._count, question, text_of(answer))


def _model(call: Any) -> str | None:
    """Without the provider that LiteLLM has before it where its cache answers."""
    model = get(call, "model")
    provider, _, name = str(model or "").partition("/")
    return name if name and provider in litellm.provider_list else model


def _estimated(call: Any, answer: Any) -> bool:
    """Whether LiteLLM made these counts itself: zeros where an answer has none, and what its tokenizer says where a
    stream has none. OpenAI tells details with its counts, LiteLLM's own have none; those of providers that tell no
    details are known by being others than its tokenizer's."""
    usage = get(answer, "usage")
    tokens = get(usage, "prompt_tokens")
    if tokens is None:
        return False
    if not get(call, "stream"):
        return not tokens and not get(usage, "completion_tokens")
    if get(usage, "prompt_tokens_details") is not None:
        return False
    return bool(tokens == litellm.token_counter(model=get(call, "model"), messages=get(call, "messages")))


def _question(messages: Any) -> str:
    """The last thing that the user said."""
    if isinstance(messages, str):
        return messages
    asked = [message for message in messages or () if get(message, "role") == "user"]
    content = get(asked[-1], "content") if asked else ""
    if isinstance(content, str):
        return content
    texts = [get(part, "text") for part in content or ()]
    return "".join(text for text in texts if isinstance(text, str))
