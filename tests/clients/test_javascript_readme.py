"""The examples of the JavaScript client's README that need packages of others, run as they stand with the packed
client; the other ones are run by tests/docs/test_guia.py."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.scripted import Reply, Request, Scripted, taken
from tests.docs.markdown import blocks
from tests.docs.test_guia import HOST
from tests.harness.javascript import CLIENT, Project
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # installing comes first

EXAMPLES = [block.text for block in blocks(CLIENT / "README.md") if block.mark == "con paquetes de npm"]
DELTA = {
    "type": "response.output_text.delta",
    "item_id": "m",
    "output_index": 0,
    "content_index": 0,
    "delta": "Un ave.",
}
USAGE = {"input_tokens": 12, "output_tokens": 34, "total_tokens": 46}
DONE = {
    "type": "response.completed",
    "response": {"id": "r", "object": "response", "model": "gpt-6.2-sol", "output": [], "usage": USAGE},
}


def behave(request: Request) -> Reply:
    """The bridge, and the model's API."""
    if request.path == "/api/v1/responses":
        stream = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in (DELTA, DONE))
        return Reply(200, stream.encode(), {"Content-Type": "text/event-stream"})
    return Reply(201, {"ok": True}) if request.path.endswith(("/valoracion", "/fin")) else taken(request)


@pytest.fixture
def server(make_server: Callable[..., Scripted]) -> Scripted:
    return make_server(behave)


def example(project: Project, server: Scripted, number: int) -> subprocess.Popen[str]:
    program = project.folder / f"example{number}.mjs"
    program.write_text(EXAMPLES[number].replace(HOST, server.api.removesuffix("/api")), encoding="utf-8")
    environ = {**os.environ, "OPENAI_API_KEY": "x", "OPENAI_BASE_URL": f"{server.api}/v1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(["node", program.name], cwd=project.folder, env=environ, text=True, **pipes)  # type: ignore[call-overload, no-any-return]


def events(server: Scripted) -> list[dict[str, Any]]:
    return [one for request in server.requests if request.path == "/api/events" for one in request.body]


def test_there_are_two() -> None:
    assert len(EXAMPLES) == 2


def test_the_mcp_server_measures_its_tool(project: Project, server: Scripted) -> None:
    info = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    call = {"name": "revisar_pipeline", "arguments": {"url": "https://example.org/secreto"}}
    messages: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": info},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": call},
    ]
    with example(project, server, 0) as program:
        assert program.stdin is not None and program.stdout is not None and program.stderr is not None
        for message in messages:
            program.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
            program.stdin.flush()
        answers = [json.loads(program.stdout.readline()) for _ in range(2)]
        assert answers[1]["result"]["content"] == [{"type": "text", "text": "build, test"}]
        wait_for(lambda: events(server), "the event")
        program.stdin.close()
        assert program.stderr.read() == ""
        program.kill()
    (event,) = events(server)
    assert (event["tipo"], event["contenido"]) == ("pipeline", "")
    assert [one["nombre"] for one in event["herramientas"]] == ["leer_repositorio"]
    assert not [request for request in server.requests if b"secreto" in request.raw]


def test_the_model_is_measured_and_its_answer_rated(project: Project, server: Scripted) -> None:
    with example(project, server, 1) as program:
        output, errors = program.communicate(timeout=60)
    assert (output, errors, program.returncode) == ("Un ave.", "", 0)
    (event,) = events(server)
    assert (event["contenido"], event["tokens_entrada"], event["tokens_salida"]) == ("¿Qué es un canary?", 12, 34)
    assert (event["modelo"], event["version"]) == ("gpt-6.2-sol", "prompt-7") and event["ttft_ms"] > 0
    bridges = [path for path in server.paths() if "/v1/" not in path]
    assert bridges == [
        "/api/sessions",
        "/api/events",
        f"/api/events/{event['id']}/valoracion",
        f"/api/sessions/{event['sesion_id']}/fin",
    ]
