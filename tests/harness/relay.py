"""The network between a program and a server: a relay that a test leads elsewhere, cuts or fills with cotton wool."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading

from tests.harness.ports import free_port


class Relay:
    """Takes connections on `port` and passes what they say to `target`, a port of this machine, and back."""

    def __init__(self, target: int) -> None:
        self.target = target
        """Where new connections are led."""
        self.swallows = False
        """Whether what is said goes nowhere, in both directions, and nobody is told."""
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._closed = False
        self.port = free_port()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Resets every connection."""
        for pair in list(self._pairs):
            for end in pair:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._closed:
                here, _ = self._listener.accept()
                threading.Thread(target=self._pass, args=(here,), daemon=True).start()

    def _pass(self, here: socket.socket) -> None:
        with here, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.target)) as there:
            pair = (here, there)
            self._pairs.append(pair)
            try:
                while True:
                    for ready in select.select(pair, [], [])[0]:
                        data = ready.recv(65536)
                        if not data:
                            return
                        if not self.swallows:
                            (there if ready is here else here).sendall(data)
            finally:
                self._pairs.remove(pair)
