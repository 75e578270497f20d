"""Runs clients/python as its users do: in a process of its own. Reads a command a line, answers a line.

Where it runs to its end (`end`), nobody flushes or closes: that is left to the client.
"""

import json
import logging
import math
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "clients" / "python"))

from otel_bridge_client import BridgeClient

logging.basicConfig(stream=sys.stderr)
QUESTION = "¿Cómo configuro un pipeline CI/CD con Docker?"
client: BridgeClient = None  # type: ignore[assignment]
drops: list[list[object]] = []


def new(url, gpt="devops-expert", broken_callback=False, **options):
    global client

    def on_drop(record, reason, problem):
        drops.append([record, reason, problem])
        if broken_callback:
            raise RuntimeError("the caller's own fault")

    client = BridgeClient(url, gpt, on_drop=on_drop, **options)


def session(user="usuario123"):
    return client.create_session(user)


def events(session, count=1, content=QUESTION, latency=1500, tokens=(25, 150), **options):
    """How long the tenth slowest call took: a busy machine holds up one or two."""
    took = []
    for _ in range(count):
        started = time.perf_counter()
        client.log_event(session, "consulta", content, latency, *tokens, **options)
        took.append(time.perf_counter() - started)
    return sorted(took)[-10:][0]


def question(session, seconds, fail=False, tokens=(25, 150)):
    try:
        with client.question(session, "consulta", QUESTION, model="gpt-6.2-sol") as q:
            time.sleep(seconds)
            q.tokens(*tokens)
            if fail:
                raise TimeoutError("of the caller")
    except TimeoutError as error:
        return str(error)
    return None


def hostile():
    """Everything a caller can get wrong. An exception would end this process."""

    class Strange:
        def __str__(self):
            raise ValueError

    for value in (None, Strange(), "", "\ud800", "a\0b", -1, math.nan, math.inf, 10**400, object(), [], "x" * 300):
        session = client.create_session(value)
        client.log_event(value, "consulta", QUESTION, 1)
        client.log_event(session, value, QUESTION, 1)
        client.log_event(session, "consulta", value, 1)
        client.log_event(session, "consulta", QUESTION, value, 1, 1)
        client.log_event(session, "consulta", QUESTION, 1, value, 1)
        client.log_event(session, "consulta", QUESTION, 1, 1, 1, model=value, error=value, timestamp=value)
        client.log_event(session, "consulta", QUESTION, 1, 1, 1, tokens_cached=value)
        client.create_session("u", session_id=value, timestamp=value)


def flush(seconds):
    return client.flush(seconds)


def close(seconds):
    return client.close(seconds)


def stats():
    return client.stats()


def dropped():
    return drops


for line in sys.stdin:
    command = json.loads(line)
    name = command.pop("do")
    if name == "end":
        break
    print(json.dumps(globals()[name](**command)), flush=True)
