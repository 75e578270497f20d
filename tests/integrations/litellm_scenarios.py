"""Runs under the real litellm (test_litellm.py)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import litellm
from otel_bridge_client.litellm import BridgeLogger
from scenarios import client

litellm.suppress_debug_info = True
logger = BridgeLogger(client, "pipeline", content=True, version="v7")
OPTIONS: Any = {
    "model": "openai/gpt-6.2-sol",
    "num_retries": 0,
    "metadata": {"conversation_id": "c-1", "user_id": "u-1"},
}
TOLD = {"stream": True, "stream_options": {"include_usage": True}}


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {**OPTIONS, "messages": [{"role": "user", "content": text}], **more}


def scenario(name: str, run: Any, events: int = 1) -> None:
    """LiteLLM tells its loggers a little later, in a thread or a task of its own."""
    client.scenario = name
    client.said = 0
    with contextlib.suppress(Exception):
        run()
    deadline = time.monotonic() + 20
    while client.said < events and time.monotonic() < deadline:
        loop.run_until_complete(asyncio.sleep(0.02))


async def astream(text: str, **more: Any) -> None:
    async for _ in await litellm.acompletion(**ask(text, **more)):
        pass


async def parallel() -> None:
    await asyncio.gather(*(litellm.acompletion(**ask("hola")) for _ in range(5)))


def cached() -> None:
    from litellm.caching.caching import Cache

    litellm.cache = Cache(type="local")
    for _ in range(2):
        litellm.completion(**ask("¿Otra vez?", caching=True))


loop = asyncio.new_event_loop()
litellm.callbacks = [logger]
scenario("plain", lambda: litellm.completion(**ask("hola")))
scenario("async", lambda: loop.run_until_complete(litellm.acompletion(**ask("hola"))))
scenario("stream", lambda: list(litellm.completion(**ask("hola", **TOLD))))
scenario("astream", lambda: loop.run_until_complete(astream("hola", **TOLD)))
scenario("responses", lambda: litellm.responses(**{**OPTIONS, "input": "hola"}))
scenario("parallel", lambda: loop.run_until_complete(parallel()), 5)
scenario("no usage", lambda: litellm.completion(**ask("SIN-USO")))
scenario("no usage asked for", lambda: list(litellm.completion(**ask("hola", stream=True))))
scenario("no usage told", lambda: list(litellm.completion(**ask("SIN-USO", **TOLD))))
scenario("no usage asked for, async", lambda: loop.run_until_complete(astream("hola", stream=True)))
scenario("no usage told, async", lambda: loop.run_until_complete(astream("SIN-USO", **TOLD)))
scenario("refused", lambda: litellm.completion(**ask("FALLA")))
scenario("refused, async", lambda: loop.run_until_complete(litellm.acompletion(**ask("FALLA"))))
scenario("no answer", lambda: litellm.embedding(model="openai/text-embedding-x", input=["hola"]), 0)
scenario("cached", cached, 2)
logger._count = lambda answer, question: (len(question), len(answer))  # LiteLLM keeps a logger that it has had once
scenario("counted", lambda: litellm.completion(**ask("SIN-USO")))
client.end()
