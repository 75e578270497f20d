"""HTTP connections for one request at a time, each of which ends in time whatever the other side does."""

from __future__ import annotations

import http.client
import socket
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
import urllib3.connection

from otel_bridge.export.deadline import deadline


class _HeaderLines:
    """A stream's lines, and whether the last of them was the empty one that ends headers."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.ended = False

    def readline(self, limit: int = -1) -> bytes:
        line: bytes = self.stream.readline(limit)
        self.ended = line in (b"\r\n", b"\n")
        return line

    def close(self) -> None:
        """http.client closes what it cannot read as HTTP."""
        self.stream.close()


class _Response(http.client.HTTPResponse):
    """http.client takes headers for whole that the connection's end has cut short: a status line alone would be an
    answer, and what is not answered would count as delivered."""

    def begin(self) -> None:
        stream = self.fp
        lines = _HeaderLines(stream)
        self.fp = lines  # type: ignore[assignment]
        try:
            super().begin()
        finally:
            if self.fp is not None:  # else http.client has closed it
                self.fp = stream
        if not lines.ended:
            raise http.client.RemoteDisconnected("the answer ends within its headers")


class _Dialling:
    """How either kind of connection is made."""

    timeout: Any
    host: str
    port: int

    def connect(self) -> None:
        deadline.connecting = True
        super().connect()  # type: ignore[misc]
        deadline.connecting = False

    def _new_conn(self) -> socket.socket:
        """Each address of a name gets its share of the time: one that swallows everything leaves some for the next."""
        whole = self.timeout
        self.timeout = whole / _addresses(self.host, self.port)
        try:
            sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        finally:
            self.timeout = whole
        sock.settimeout(whole)
        deadline.dialling(sock)
        return sock

    def _tunnel(self) -> None:
        try:
            super()._tunnel()  # type: ignore[misc]
            if deadline.passed:  # the end of a connection that was cut looks like the end of its headers
                raise TimeoutError("no whole answer in time")
        except Exception:
            # Else urllib3 takes this for an answer of the endpoint.
            self._has_connected_to_proxy = False
            raise

    def request(self, *arguments: Any, **options: Any) -> None:
        super().request(*arguments, **options)  # type: ignore[misc]
        deadline.answering(self.sock)  # type: ignore[attr-defined]


class _Connection(_Dialling, urllib3.connection.HTTPConnection):
    response_class = _Response


class _TlsConnection(_Dialling, urllib3.connection.HTTPSConnection):
    response_class = _Response


class Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def connections(proxy: str | None, options: dict[str, Any]) -> urllib3.PoolManager:
    """Such connections, made as they are needed; through an HTTP proxy where there is one. A login in its URL is sent
    as the header that it is for."""
    if proxy is None:
        made = urllib3.PoolManager(**options)
    else:
        parts = urlsplit(proxy)
        login, at, address = parts.netloc.rpartition("@")
        headers = urllib3.make_headers(proxy_basic_auth=unquote(login)) if at else None
        made = urllib3.ProxyManager(f"http://{address}", proxy_headers=headers, **options)
    made.pool_classes_by_scheme = {"http": Pool, "https": TlsPool}
    return made


def _addresses(host: str, port: int) -> int:
    try:
        return len(socket.getaddrinfo(host.strip("[]"), port, 0, socket.SOCK_STREAM)) or 1
    except OSError:
        return 1  # urllib3 asks again, and says why there is none
