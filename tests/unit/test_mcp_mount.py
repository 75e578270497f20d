"""`/mcp` before its package is there: made by the first call, with the configuration of now, and tried again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from otel_bridge.config import Config
from otel_bridge.mcp.mount import McpMount


class FakeApp:
    def __init__(self) -> None:
        self.config: object = "old"
        self.calls = 0

    def configure(self, config: object) -> None:
        self.config = config

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield

    async def __call__(self, *_: object) -> None:
        self.calls += 1


async def call(mount: McpMount) -> None:
    nothing = cast(Any, None)
    await mount(nothing, nothing, nothing)


def test_nothing_is_made_before_the_first_call_and_one_app_serves_all() -> None:
    made: list[FakeApp] = []

    async def serve() -> None:
        mount = McpMount(cast(Any, lambda: made.append(FakeApp()) or made[-1]))
        async with mount.running():
            await asyncio.sleep(0)
            assert made == []
            await asyncio.gather(*(call(mount) for _ in range(5)))

    asyncio.run(serve())
    assert [app.calls for app in made] == [5]


def test_a_configuration_that_comes_while_it_is_made_is_not_lost() -> None:
    app, begun, go_on = FakeApp(), threading.Event(), threading.Event()

    def make() -> FakeApp:
        begun.set()
        assert go_on.wait(10)
        return app

    async def serve() -> None:
        mount = McpMount(cast(Any, make))
        async with mount.running():
            first = asyncio.create_task(call(mount))
            await asyncio.to_thread(begun.wait, 10)
            mount.configure(cast(Config, "new"))
            go_on.set()
            await first

    asyncio.run(serve())
    assert app.config == "new"


def test_a_failure_is_the_calls_own_and_the_next_call_tries_again() -> None:
    tries: list[int] = []

    def make() -> FakeApp:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("no file descriptor is left")
        return FakeApp()

    async def serve() -> None:
        mount = McpMount(cast(Any, make))
        async with mount.running():
            with pytest.raises(OSError):
                await call(mount)
            await call(mount)

    asyncio.run(serve())
    assert len(tries) == 2
