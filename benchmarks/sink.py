"""An OTLP receiver, over HTTP and gRPC: parses every request with the official classes, counts its spans, forgets them.

python benchmarks/sink.py PORT [GRPC_PORT]      GET / tells: spans so far, time of the first and of the last
"""

import gzip
import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import uvicorn
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.types import Receive, Scope, Send

spans, first, last = 0, 0.0, 0.0


def take(body: bytes) -> None:
    """One request. From one thread at a time: delivery sends them one after the other."""
    global spans, first, last
    first = first or time.time()
    request = ExportTraceServiceRequest.FromString(body)
    spans += sum(len(s.spans) for r in request.resource_spans for s in r.scope_spans)
    last = time.time()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            break
    body = b"".join(chunks)
    if scope["method"] == "POST":
        if dict(scope["headers"]).get(b"content-encoding") == b"gzip":
            body = gzip.decompress(body)
        take(body)
        out = b""
    else:
        out = json.dumps({"spans": spans, "first": first, "last": last}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(out))]})
    await send({"type": "http.response.body", "body": out})


def export(body: bytes, context: grpc.ServicerContext) -> bytes:
    take(body)
    return b""


def serve_grpc(port: int) -> grpc.Server:
    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.max_receive_message_length", 8 << 20)])
    handler = grpc.unary_unary_rpc_method_handler(export)
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "opentelemetry.proto.collector.trace.v1.TraceService", {"Export": handler}
            ),
        )
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server


if __name__ == "__main__":
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(sys.argv[1])))
    grpc_server = serve_grpc(int(sys.argv[2])) if len(sys.argv) > 2 else None
    uvicorn.Server(
        uvicorn.Config(app, loop="uvloop", http="httptools", lifespan="off", access_log=False, log_config=None)
    ).run(sockets=[listener])
