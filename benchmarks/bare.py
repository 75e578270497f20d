"""The yardstick: a Starlette POST that reads the body and answers, served as the bridge is."""

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


if __name__ == "__main__":
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(sys.argv[1])))
    uvicorn.Server(
        uvicorn.Config(
            Starlette(routes=[Route("/api/events", post, methods=["POST"])]),
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
