"""Every page of docs/integraciones is followed: programs run with the real packages against a stand-in for the model's
API and a real bridge, servers serve, and what a client is told to connect with connects.

Beyond the marks of tests/docs/test_guia.py: `cliente MCP` (a client's configuration), `carpeta` and `archivo: …` (of a
plugin), `no se ejecuta aquí: …` (says why).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from otel_bridge.access import keys
from tests.docs.markdown import DOCS, ROOT, Block, blocks
from tests.docs.test_guia import HOST, Reader
from tests.harness.bridge import Bridge
from tests.harness.model_api import TOKENS_CACHED, TOKENS_IN, TOKENS_OUT, ModelApi
from tests.harness.waiting import wait_for
from tests.integrations.conftest import Packages

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # installing comes first

PAGES = sorted((DOCS / "integraciones").glob("*.md"))
KEY = "otb_" + "p" * 43
CONFIG = (ROOT / "otel-bridge.toml").read_text(
    encoding="utf-8"
) + f'api_key_hashes = ["{keys.hash_of(KEY.encode())}"]\n'
USAGE = "gen_ai_client_token_usage_sum"
PROGRAMS = ("langchain", "litellm", "openai-python", "openai-javascript")
"""Pages whose programs ask a model."""


class Follower(Reader):
    def __init__(self, bridge: Bridge, page: Path, packages: Packages, model: ModelApi) -> None:
        super().__init__(bridge, page)
        self.variables["CLAVE"] = KEY
        self.packages, self.model = packages, model

    def follow(self, block: Block) -> None:
        mark = block.mark or ""
        if mark == "cliente MCP":
            (server,) = (json.loads(block.text).get("mcpServers") or json.loads(block.text)["servers"]).values()
            self.connect(server["url"], server["headers"]["Authorization"])
        elif mark.startswith("no se ejecuta aquí: "):
            url, header = re.search(r" (https://\S+) .*?: (Bearer [^\"]+)\"", block.text).groups()  # type: ignore[union-attr]
            self.connect(url, header)
        elif mark.startswith("archivo: "):
            self.check_file(mark.removeprefix("archivo: "), block.text)
        elif block.language in ("python", "javascript") and not mark.startswith("servidor MCP: "):
            self.run(block, f"{self.page.name}:{block.line}")
        elif mark != "carpeta":
            super().follow(block)

    def connect(self, url: str, header: str) -> None:
        """As the client would: with its own way to write the key filled in."""
        filled = re.sub(r"\$\{[^}]*\}|\$[A-Z_]+", KEY, header)
        assert KEY in filled

        async def listed(headers: dict[str, str]) -> list[str]:
            async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
                transport = streamable_http_client(url.replace(HOST, self.bridge.url), http_client=http)
                async with Client(transport) as client:
                    return [tool.name for tool in (await client.list_tools()).tools]

        assert "registrar_evento" in asyncio.run(listed({"Authorization": filled}))

    def check_file(self, name: str, text: str) -> None:
        if name == "SKILL.md":
            head = re.fullmatch(r"---\nname: ([a-z0-9-]+)\ndescription: (.{20,1024})\n---\n\n.+", text, re.S)
            assert head is not None
            return
        document = json.loads(text)
        assert document["$schema"] == f"https://agent-plugins.org/schemas/1.0.0/{name[:-5]}.schema.json"
        if name == "plugin.json":
            assert re.fullmatch(r"[a-z0-9-]+", document["name"]) and re.fullmatch(r"\d+\.\d+\.\d+", document["version"])
        else:
            (server,) = document["mcpServers"].values()
            assert server["type"] == "streamable-http" and server["url"].startswith("https://")

    def run(self, block: Block, where: str) -> None:
        text = block.text.replace(HOST, self.bridge.url)
        environ = {"OTB_CLAVE": KEY, **self.model.environ}
        if block.language == "python":
            done = self.packages.run(text, environ, self.work)
        else:
            (self.work / "page.mjs").write_text(text, encoding="utf-8")
            done = self.packages.node(self.work / "page.mjs", environ)
        assert done.returncode == 0, f"{where}: {done.stderr}"
        self.output = done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_example_does_what_the_page_says(
    make_bridge: Callable[..., Bridge], packages: Packages, model: ModelApi, page: Path
) -> None:
    bridge = make_bridge(CONFIG).start()
    follower = Follower(bridge, page, packages, model)
    if "javascript" in page.stem:
        packages.link_node(follower.work)
    asked = len(model.asked)
    for block in blocks(page):
        follower.follow(block)
    asked = len(model.asked) - asked
    assert (asked > 0) is (page.stem in PROGRAMS)
    expected: dict[str, Any] = {"input": asked * TOKENS_IN, "output": asked * TOKENS_OUT}

    def told() -> dict[str, float]:
        return {kind: bridge.metric(USAGE, gen_ai_token_type=kind) for kind in expected}

    wait_for(lambda: told() == expected, f"the tokens of {asked} answers: {told()}")
    if asked:
        # Every one at the price of its model, what the cache served at its own.
        price = (TOKENS_IN - TOKENS_CACHED) * 2.0 + TOKENS_CACHED * 0.1 + TOKENS_OUT * 10.0
        assert bridge.metric("gpt_cost_usd_total") * 1e6 == pytest.approx(asked * price)
        assert bridge.metric("gpt_unpriced_tokens_total") == 0


def test_the_guide_and_the_readme_lead_to_every_page() -> None:
    for place, prefix in ((DOCS / "guia.md", "integraciones"), (ROOT / "README.md", "docs/integraciones")):
        text = place.read_text(encoding="utf-8")
        assert not [page.name for page in PAGES if f"({prefix}/{page.name})" not in text], place.name
