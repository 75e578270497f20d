"""Receives bodies within their limits: of one, of all together, and of time."""

from __future__ import annotations

import asyncio
import codecs
import zlib
from collections.abc import Mapping

from starlette.types import Message, Receive

from otel_bridge import contract, errors
from otel_bridge.config import Config
from otel_bridge.contract import MAX_OBJECT_BYTES
from otel_bridge.errors import Problem

MAX_BATCH_BYTES = 8 << 20
MAX_BODIES_BYTES = 256 << 20
"""All bodies that are being received or are in hand, together: what senders can make the process hold."""
MAX_MEMBERS = 1_000
"""Of a gzip body."""
PIECE_BYTES = 64 << 10
"""Of a gzip body that is inflated at once."""
SMALL_BODY_BYTES = 16 << 10
"""Up to here a body is not counted among all: what it costs until it is answered, a connection does."""


class Bodies:
    """All bodies of a bridge that are being received or are in hand."""

    def __init__(self, config: Config) -> None:
        self.held = 0
        """Bytes of those that are counted."""
        self.configure(config)

    def configure(self, config: Config) -> None:
        self.timeout_seconds = config.body_timeout_seconds

    async def read(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """A whole body that comes by ASGI, inflated. Raises Problem (400, 408, 413, 415, 503), Gone."""
        body = Body(self, headers)
        try:
            async with asyncio.timeout(self.timeout_seconds):
                while True:
                    message = _connected(await receive())
                    body.add(message.get("body", b""))
                    if not message.get("more_body", False):
                        return body.whole()
        except TimeoutError:
            raise Problem(errors.BODY_TIMEOUT) from None
        finally:
            body.release()


class Body:
    """One body while it is received and in hand."""

    counted = 0
    """Bytes of it that are counted among all."""
    _gzip = False
    _size = 0

    def __init__(self, bodies: Bodies, headers: Mapping[bytes, bytes]) -> None:
        """Checks what its request's headers say of it. Raises Problem (413, 415)."""
        kind = headers.get(b"content-type")
        if kind is None and b"origin" in headers:
            # A page of any origin can make a browser post without a type and without asking first (CORS).
            raise Problem(errors.UNSUPPORTED_MEDIA)
        if kind is not None and kind != b"application/json":
            _check_type(kind)
        if b"content-encoding" in headers:
            named = [coding.strip() for coding in headers[b"content-encoding"].lower().split(b",")]
            codings = [coding for coding in named if coding not in (b"", b"identity")]
            self._gzip = bool(codings)
            if codings not in ([], [b"gzip"], [b"x-gzip"]):  # RFC 9110, section 8.4.1.3
                raise Problem(errors.UNSUPPORTED_MEDIA, "«Content-Encoding» solo puede ser gzip.")
        declared = headers.get(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > MAX_BATCH_BYTES:
            raise _too_large(MAX_BATCH_BYTES)
        self._bodies = bodies
        self._first = b""
        self._rest: bytearray | None = None
        """What came after the first piece, which is nearly always all. Not a list: a piece may be two bytes."""

    def add(self, piece: bytes) -> None:
        """Takes the next piece. Raises Problem (413, 503)."""
        self._size += len(piece)
        if self._size > SMALL_BODY_BYTES:
            if self._size > MAX_BATCH_BYTES:
                raise _too_large(MAX_BATCH_BYTES)
            self._count(self._size)
        if self._rest is not None:
            self._rest += piece
        elif self._first:
            self._rest = bytearray(piece)
        else:
            self._first = piece

    def whole(self) -> bytes:
        """The body, inflated, when all of it has come; counted until `release`. Raises Problem (400, 413, 503)."""
        body = self._first if self._rest is None else self._first + self._rest
        self._first, self._rest = b"", None
        if self._gzip:
            body = _inflate(body)
        if body.startswith(codecs.BOM_UTF8):
            body = body[len(codecs.BOM_UTF8) :]
        if len(body) > SMALL_BODY_BYTES:
            if len(body) > MAX_OBJECT_BYTES and not contract.is_batch(body):
                raise _too_large(MAX_OBJECT_BYTES)
            self._count(len(body))
        return body

    def _count(self, size: int) -> None:
        if self._bodies.held - self.counted + size > MAX_BODIES_BYTES:
            raise Problem(errors.QUEUE_FULL, headers={"Retry-After": "1"})
        self._bodies.held += size - self.counted
        self.counted = size

    def release(self) -> None:
        """It is in hand no longer."""
        self._first, self._rest = b"", None
        self._bodies.held -= self.counted
        self.counted = 0


class Gone(Exception):
    """The client closed the connection before its body was complete: nobody is there to answer."""


def _connected(message: Message) -> Message:
    if message["type"] == "http.disconnect":
        raise Gone
    return message


def _check_type(value: bytes) -> None:
    """Raises Problem (415) for a `Content-Type` that is not JSON in UTF-8."""
    kind, _, parameters = value.partition(b";")
    kind = kind.strip().lower()
    if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise Problem(errors.UNSUPPORTED_MEDIA)
    charset = parameters.strip().lower().replace(b'"', b"").replace(b" ", b"")
    if charset.startswith(b"charset=") and charset not in (b"charset=utf-8", b"charset=utf8"):
        raise Problem(errors.UNSUPPORTED_MEDIA, "El cuerpo debe estar en UTF-8.")


def _inflate(raw: bytes) -> bytes:
    """gzip of one or several members (RFC 1952, section 2.2) → bytes, stopping at the limit: a bomb costs no more than
    an honest batch."""
    members: list[bytes] = []
    at = count = size = 0
    while at < len(raw) or not count:
        if count == MAX_MEMBERS:
            raise _too_large(MAX_BATCH_BYTES)
        count += 1
        inflater = zlib.decompressobj(wbits=31)
        while not inflater.eof:
            piece = raw[at : at + PIECE_BYTES]  # not all that is left: each member would copy what follows it
            if not piece:
                raise Problem(errors.ENCODING_MALFORMED)
            try:
                inflated = inflater.decompress(piece, MAX_BATCH_BYTES + 1 - size)
            except zlib.error:
                raise Problem(errors.ENCODING_MALFORMED) from None
            size += len(inflated)
            if size > MAX_BATCH_BYTES:
                raise _too_large(MAX_BATCH_BYTES)
            members.append(inflated)
            at += len(piece) - len(inflater.unused_data)
    return b"".join(members)


def _too_large(limit: int) -> Problem:
    what = "un lote" if limit == MAX_BATCH_BYTES else "un objeto"
    return Problem(
        errors.BODY_TOO_LARGE,
        f"El límite de {what} es de {limit >> 20} MiB, ya descomprimido. Divide el envío en lotes más pequeños.",
    )
