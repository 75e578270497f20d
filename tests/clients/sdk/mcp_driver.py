"""A builder's MCP server, measured by clients/python, and the official client that calls it; either line of `mcp`.

    python mcp_driver.py API '{"name of the case": {"kind": "fast" or "low", …}}'

Prints one JSON object: of each case what each call gave, and how long each tool took by its own clock.
"""

import asyncio
import importlib.metadata
import json
import logging
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "clients" / "python"))

import anyio
from otel_bridge_client import BridgeClient, current, instrument

MAJOR = int(importlib.metadata.version("mcp").partition(".")[0])
if MAJOR == 1:
    from mcp import types
    from mcp.server.fastmcp import Context, FastMCP
    from mcp.server.fastmcp.exceptions import ToolError
    from mcp.server.lowlevel import Server
    from mcp.shared.exceptions import McpError as ProtocolError
    from mcp.shared.memory import create_connected_server_and_client_session
else:
    import mcp_types as types
    from mcp import Client
    from mcp import MCPError as ProtocolError
    from mcp.server.lowlevel import Server
    from mcp.server.mcpserver import Context
    from mcp.server.mcpserver import MCPServer as FastMCP
    from mcp.server.mcpserver.exceptions import ToolError

SECRET = "la contraseña es hunter2"
took: list[list[object]] = []
cancelled: list[str] = []


def timed(name, started):
    took.append([name, (time.perf_counter() - started) * 1000])


def fast_server(options):
    server = FastMCP("herramientas")

    @server.tool()
    async def lenta(segundos: float, nota: str = "") -> str:
        started = time.perf_counter()
        await asyncio.sleep(segundos)
        timed("lenta", started)
        return current().event_id

    @server.tool()
    def sincrona(segundos: float) -> str:
        started = time.perf_counter()
        time.sleep(segundos)
        timed("sincrona", started)
        return "hecho"

    @server.tool()
    async def falla() -> str:
        raise LookupError(SECRET)

    @server.tool()
    async def avisa() -> str:
        raise ToolError("lo que el modelo debe leer")

    @server.tool()
    async def progresa(ctx: Context) -> str:
        for step in range(3):
            await ctx.report_progress(step, 3)
        return "hecho"

    @server.tool()
    async def eterna() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append("eterna")
            raise
        return "nunca"

    return server


TOOLS = ["lenta", "falla", "avisa", "eterna"]


async def low_call(name, arguments):
    """What a low-level tool does: its text, or an exception."""
    if name == "lenta":
        started = time.perf_counter()
        await asyncio.sleep(arguments["segundos"])
        timed("lenta", started)
        return current().event_id
    if name == "falla":
        raise LookupError(SECRET)
    if name == "eterna":
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append("eterna")
            raise
    return None


def low_server_1(options, before):
    """The handlers come after `instrument`, or before."""
    server = Server("herramientas")

    def register():
        @server.list_tools()
        async def list_tools():
            return [types.Tool(name=name, inputSchema={"type": "object"}) for name in TOOLS]

        @server.call_tool()
        async def call_tool(name, arguments):
            text = await low_call(name, arguments)
            if name == "avisa":
                return types.CallToolResult(content=[types.TextContent(type="text", text="no")], isError=True)
            if text is None:
                raise ValueError(f"Unknown tool: {name}")
            return [types.TextContent(type="text", text=text)]

    if before:
        register()
        return server, lambda: None
    return server, register


def low_server_2(options):
    async def call_tool(ctx, params):
        text = await low_call(params.name, params.arguments or {})
        if params.name == "avisa":
            return types.CallToolResult(content=[types.TextContent(type="text", text="no")], is_error=True)
        if text is None:
            raise ProtocolError(code=-32602, message=f"Unknown tool: {params.name}")
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)])

    async def list_tools(ctx, params):
        return types.ListToolsResult(tools=[types.Tool(name=name, input_schema={"type": "object"}) for name in TOOLS])

    return Server("herramientas", on_call_tool=call_tool, on_list_tools=list_tools)


@asynccontextmanager
async def connected(server, mode):
    if MAJOR == 1:
        async with create_connected_server_and_client_session(server) as session:
            yield session
    else:
        async with Client(server, mode=mode) as session:
            yield session


def shown(result):
    error = getattr(result, "isError", None) if MAJOR == 1 else result.is_error
    return {"error": bool(error), "text": result.content[0].text if result.content else None}


async def call(session, name, arguments=None, **options):
    try:
        return shown(await session.call_tool(name, arguments or {}, **options))
    except ProtocolError as error:
        return {"raised": type(error).__name__, "text": str(error)}


async def cancel(session):
    """Gives up a call after a while, and tells the server."""
    if MAJOR == 2:
        with anyio.move_on_after(0.1):
            await session.call_tool("eterna", {})
        return
    number = session._request_id  # this client tells it only where it is asked to
    calling = asyncio.create_task(call(session, "eterna"))
    await asyncio.sleep(0.1)
    params = types.CancelledNotificationParams(requestId=number)
    await session.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))
    assert (await calling)["text"] == "Request cancelled"


async def scenario(server, options):
    said = {}
    mode = options.get("mode", "legacy")
    async with connected(server, mode) as session:
        said["lenta"] = await call(session, "lenta", {"segundos": 0.12, "nota": SECRET})
        said["falla"] = await call(session, "falla")
        said["avisa"] = await call(session, "avisa")
        said["nadie"] = await call(session, "nadie")
        chatgpt = {"openai/session": f"conversación {options['kind']}", "openai/subject": "sujeto-1"}
        said["chatgpt"] = await call(session, "lenta", {"segundos": 0.01}, meta=chatgpt)
        said["chatgpt2"] = await call(session, "lenta", {"segundos": 0.01}, meta=chatgpt)
        if options["kind"] == "fast":
            said["sincrona"] = await call(session, "sincrona", {"segundos": 0.05})
            said["mal"] = await call(session, "sincrona", {"segundos": "mucho"})
            steps = []

            async def progress(done, total, message):
                steps.append([done, total])

            said["progresa"] = await call(session, "progresa", progress_callback=progress)
            said["pasos"] = steps
        started = time.perf_counter()
        await cancel(session)
        said["cancelada"] = (time.perf_counter() - started) * 1000
        while not cancelled:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    async with connected(server, mode) as session:
        said["otra"] = await call(session, "lenta", {"segundos": 0.01})
    return said


async def over_http(server, options):
    """Two MCP sessions with two calls each, over streamable HTTP."""
    import uvicorn

    if MAJOR == 1:
        server.settings.stateless_http = options["stateless"]
        app = server.streamable_http_app()
    else:
        app = server.streamable_http_app(stateless_http=options["stateless"])
    config = uvicorn.Config(app, port=0, log_level="error")
    web = uvicorn.Server(config)
    serving = asyncio.create_task(web.serve())
    while not web.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    address = f"http://127.0.0.1:{web.servers[0].sockets[0].getsockname()[1]}/mcp"
    said = []
    for _ in range(2):
        async with AsyncExitStack() as stack:
            if MAJOR == 1:
                from mcp import ClientSession
                from mcp.client.streamable_http import streamable_http_client

                read, write, _ = await stack.enter_async_context(streamable_http_client(address))
                session = await stack.enter_async_context(ClientSession(read, write))
                await session.initialize()
            else:
                session = await stack.enter_async_context(Client(address, mode=options["mode"]))
            for _ in range(2):
                said.append(await call(session, "lenta", {"segundos": 0.0}))
    web.should_exit = True
    await serving
    return said


def run(api, name, options):
    """One case: a server, a client of the bridge, and what was called. Each event's version is the case's name."""
    took.clear()
    cancelled.clear()
    client = BridgeClient(api, options.get("gpt", "devops-expert"), flush_interval=0.05)
    chosen = {"version": name}
    if options.get("broken"):
        chosen = {option: lambda call: 1 / 0 for option in ("content", "user", "conversation", "event_type")} | chosen
    if "arguments" in options:
        chosen["content"] = lambda call: str(call.arguments)
    if "user" in options:
        chosen["user"] = lambda call: options["user"]
    if "types" in options:
        chosen["event_type"] = options["types"]
    later = None
    if options["kind"] == "fast":
        server = fast_server(options)
    elif MAJOR == 1:
        server, later = low_server_1(options, options.get("before", True))
    else:
        server = low_server_2(options)
    assert instrument(server, client, **chosen) is server
    instrument(server, client)  # once is enough
    if later is not None:
        later()
    started = time.perf_counter()
    work = {"http": over_http, "burst": burst}.get(options.get("over"), scenario)
    said = asyncio.run(work(server, options))
    elapsed = time.perf_counter() - started
    client.close(options.get("close", 10))
    return {"said": said, "took": list(took), "stats": client.stats(), "elapsed": elapsed}


async def burst(server, options):
    """Calls one after the other until a file says that it is enough."""
    said = []
    async with connected(server, "legacy") as session:
        while not Path(options["until"]).exists():  # noqa: ASYNC240
            said.append(await call(session, "lenta", {"segundos": 0.01}))
    return said


def main():
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    api, cases = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps({name: run(api, name, options) for name, options in cases.items()}))


main()
