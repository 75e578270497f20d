"""The network between a client and PostgreSQL: a proxy that knows its messages, and is slow, silent, or cuts.

It reads what the client says, so that it knows which statement a message runs: the text of a prepared one is in a
message of long before.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

PROTOCOL = 196608


class Cut(Enum):
    """Where a connection ends."""

    BEFORE = "the request does not arrive"
    AMID = "the request arrives, and the connection is gone"
    AFTER = "the server has answered, and the answer does not arrive"


@dataclass
class _Statements:
    """What a client has sent: names of prepared statements, and what runs now."""

    names: dict[bytes, bytes] = field(default_factory=dict)
    begun: bool = False
    rest: bytes = b""

    def read(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """(message, statement that it runs or b"") of each whole message; the rest waits for the next call."""
        data = self.rest + data
        found = []
        while True:
            head = 1 if self.begun else 0
            if len(data) < head + 4:
                break
            size = head + int(struct.unpack_from("!i", data, head)[0])
            if len(data) < size:
                break
            message, data = data[:size], data[size:]
            found.append((message, self._statement(message)))
        self.rest = data
        return found

    def _statement(self, message: bytes) -> bytes:
        if not self.begun:
            self.begun = struct.unpack_from("!i", message, 4)[0] == PROTOCOL
            return b""
        kind, body = message[:1], message[5:]
        if kind == b"Q":
            return body.rstrip(b"\0")
        if kind == b"P":
            name, text = body.split(b"\0", 2)[:2]
            self.names[name] = text
        elif kind == b"B":
            return self.names.get(body.split(b"\0", 2)[1], b"")
        return b""


class Wire:
    """Listens on a port of its own and leads to `port`."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.delay = 0.0
        """Seconds that each answer takes longer."""
        self.silent = False
        """Nothing passes any more, and nobody is told: as behind a firewall that forgot the connection."""
        self.cuts = 0
        """Connections that were cut by `cut`."""
        self._cut: tuple[Cut, re.Pattern[bytes]] | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.port = free_port()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._listen, daemon=True).start()

    def cut(self, where: Cut, like: str) -> None:
        """Cuts the next connection that runs a statement with this expression in it."""
        self._cut = (where, re.compile(like.encode(), re.IGNORECASE | re.DOTALL))

    def break_off(self) -> None:
        """Ends what is open."""
        for one in list(self._open):
            _end(one)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.break_off()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=10)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open |= {client, server}
        deaf = threading.Event()
        answers = threading.Thread(target=self._answers, args=(client, server, deaf), daemon=True)
        answers.start()
        with contextlib.suppress(OSError):
            self._requests(client, server, deaf)
        _end(client)
        _end(server)
        answers.join()
        self._open -= {client, server}
        client.close()
        server.close()

    def _requests(self, client: socket.socket, server: socket.socket, deaf: threading.Event) -> None:
        said = _Statements()
        where: Cut | None = None
        while data := client.recv(65536):
            self._wait_while(lambda: self.silent)
            for message, statement in said.read(data):
                where = where or self._due(statement)
                if where is Cut.BEFORE:
                    return
                if where is Cut.AFTER:
                    deaf.set()
                server.sendall(message)
                if where is not None and message[:1] in (b"S", b"Q"):  # the request's end
                    if where is Cut.AFTER:
                        client.recv(1)  # until `_answers` has seen the answer
                    return

    def _due(self, statement: bytes) -> Cut | None:
        with self._lock:
            if self._cut is None or not statement or not self._cut[1].search(statement):
                return None
            where, self._cut = self._cut[0], None
            self.cuts += 1
            return where

    def _answers(self, client: socket.socket, server: socket.socket, deaf: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                time.sleep(self.delay)
                self._wait_while(lambda: self.silent)
                if not deaf.is_set():
                    client.sendall(data)
                elif data[-6:-1] == b"Z\0\0\0\5":  # ready for the next: the statement is done
                    break
        _end(client)

    def _wait_while(self, condition: Callable[[], bool]) -> None:
        if condition():
            with contextlib.suppress(AssertionError):
                wait_for(lambda: not condition(), "a wire that speaks again", 600)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
