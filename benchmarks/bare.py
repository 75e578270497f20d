"""A Starlette POST that reads the body and answers, served as the bridge is: `python -m benchmarks.bare PORT`."""

import socket
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def post(request: Request) -> Response:
    await request.body()
    return Response(b'{"ok":true}', status_code=201, media_type="application/json")


def serve(app: Starlette, port: int) -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    uvicorn.Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
        )
    ).run(sockets=[listener])


if __name__ == "__main__":
    routes = [Route(path, post, methods=["POST"]) for path in ("/api/events", "/api/sessions")]
    serve(Starlette(routes=routes), int(sys.argv[1]))
