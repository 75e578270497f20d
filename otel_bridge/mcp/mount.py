"""`/mcp` in the app, before its package is there: importing it takes longer than everything else of a start together,
and 30 MiB; most bridges never serve a call.

first call ──▶ import, in a thread ──▶ ready: the calls that came meanwhile go on
                       └── fails ──▶ those calls are a 500, the log says why, the next one tries again
The package is an extra (`otel-bridge[mcp]`): where it is not installed each call is a 501 that says so.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from otel_bridge import errors
from otel_bridge.config import Config
from otel_bridge.errors import Problem

if TYPE_CHECKING:
    from otel_bridge.mcp.tools import McpApp

log = logging.getLogger(__name__)

PATH = "/mcp"


def installed() -> bool:
    """Whether the package that speaks the protocol is there. Imports nothing of it."""
    return find_spec("mcp") is not None


def make_app(*parts: Any) -> McpApp:
    """`McpApp` of these parts, its package imported."""
    from otel_bridge.mcp.tools import McpApp

    return McpApp(*parts)


class McpMount:
    """An ASGI application that becomes `McpApp`."""

    def __init__(self, make: Callable[[], McpApp]) -> None:
        self._make = make
        self._app: McpApp | None = None
        self._ready: asyncio.Future[McpApp] | None = None
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._config: Config | None = None
        """What came while the app was made."""

    @property
    def routes(self) -> list[BaseRoute]:
        # A redirect would lose the body of a client that was told `/mcp/`.
        slashed = Route(PATH + "/", self, methods=None, include_in_schema=False)
        slashed.path = PATH  # one label
        return [Route(PATH, self, methods=None, include_in_schema=False), slashed]

    def configure(self, config: Config) -> None:
        self._config = config
        if self._app is not None:
            self._app.configure(config)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if app is None:
            if not installed():
                raise Problem(errors.MCP_NOT_INSTALLED)
            if self._ready is None:
                self._ready = asyncio.get_running_loop().create_future()
                # In a context of its own: it outlives the request that happens to be the first.
                self._task = asyncio.create_task(self._run(self._ready), context=contextvars.Context())
            app = await asyncio.shield(self._ready)
        await app(scope, receive, send)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self._stop.set()
            if self._task is not None:
                await self._task
            if self._ready is not None:
                self._ready.cancel()

    async def _run(self, ready: asyncio.Future[McpApp]) -> None:
        try:
            app = await asyncio.to_thread(self._make)
            # Its own task enters and leaves this: it holds a task group.
            async with app.running():
                self._app = app
                if self._config is not None:
                    app.configure(self._config)
                if not ready.done():
                    ready.set_result(app)
                await self._stop.wait()
        except Exception as error:
            log.error("/mcp is not served; the next call tries again", exc_info=error)
            self._ready = None
            if not ready.done():
                ready.set_exception(error)
                ready.exception()  # whoever calls gets it; nobody has to
