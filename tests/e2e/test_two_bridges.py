"""Two bridges live in one process: what is configured or done with one is none of the other's business."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import httpx2 as httpx
import uvicorn

from otel_bridge import config, server
from otel_bridge.app import Bridge
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION

ORIGIN = "https://app.example"


class Served:
    """A bridge behind a server of its own, on the loop of the test."""

    def __init__(self, folder: Path, gpt: str, **settings: str) -> None:
        folder.mkdir()
        folder.joinpath("c.toml").write_text(f"[gpts.{gpt}]\n", encoding="utf-8")
        environ = {"JOURNAL": f"sqlite:///{folder}/journal.db", "METRICS_PORT": "0", **settings}
        loaded = config.load(str(folder / "c.toml"), {f"OTEL_BRIDGE_{name}": value for name, value in environ.items()})
        self.gpt = gpt
        self.bridge = Bridge(loaded)
        self.server = uvicorn.Server(server.settings(self.bridge))
        self.listener = server.bind("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    async def run(self) -> None:
        self.bridge.start()
        async with self.bridge.serving():
            await self.server.serve(sockets=[self.listener])
        await asyncio.get_running_loop().run_in_executor(None, self.bridge.stop)

    async def post(self, client: Any, path: str, body: dict[str, Any], **headers: str) -> Any:
        return await client.post(self.url + path, json=body, headers=headers)


def test_two_bridges_live_in_one_process(tmp_path: Path) -> None:
    async def scenario() -> None:
        first = Served(tmp_path / "first", "uno", CORS_ORIGINS=ORIGIN, BODY_TIMEOUT_SECONDS="0.5")
        second = Served(tmp_path / "second", "dos", RATE_LIMIT="2/hour")
        running = [asyncio.create_task(first.run()), asyncio.create_task(second.run())]
        async with httpx.AsyncClient() as client:
            sessions = {}
            for served in (first, second):
                body = {**GUIDE_SESSION, "gpt_id": served.gpt}
                answer = await served.post(client, "/api/sessions", body, origin=ORIGIN)
                assert answer.status_code == 201
                assert ("access-control-allow-origin" in answer.headers) is (served is first)
                sessions[served.gpt] = answer.json()["id"]
            # A session of one is none of the other's, and neither is a limit.
            event = {**GUIDE_EVENT, "sesion_id": sessions["uno"]}
            assert (await second.post(client, "/api/events", event)).status_code == 404
            assert [(await second.post(client, "/api/events", event)).status_code for _ in range(2)] == [404, 429]
            assert [(await first.post(client, "/api/events", event)).status_code for _ in range(4)] == [201] * 4
            # The time for a body is the first one's own.
            halves = ((first.url, 30.0), (second.url, 2.0))
            answers = await asyncio.gather(*(asyncio.to_thread(half_a_post, *half) for half in halves))
            assert answers[0].startswith(b"HTTP/1.1 408") and answers[1] == b""
            # One stops, the other goes on.
            first.server.should_exit = True
            await running[0]
            event = {**GUIDE_EVENT, "sesion_id": sessions["dos"]}
            answer = await second.post(client, "/api/events", event)
            assert answer.status_code == 201 and "connection" not in answer.headers
        second.server.should_exit = True
        await running[1]

    asyncio.run(scenario())


def half_a_post(url: str, seconds: float) -> bytes:
    """What a post that stops half-way is answered within this time."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        try:
            return connection.recv(4096)
        except TimeoutError:
            return b""
