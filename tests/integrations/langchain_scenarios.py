"""Runs under the real langchain-core and langchain-openai (test_langchain.py)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from otel_bridge_client import langchain
from otel_bridge_client.langchain import BridgeCallback
from scenarios import client

handler = BridgeCallback(client, "pipeline", content=True, version="v7")
CONFIG: Any = {"callbacks": [handler], "metadata": {"thread_id": "t-1", "user_id": "u-1"}}
OPTIONS: Any = {"max_retries": 0, "stream_usage": True}
sol, luna = ChatOpenAI(model="gpt-6.2-sol", **OPTIONS), ChatOpenAI(model="gpt-6-luna", **OPTIONS)
chain = ChatPromptTemplate.from_messages([("system", "Eres breve."), ("human", "{q}")]) | sol | StrOutputParser()
ASK = {"q": "¿Qué es un canary?"}


@tool
def buscar(q: str) -> str:
    """Busca."""
    time.sleep(0.05)
    return q


@tool
def rota(q: str) -> str:
    """Falla."""
    raise ValueError(q)


def agent(question: str, config: RunnableConfig) -> Any:
    sol.invoke(question, config)
    buscar.invoke("a", config)
    with contextlib.suppress(ValueError):
        rota.invoke("b", config)
    return luna.invoke("resume", config).content


loop = asyncio.new_event_loop()  # one for all: the model's client keeps its connections in it


def scenario(name: str, run: Any) -> None:
    client.scenario = name
    with contextlib.suppress(Exception, asyncio.CancelledError):
        run()


async def parallel() -> None:
    await asyncio.gather(*(chain.ainvoke(ASK, config=CONFIG) for _ in range(5)))


async def astream() -> None:
    async for _ in chain.astream(ASK, config=CONFIG):
        pass


async def cancelled() -> None:
    task = asyncio.create_task(chain.ainvoke({"q": "LENTO"}, config=CONFIG))
    while not any(answer.calls for answer in handler._answers.values()):  # noqa: ASYNC110 its owner tells nobody
        await asyncio.sleep(0.01)
    task.cancel()
    await task


def broken_off() -> None:
    stream = sol.stream("hola", config=CONFIG)
    next(stream)
    next(stream)
    stream.close()


counting = BridgeCallback(client, "pipeline", count=lambda answer, question: (len(question), len(answer)))
failing = BridgeCallback(client, "pipeline", count=lambda answer, question: 1 / 0, session=lambda metadata: 1 / 0)  # type: ignore[arg-type,return-value]
scenario("model", lambda: sol.invoke("hola", config=CONFIG))
scenario("chain", lambda: chain.invoke(ASK, config=CONFIG))
scenario("stream", lambda: list(chain.stream(ASK, config=CONFIG)))
scenario("events", lambda: list(sol.stream_events("hola", version="v3", config=CONFIG)))
scenario("astream", lambda: loop.run_until_complete(astream()))
scenario("parallel", lambda: loop.run_until_complete(parallel()))
scenario("batch", lambda: sol.batch(["a", "b", "c"], config=CONFIG))
scenario("branches", lambda: RunnableParallel(a=sol, b=sol).invoke("hola", config=CONFIG))
scenario("agent", lambda: RunnableLambda(agent).invoke("¿Qué es un canary?", config=CONFIG))
scenario("no usage", lambda: sol.invoke("SIN-USO", config=CONFIG))
scenario("no usage in a stream", lambda: list(sol.stream("SIN-USO", config=CONFIG)))
scenario("counted", lambda: sol.invoke("SIN-USO", config={"callbacks": [counting]}))
scenario("options that fail", lambda: sol.invoke("SIN-USO", config={"callbacks": [failing]}))
scenario("broken off", broken_off)
scenario("refused", lambda: sol.invoke("FALLA", config=CONFIG))
scenario("failed later", lambda: (chain | RunnableLambda(lambda text: 1 / 0)).invoke(ASK, config=CONFIG))
scenario("cancelled", lambda: loop.run_until_complete(cancelled()))
scenario("no model", lambda: RunnableLambda(lambda text: text).invoke("hola", config=CONFIG))
inner = ChatOpenAI(model="gpt-6.2-sol", callbacks=[handler], max_retries=0)
scenario("inner", lambda: (inner | StrOutputParser()).invoke("hola"))
client.scenario = "never ended"
langchain.MAX_ANSWERS = 2
for run in range(3):
    handler.on_chain_start(None, None, run_id=run)
for run in range(3):
    handler.on_chain_end(None, run_id=run)
client.scenario = "left over"
if handler._answers or handler._root_of:
    client.note("left over", f"{len(handler._answers)} answers, {len(handler._root_of)} runs")
client.end()
