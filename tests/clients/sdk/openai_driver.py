"""A builder's calls of a model through the real `openai` package, measured by clients/python.

    python openai_driver.py API MODEL_API

Each scenario is a session of its own; prints one JSON object: what each gave, and the session's id.
"""

import asyncio
import contextlib
import gc
import json
import logging
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "clients" / "python"))

import openai
from otel_bridge_client import BridgeClient, medir, medir_respuesta

API, MODEL_API = sys.argv[1:3]
logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
bridge = BridgeClient(API, "devops-expert", flush_interval=0.05)
model_api = openai.OpenAI(base_url=MODEL_API, api_key="sk-test", max_retries=0)
ASKED = [{"role": "user", "content": "¿Qué es un canary?"}]
said = {}
THOUGHT = 0.4
scenarios = []


def scenario(function):
    scenarios.append(function)
    return function


def measured(call, session, **options):
    return medir_respuesta(bridge, "consulta", session=session, **options)(call)


def respond(session, model="gpt-x", client=model_api, options=None, **more):
    return measured(client.responses.create, session, **(options or {}))(model=model, input="hola", **more)


def chat(session, model="gpt-x", client=model_api, options=None, **more):
    return measured(client.chat.completions.create, session, **(options or {}))(model=model, messages=ASKED, **more)


@scenario
def response(s):
    answer = respond(s)
    return [type(answer).__name__, answer.output_text]


@scenario
def response_slow(s):
    return respond(s, "gpt-slow").output_text


@scenario
def response_silent(s):
    return respond(s, "gpt-silent").output_text


@scenario
def response_counted(s):
    counted = []

    def count(text, **asked):
        counted.extend([text, asked["model"]])
        return 7, 9

    respond(s, "gpt-silent", options={"count": count})
    return counted


@scenario
def response_failing(s):
    return respond(s, "gpt-failing").status


@scenario
def response_busy(s):
    try:
        respond(s, "gpt-busy")
    except openai.RateLimitError as error:
        return error.status_code


@scenario
def response_unreachable(s):
    nobody = openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="sk-test", max_retries=0)
    try:
        respond(s, client=nobody)
    except openai.APIConnectionError as error:
        return type(error).__name__


@scenario
def stream(s):
    found = respond(s, "gpt-slow", stream=True)
    return [isinstance(found, openai.Stream), [event.type for event in found][-1]]


@scenario
def stream_is_held(s):
    """The consumer thinks before it goes on: that is not the model's time."""
    found = respond(s, stream=True)
    kinds = []
    for event in found:
        kinds.append(event.type)
        if event.type == "response.completed":
            time.sleep(THOUGHT)
    return len(kinds)


@scenario
def completion_stream_is_held(s):
    with chat(s, stream=True, stream_options={"include_usage": True}) as found:
        for piece in found:
            if piece.usage:
                time.sleep(THOUGHT)
                break


@scenario
def stream_closed(s):
    with respond(s, stream=True) as found:
        for event in found:
            if event.type == "response.output_text.delta":
                break
    return event.delta


@scenario
def stream_closed_counted(s):
    with respond(s, stream=True, options={"count": lambda text, **asked: (5, len(text))}) as found:
        for event in found:
            if event.type == "response.output_text.delta":
                break
    return event.delta


@scenario
def stream_forgotten(s):
    found = respond(s, stream=True, options={"count": lambda text, **asked: (1, 1)})
    next(found)
    del found
    gc.collect()


@scenario
def stream_never_read(s):
    found = respond(s, stream=True, options={"count": lambda text, **asked: (1, len(text))})
    del found
    gc.collect()


@scenario
def stream_breaking(s):
    try:
        list(respond(s, "gpt-breaking", stream=True))
    except openai.APIConnectionError as error:
        return type(error).__name__
    except Exception as error:
        return type(error).__name__


@scenario
def stream_failing(s):
    return [event.type for event in respond(s, "gpt-failing", stream=True)][-1]


@scenario
def helper(s):
    with measured(model_api.responses.stream, s)(model="gpt-slow", input="hola") as found:
        return found.get_final_response().output_text


@scenario
def helper_busy(s):
    try:
        with measured(model_api.responses.stream, s)(model="gpt-busy", input="hola"):
            pass
    except openai.RateLimitError as error:
        return error.status_code


@scenario
def completion(s):
    return chat(s).choices[0].message.content


@scenario
def completion_silent(s):
    return chat(s, "gpt-silent").choices[0].message.content


@scenario
def completion_stream(s):
    found = chat(s, "gpt-slow", stream=True, stream_options={"include_usage": True})
    return len(list(found))


@scenario
def completion_stream_silent(s):
    return len(list(chat(s, stream=True)))


@scenario
def completion_stream_breaking(s):
    try:
        list(chat(s, "gpt-breaking", stream=True))
    except Exception as error:
        return type(error).__name__


@scenario
def completion_helper(s):
    call = measured(model_api.chat.completions.stream, s)
    with call(model="gpt-x", messages=ASKED, stream_options={"include_usage": True}) as found:
        return found.get_final_completion().choices[0].message.content


@scenario
def raw(s):
    found = measured(model_api.responses.with_raw_response.create, s)(model="gpt-x", input="hola")
    return found.parse().output_text


@scenario
def raw_stream(s):
    found = measured(model_api.responses.with_raw_response.create, s)(model="gpt-slow", input="hola", stream=True)
    return [event.type for event in found.parse()][-1]


@scenario
def compatible(s):
    """What another package returns: dictionaries, and a plain generator of them."""

    def create(stream):
        usage = {"prompt_tokens": 3, "completion_tokens": 4}
        if not stream:
            return {"model": "otro", "usage": usage}
        return (piece for piece in [{"choices": [{"delta": {"content": "a"}}]}, {"choices": [], "usage": usage}])

    call = measured(create, s)
    return [call(stream=False)["model"], len(list(call(stream=True)))]


@scenario
def block(s):
    with medir(bridge, "consulta", session=s) as m:
        m.read(model_api.responses.create(model="gpt-x", input="hola"))
        for _ in m.read(model_api.responses.create(model="gpt-slow", input="hola", stream=True)):
            pass
    return m.event_id


@scenario
def block_not_consumed(s):
    with medir(bridge, "consulta", session=s) as m:
        found = m.read(model_api.responses.create(model="gpt-x", input="hola", stream=True))
    found.close()


@scenario
def function_of_mine(s):
    @medir_respuesta(
        bridge,
        "consulta",
        session=lambda question, of: of,
        content=lambda question, of: question,
        event_id=lambda question, of: "0199c0de-0000-7000-8000-000000000001",
        version="prompt-7",
    )
    def ask(question, of):
        """Asks."""
        return model_api.responses.create(model="gpt-x", input=question)

    return [ask("¿Qué es un canary?", of=s).output_text, ask.__name__, ask.__doc__]


@scenario
async def async_response(s):
    async with openai.AsyncOpenAI(base_url=MODEL_API, api_key="sk-test") as client:
        return (await respond(s, client=client)).output_text


@scenario
async def async_stream(s):
    async with openai.AsyncOpenAI(base_url=MODEL_API, api_key="sk-test") as client:
        found = await respond(s, "gpt-slow", client=client, stream=True)
        return [isinstance(found, openai.AsyncStream), [event.type async for event in found][-1]]


@scenario
async def async_stream_closed(s):
    async with openai.AsyncOpenAI(base_url=MODEL_API, api_key="sk-test") as client:
        counting = {"count": lambda text, **asked: (5, len(text))}
        async with await respond(s, client=client, stream=True, options=counting) as found:
            async for event in found:
                if event.type == "response.output_text.delta":
                    return event.delta


@scenario
async def async_helper(s):
    client = openai.AsyncOpenAI(base_url=MODEL_API, api_key="sk-test")
    async with client, measured(client.responses.stream, s)(model="gpt-slow", input="hola") as found:
        return (await found.get_final_response()).output_text


@scenario
async def async_completion_stream(s):
    async with openai.AsyncOpenAI(base_url=MODEL_API, api_key="sk-test") as client:
        found = await chat(s, client=client, stream=True, stream_options={"include_usage": True})
        return len([piece async for piece in found])


@scenario
async def async_cancelled(s):
    async with openai.AsyncOpenAI(base_url=MODEL_API, api_key="sk-test") as client:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(respond(s, "gpt-slow", client=client), 0.05)


warnings.simplefilter("error")
for function in scenarios:
    session = bridge.create_session("usuario123")
    begun = time.perf_counter()
    result = function(session)
    if asyncio.iscoroutine(result):
        result = asyncio.run(result)
    took = (time.perf_counter() - begun) * 1000
    said[function.__name__] = {"session": session, "gave": result, "took": took}
model_api.close()
bridge.close(10)
print(json.dumps({"said": said, "stats": bridge.stats()}))
