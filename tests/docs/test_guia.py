"""Every example of the integration guide and of the clients' READMEs is run, in the order of the page.

bash, python and javascript run as they stand; only the host is another. A block of json says what it is by the
comment above it: `respuesta` (what the bash block before it printed) or `petición: …` (a body that the bridge takes).
`salida: …` after a bash block is what it printed. A block that says nothing of itself fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mcp.client.client import Client

from otel_bridge.contract import EventIn, SessionIn, decode_event, decode_session
from tests.clients.sdk.model_api import ModelApi
from tests.docs.markdown import DOCS, ROOT, Block, blocks, difference
from tests.harness.bridge import GUIDE_SESSION, Bridge
from tests.harness.ports import answers, free_port
from tests.harness.waiting import wait_for

GUIDE = DOCS / "guia.md"
READMES = [ROOT / "clients" / "python" / "README.md", ROOT / "clients" / "javascript" / "README.md"]
HOST = "https://koomtai.com"
LANGUAGES = {"bash", "python", "javascript", "json", ""}


class Reader:
    """Somebody who follows the page, block by block, with one bridge."""

    def __init__(self, bridge: Bridge, page: Path) -> None:
        self.bridge = bridge
        self.page = page
        self.work = bridge.folder  # where the administrator stands: otel-bridge.toml is here
        self.variables: dict[str, str] = {}
        self.output = ""
        modules = self.work / "node_modules"
        modules.mkdir(exist_ok=True)
        (modules / "otel-bridge-client").symlink_to(ROOT / "clients" / "javascript")
        tools = self.work / "bin"
        tools.mkdir()
        command = tools / "otel-bridge"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m otel_bridge "$@"\n', encoding="utf-8")
        command.chmod(0o755)
        self.environ = {**bridge.env(), "PATH": f"{tools}:{os.environ['PATH']}"}

    def follow(self, block: Block) -> None:
        where = f"{self.page.name}:{block.line}"
        assert block.language in LANGUAGES, f"{where}: nothing runs a block of {block.language!r}"
        if (block.mark or "").startswith("servidor MCP: "):
            self.serve(block, where)
        elif block.language in ("bash", "python", "javascript"):
            self.run(block, where)
        elif block.mark == "respuesta":
            answer = json.loads(self.output)
            assert difference(json.loads(block.text), answer) is None, (
                f"{where}: {difference(json.loads(block.text), answer)}"
            )
        elif block.mark == "petición: sesión":
            session, _ = decode_session(block.text.encode())
            assert set(json.loads(block.text)) <= set(SessionIn.__struct_fields__), where
            self.bridge.session(id=str(session.id) if session.id else None)
        elif block.mark == "petición: evento":
            decode_event(block.text.encode())
            assert set(json.loads(block.text)) == set(EventIn.__struct_fields__), where
        elif block.mark is not None and block.mark.startswith("salida: "):
            assert self.output.split() == block.mark.removeprefix("salida: ").split(), where
        elif block.mark == "espera: clave":
            wait_for(lambda: self.bridge.post("/sessions", GUIDE_SESSION).status_code == 401, "a closed door")
        else:
            raise AssertionError(f"{where}: nothing says what this is")

    def serve(self, block: Block, where: str) -> None:
        """A program that serves tools until it is ended: one of them, called by the official client, is an event."""
        tool, arguments = (block.mark or "").removeprefix("servidor MCP: ").split(" ", 1)
        port = free_port()
        text = block.text.replace(HOST, self.bridge.url).replace("port=8100", f"port={port}")
        environ = {k: v for k, v in self.environ.items() if not k.startswith("OTEL_")}
        environ |= {"OTB_CLAVE": self.variables.get("CLAVE", ""), "PYTHONPATH": str(ROOT / "clients" / "python")}
        log = self.work / "server.log"
        with log.open("w") as output:
            server = subprocess.Popen(
                [sys.executable, "-c", text], cwd=self.work, env=environ, stdout=output, stderr=output
            )
        try:
            wait_for(lambda: server.poll() is not None or answers(port), f"{where}: the server", 30)
            assert server.poll() is None, f"{where}: {log.read_text(encoding='utf-8')}"
            meta = {"openai/session": "v1/charla-42", "openai/subject": "v1/ana"}

            async def call() -> bool:
                async with Client(f"http://127.0.0.1:{port}/mcp") as client:
                    return (await client.call_tool(tool, json.loads(arguments), meta=meta)).is_error

            before = self.bridge.metric("gen_ai_client_operation_duration_seconds_count", event_type="pipeline")
            assert asyncio.run(call()) is False, where
            wait_for(
                lambda: (
                    self.bridge.metric("gen_ai_client_operation_duration_seconds_count", event_type="pipeline")
                    == before + 1
                ),
                f"{where}: the call's event",
            )
        finally:
            server.terminate()
            server.wait(20)

    def run(self, block: Block, where: str) -> None:
        text = block.text.replace(HOST, self.bridge.url)
        counted = self.bridge.metric("gen_ai_client_operation_duration_seconds_count")
        # What bash blocks set, those after them have; a program gets the key from its environment.
        environ = {**self.environ, "OTB_CLAVE": self.variables.get("CLAVE", "")}
        if block.language == "bash":
            names = re.findall(r"^([A-Z]+)=", text, re.M)
            saved = "".join(f"printf '%s\\0' {name} \"${name}\" >> .variables\n" for name in names)
            command = ["bash", "-euo", "pipefail", "-c", text + "\n" + saved]
            environ.update(self.variables)
        elif block.language == "python":
            command = [sys.executable, "-W", "error", "-c", text]
            environ["PYTHONPATH"] = str(ROOT / "clients" / "python")
        else:
            (self.work / "example.mjs").write_text(text, encoding="utf-8")
            command = ["node", "example.mjs"]
        variables = self.work / ".variables"
        variables.unlink(missing_ok=True)
        # `otel-bridge` in bash needs the package; programs must do without it.
        if block.language != "bash":
            environ = {k: v for k, v in environ.items() if not k.startswith("OTEL_")}
        done = subprocess.run(command, cwd=self.work, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{where}: {done.stderr}"
        unexpected = [line for line in done.stderr.splitlines() if not line.startswith("otel-bridge: refused: dropped")]
        assert not unexpected, f"{where}: {done.stderr}"
        self.output = done.stdout
        if variables.exists():
            parts = variables.read_text(encoding="utf-8").split("\0")
            self.variables.update(zip(parts[::2], parts[1::2], strict=False))
        if block.language != "bash" and block.mark != "sin envíos":
            assert self.bridge.metric("gen_ai_client_operation_duration_seconds_count") > counted, (
                f"{where}: nothing was counted"
            )


@pytest.fixture
def model_api() -> Iterator[ModelApi]:
    """What examples of the openai package talk to."""
    started = ModelApi()
    yield started
    started.close()


@pytest.mark.parametrize("page", [GUIDE, *READMES], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_example_does_what_the_page_says(
    make_bridge: Callable[..., Bridge], page: Path, model_api: ModelApi
) -> None:
    bridge = make_bridge().start()
    reader = Reader(bridge, page)
    reader.environ.update(OPENAI_BASE_URL=model_api.url, OPENAI_API_KEY="sk-test")
    examples = blocks(page)
    assert {block.language for block in examples} >= (
        {"bash", "python", "javascript", "json"} if page == GUIDE else set()
    )
    for block in examples:
        reader.follow(block)


def test_the_guide_names_every_field_and_every_event_type() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    for field in (*SessionIn.__struct_fields__, *EventIn.__struct_fields__):
        assert f"`{field}`" in text, field
    types = re.search(r"^event_types = (\[.*\])$", (ROOT / "otel-bridge.toml").read_text(encoding="utf-8"), re.M)
    assert types is not None
    for event_type in json.loads(types[1]):
        assert f"| `{event_type}` |" in text, event_type


@pytest.mark.parametrize(
    "page",
    [
        GUIDE,
        *READMES,
        *(DOCS / f"{name}.md" for name in ("errores", "respaldo", "seguridad")),
        *sorted((DOCS / "integraciones").glob("*.md")),
    ],
    ids=lambda p: str(p.name),
)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
