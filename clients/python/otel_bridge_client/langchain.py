"""LangChain: a callback handler that makes one event of each answer, from the outermost run (a chain, an agent, a model
called alone) to its end, with what the models in it used and the tools that it called.

    chain.invoke(question, config={"callbacks": [BridgeCallback(client, "consulta")], "metadata": {"thread_id": "c-1"}})

For streams, the asynchronous API and runs side by side. Where several models take part, each has an event of its own,
so that its tokens have its price. Not imported by the package: needs langchain-core.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Mapping
from typing import Any, Callable

from langchain_core.callbacks import BaseCallbackHandler

from otel_bridge_client.client import BridgeClient
from otel_bridge_client.measures import Measure
from otel_bridge_client.metadata import conversation_of, user_of
from otel_bridge_client.spent import Count, Spent, record
from otel_bridge_client.subjects import Option, Subject
from otel_bridge_client.usage import Usage, get

MAX_ANSWERS = 10_000
"""Answers under way that are remembered: one that never ends takes no memory for ever."""


class BridgeCallback(BaseCallbackHandler):  # type: ignore[misc]  # langchain-core is not installed where types are checked
    """One for the process. Options as `medir` has them, each a value or a function of the run's `metadata`. Without
    them its `thread_id`, `session_id` or `conversation_id` names the conversation, its `user_id` the user.
    `content`: whether the question is sent. `count`: tells tokens where an answer does not."""

    run_inline = True  # in the caller's thread, in order: nothing here waits
    raise_error = False

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
        self._client = client
        self._subject = Subject(
            client, event_type, session=session, user=user, conversation=conversation, version=version
        )
        self._content = content
        self._count = count
        self._lock = threading.Lock()
        self._answers: collections.OrderedDict[Any, _Answer] = collections.OrderedDict()
        """By the id of their outermost run."""
        self._root_of: dict[Any, Any] = {}
        """Every run under way, to its outermost one."""

    # --- what LangChain tells ---------------------------------------------------------------------------------------

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: Any, parent_run_id: Any = None, **more: Any
    ) -> None:
        self._begin(run_id, parent_run_id, more.get("metadata"))

    def on_chain_end(self, outputs: Any, *, run_id: Any, **more: Any) -> None:
        self._end(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: Any, **more: Any) -> None:
        self._end(run_id, error)

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: Any, parent_run_id: Any = None, **more: Any
    ) -> None:
        asked = [message for message in messages[0] if get(message, "type") == "human"] if messages else []
        self._begin_call(run_id, parent_run_id, _text(get(asked[-1], "content")) if asked else "", more)

    def on_llm_start(
        self, serialized: Any, prompts: Any, *, run_id: Any, parent_run_id: Any = None, **more: Any
    ) -> None:
        self._begin_call(run_id, parent_run_id, str(prompts[0]) if prompts else "", more)

    def on_llm_new_token(self, token: Any, *, run_id: Any, **more: Any) -> None:
        if _text(token):
            self._within(run_id, _Answer.first_token)

    def on_stream_event(self, event: Any, *, run_id: Any, **more: Any) -> None:
        if get(event, "event") == "content-block-delta":
            self._within(run_id, _Answer.first_token)

    def on_llm_end(self, response: Any, *, run_id: Any, **more: Any) -> None:
        self._within(run_id, lambda answer: answer.call_ended(run_id, response))
        self._end(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: Any, **more: Any) -> None:
        self._within(run_id, lambda answer: answer.call_failed(run_id, error))
        self._end(run_id, error)

    def on_tool_start(
        self, serialized: Any, input_str: Any, *, run_id: Any, parent_run_id: Any = None, **more: Any
    ) -> None:
        self._begin(run_id, parent_run_id, more.get("metadata"))
        name = str(more.get("name") or get(serialized, "name") or "herramienta")
        self._within(run_id, lambda answer: answer.tool_begun(run_id, name))

    def on_tool_end(self, output: Any, *, run_id: Any, **more: Any) -> None:
        failed = "error_herramienta" if get(output, "status") == "error" else None
        self._within(run_id, lambda answer: answer.tool_ended(run_id, failed))
        self._end(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: Any, **more: Any) -> None:
        self._within(run_id, lambda answer: answer.tool_ended(run_id, type(error).__name__))
        self._end(run_id, error)

    def on_retriever_start(
        self, serialized: Any, query: Any, *, run_id: Any, parent_run_id: Any = None, **more: Any
    ) -> None:
        self._begin(run_id, parent_run_id, more.get("metadata"))

    def on_retriever_end(self, documents: Any, *, run_id: Any, **more: Any) -> None:
        self._end(run_id)

    def on_retriever_error(self, error: BaseException, *, run_id: Any, **more: Any) -> None:
        self._end(run_id, error)

    # --- answers ------------------------------------------------------------------------------------------------------

    def _begin(self, run_id: Any, parent: Any, metadata: Any) -> None:
        """A parent that nobody told of is somebody else's: this handler was given to an inner part alone."""
        with self._lock:
            root = self._root_of.get(parent)
            if root is not None:
                self._root_of[run_id] = root
                self._answers[root].runs.add(run_id)
                return
        measure = self._subject.begin(metadata if isinstance(metadata, Mapping) else {})
        answer = _Answer(measure, run_id)
        with self._lock:
            self._answers[run_id] = answer
            self._root_of[run_id] = run_id
            lost = self._answers.popitem(last=False)[1] if len(self._answers) > MAX_ANSWERS else None
            for run in lost.runs if lost is not None else ():
                self._root_of.pop(run, None)
        if lost is not None:
            lost.measure.add(Usage())  # it may have spent what nobody tells: counted as such
            self._client.record(lost.measure)

    def _begin_call(self, run_id: Any, parent: Any, question: str, more: dict[str, Any]) -> None:
        metadata = more.get("metadata")
        self._begin(run_id, parent, metadata)
        invoked = more.get("invocation_params")
        model = get(invoked, "model") or get(invoked, "model_name") or get(metadata, "ls_model_name")
        self._within(run_id, lambda answer: answer.call_begun(run_id, question, str(model) if model else None))

    def _within(self, run_id: Any, tell: Callable[[_Answer], None]) -> None:
        with self._lock:
            answer = self._answers.get(self._root_of.get(run_id))
        if answer is not None:
            with answer.lock:
                tell(answer)

    def _end(self, run_id: Any, error: BaseException | None = None) -> None:
        """Of a run; of the answer, where it is the outermost."""
        with self._lock:
            answer = self._answers.pop(run_id, None)
            if answer is None:
                root = self._root_of.pop(run_id, None)
                if root is not None:
                    self._answers[root].runs.discard(run_id)
                return
            for run in answer.runs:
                self._root_of.pop(run, None)
        latency = answer.measure.elapsed_ms()
        if error is not None and not isinstance(error, GeneratorExit):  # a consumer that has enough is no failure
            answer.measure.error = type(error).__name__
        if answer.calls or answer.measure.error:
            answer.measure.content = answer.question if self._content else ""
            record(self._client, answer.measure, latency, answer.spent, self._count, answer.question, answer.text)


class _Answer:
    """One, under way."""

    def __init__(self, measure: Measure, root: Any) -> None:
        self.measure = measure
        self.runs = {root}
        self.lock = threading.Lock()
        self.question = ""
        self.text = ""
        """Of the last answer of a model."""
        self.calls = 0
        self.spent: list[Spent] = []
        """One a finished call, in the order in which they ended."""
        self._models: dict[Any, tuple[str | None, float]] = {}
        self._tools: dict[Any, tuple[str, float]] = {}

    def call_begun(self, run_id: Any, question: str, model: str | None) -> None:
        self.calls += 1
        self.question = self.question or question
        self._models[run_id] = (model, time.perf_counter())

    def first_token(self) -> None:
        self.measure.first_token()

    def call_ended(self, run_id: Any, response: Any) -> None:
        model, started = self._models.pop(run_id, (None, time.perf_counter()))
        spent = Spent(model, (time.perf_counter() - started) * 1000)
        for generation in [one for several in get(response, "generations") or () for one in several]:
            message = get(generation, "message")
            spent.model = get(message, "response_metadata", "model_name") or spent.model
            self.text = _text(get(message, "content") or get(generation, "text")) or self.text
            spent.add(get(message, "usage_metadata"), ("input_tokens", "output_tokens"))
        if not spent.known:
            spent.add(get(response, "llm_output", "token_usage"), ("prompt_tokens", "completion_tokens"))
        self.spent.append(spent)

    def call_failed(self, run_id: Any, error: BaseException) -> None:
        """What it used is not told; where it was only broken off, that is a gap in what is known."""
        model, started = self._models.pop(run_id, (None, time.perf_counter()))
        if isinstance(error, GeneratorExit):
            self.spent.append(Spent(model, (time.perf_counter() - started) * 1000))
        self.measure.model = model or self.measure.model

    def tool_begun(self, run_id: Any, name: str) -> None:
        self._tools[run_id] = (name, time.perf_counter())

    def tool_ended(self, run_id: Any, error: str | None) -> None:
        name, started = self._tools.pop(run_id, ("", 0.0))
        if name:
            call: dict[str, Any] = {"name": name, "ms": (time.perf_counter() - started) * 1000}
            self.measure.tools.append({**call, "error": error} if error else call)


def _text(content: Any) -> str:
    """Of a message's content: a text, or blocks."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, (list, tuple)) else ()
    texts = [block if isinstance(block, str) else get(block, "text") for block in blocks]
    return "".join(text for text in texts if isinstance(text, str))
