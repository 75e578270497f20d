"""Receives bodies within their limits: of one, of all together, and of time."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Mapping
from typing import Any

from starlette.types import Message, Receive

from otel_bridge import contract, errors
from otel_bridge.contract import MAX_OBJECT_BYTES
from otel_bridge.errors import Problem

MAX_BATCH_BYTES = 8 << 20
MAX_BODIES_BYTES = 256 << 20
"""All bodies that are being received or are in hand, together: what senders can make the process hold."""
SMALL_BODY_BYTES = 16 << 10
"""Up to here a body is not counted once it has been received: what it costs until it is answered, a connection does."""
SWEEP_SECONDS = 1.0


class Bodies:
    """Receives bodies within their limits: of one, of all together, and of time."""

    def __init__(self, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self._held = 0
        # Who waits for the first piece of a body, and since when. One sweep a second ends those that wait too long:
        # a timer a request costs more than decoding the request does, and nearly no request needs its own.
        self._waiting: dict[asyncio.Task[Any], float] = {}
        self._sweeping = False

    async def read(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """The whole body, inflated. Raises Problem (400, 408, 413, 415, 503)."""
        kind = headers.get(b"content-type")
        if kind is None and b"origin" in headers:
            # A page of any origin can make a browser post without a type and without asking first (CORS).
            raise Problem(errors.UNSUPPORTED_MEDIA)
        check_type(kind)
        encoding = headers.get(b"content-encoding", b"").strip().lower()
        if encoding not in (b"", b"identity", b"gzip"):
            raise Problem(errors.UNSUPPORTED_MEDIA, "«Content-Encoding» solo puede ser gzip.")
        declared = headers.get(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > MAX_BATCH_BYTES:
            raise _too_large(MAX_BATCH_BYTES)
        message = await self._first(receive)
        if not message.get("more_body", False):
            raw = message.get("body", b"")
        else:
            raw = await self._rest(message, receive)
        body = _inflate(raw) if encoding == b"gzip" else raw
        if len(body) > MAX_OBJECT_BYTES and not contract.is_batch(body):
            raise _too_large(MAX_OBJECT_BYTES)
        return body

    def keep(self, body: bytes) -> int:
        """Counts a body for as long as it is in hand; the bytes to `release` then. Raises Problem (503)."""
        size = len(body)
        if size <= SMALL_BODY_BYTES:
            return 0
        if self._held + size > MAX_BODIES_BYTES:
            raise Problem(errors.QUEUE_FULL, headers={"Retry-After": "1"})
        self._held += size
        return size

    def release(self, kept: int) -> None:
        self._held -= kept

    async def _first(self, receive: Receive) -> Message:
        """The first piece of the body, which is nearly always all of it."""
        if not getattr(getattr(receive, "__self__", None), "more_body", True):
            return _connected(await receive())  # uvicorn has all of it already: nothing to watch
        task = asyncio.current_task()
        assert task is not None
        self._waiting[task] = time.monotonic()
        if not self._sweeping:
            self._sweeping = True
            asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)
        try:
            return _connected(await receive())
        except asyncio.CancelledError:
            if task in self._waiting:
                raise  # not our sweep: the server stops
            raise Problem(errors.BODY_TIMEOUT) from None
        finally:
            self._waiting.pop(task, None)

    def _sweep(self) -> None:
        overdue = time.monotonic() - self.timeout_seconds
        for task in [task for task, since in self._waiting.items() if since < overdue]:
            del self._waiting[task]
            task.cancel()
        self._sweeping = bool(self._waiting)
        if self._sweeping:
            asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    async def _rest(self, message: Message, receive: Receive) -> bytes:
        chunks, size = [], 0
        try:
            async with asyncio.timeout(self.timeout_seconds):
                while True:
                    chunk = message.get("body", b"")
                    size += len(chunk)
                    self._held += len(chunk)
                    if size > MAX_BATCH_BYTES:
                        raise _too_large(MAX_BATCH_BYTES)
                    if self._held > MAX_BODIES_BYTES:
                        raise Problem(errors.QUEUE_FULL, headers={"Retry-After": "1"})
                    chunks.append(chunk)
                    if not message.get("more_body", False):
                        return b"".join(chunks)
                    message = _connected(await receive())
        except TimeoutError:
            raise Problem(errors.BODY_TIMEOUT) from None
        finally:
            self._held -= size


class Gone(Exception):
    """The client closed the connection before its body was complete: nobody is there to answer."""


def _connected(message: Message) -> Message:
    if message["type"] == "http.disconnect":
        raise Gone
    return message


def check_type(value: bytes | None) -> None:
    """Raises Problem (415) for a `Content-Type` that is not JSON in UTF-8."""
    if value is None or value == b"application/json":
        return
    kind, _, parameters = value.partition(b";")
    kind = kind.strip().lower()
    if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise Problem(errors.UNSUPPORTED_MEDIA)
    charset = parameters.strip().lower().replace(b'"', b"").replace(b" ", b"")
    if charset.startswith(b"charset=") and charset not in (b"charset=utf-8", b"charset=utf8"):
        raise Problem(errors.UNSUPPORTED_MEDIA, "El cuerpo debe estar en UTF-8.")


def _inflate(raw: bytes) -> bytes:
    """gzip → bytes, stopping at the limit: a bomb costs no more than an honest batch."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        body = inflater.decompress(raw, MAX_BATCH_BYTES + 1)
    except zlib.error:
        raise Problem(errors.ENCODING_MALFORMED) from None
    if len(body) > MAX_BATCH_BYTES:
        raise _too_large(MAX_BATCH_BYTES)
    if not inflater.eof or inflater.unused_data:
        raise Problem(errors.ENCODING_MALFORMED)
    return body


def _too_large(limit: int) -> Problem:
    what = "un lote" if limit == MAX_BATCH_BYTES else "un objeto"
    return Problem(
        errors.BODY_TOO_LARGE,
        f"El límite de {what} es de {limit >> 20} MiB, ya descomprimido. Divide el envío en lotes más pequeños.",
    )
