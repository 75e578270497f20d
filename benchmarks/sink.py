"""An OTLP/HTTP receiver that parses every request with the official classes, counts its spans and forgets them.

python benchmarks/sink.py PORT      GET / tells: spans so far, time of the first and of the last
"""

import gzip
import json
import socket
import sys
import time

import uvicorn
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.types import Receive, Scope, Send

spans, first, last = 0, 0.0, 0.0


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    global spans, first, last
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
        first = first or time.time()
        request = ExportTraceServiceRequest.FromString(body)
        spans += sum(len(s.spans) for r in request.resource_spans for s in r.scope_spans)
        last = time.time()
        out = b""
    else:
        out = json.dumps({"spans": spans, "first": first, "last": last}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(out))]})
    await send({"type": "http.response.body", "body": out})


if __name__ == "__main__":
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(sys.argv[1])))
    uvicorn.Server(
        uvicorn.Config(app, loop="uvloop", http="httptools", lifespan="off", access_log=False, log_config=None)
    ).run(sockets=[listener])
