"""Replicas behind a real Caddy: who gets what, while they die, are not ready, or break off."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.harness.bridge import GUIDE_SESSION, Bridge
from tests.harness.caddy import Caddy
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for


class BreaksOff:
    """Says that it is ready, takes every other request whole, and closes the connection without an answer."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        """First lines of the requests that it broke off."""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as request, contextlib.suppress(OSError):
                first = request.readline().decode().strip()
                if not first:  # it was only looked whether somebody listens here
                    continue
                headers = dict(line.decode().lower().split(":", 1) for line in iter(request.readline, b"\r\n"))
                request.read(int(headers.get("content-length", 0)))
                if "/readyz" in first:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                else:
                    self.taken.append(first)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


class Front:
    """A Caddy before two bridges, each with a journal of its own, so that what each one took can be counted. A test
    says what each is to be, and finds them as the one before has left them."""

    def __init__(self, folder: Path) -> None:
        self.bridges = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            self.bridges.append(Bridge(folder / name))
        addresses = " ".join(f"127.0.0.1:{bridge.port}" for bridge in self.bridges)
        self.caddy = Caddy(folder, addresses, f"127.0.0.1:{free_port()}", "replicas")
        self._are = [DEAD, DEAD]

    def be(self, *wanted: str) -> None:
        """Makes the bridges ready, not ready or dead."""
        for at, (bridge, now) in enumerate(zip(self.bridges, wanted, strict=True)):
            if self._are[at] != now:
                if self._are[at] != DEAD:
                    bridge.kill()
                bridge.environ["OTEL_BRIDGE_DISK_MIN_FREE"] = "900TiB" if now == NOT_READY else "1MiB"
                if now != DEAD:
                    bridge.start(wait=False)
                self._are[at] = now
        for bridge, now in zip(self.bridges, wanted, strict=True):
            if now == READY:
                bridge.wait_ready()
            elif now == NOT_READY:
                wait_for(lambda at=bridge: _readiness(at) == 503, "a bridge that is not ready", 30)

    def post(self) -> int:
        """The answer to a session's opening."""
        return requests.post(f"{self.caddy.url}/api/sessions", json=GUIDE_SESSION, timeout=30).status_code

    def post_many(self, count: int = 24) -> list[int]:
        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(lambda _: self.post(), range(count)))

    def wait_until_known(self) -> None:
        """Until Caddy knows who is ready, which it asks every second: of many posts side by side, all go well by chance
        only where it does."""
        wait_for(lambda: self.post_many() == [201] * 24, "posts that are all taken", 15)

    def close(self) -> None:
        self.caddy.close()
        for bridge in self.bridges:
            bridge.close()


READY, NOT_READY, DEAD = "ready", "not ready", "dead"


def _readiness(bridge: Bridge) -> int:
    return requests.get(f"{bridge.url}/readyz", timeout=2).status_code


def sessions(bridge: Bridge) -> float:
    return bridge.metric("gpt_sessions_total")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    made = Front(tmp_path_factory.mktemp("front"))
    try:
        made.be(READY, READY)
        made.caddy.start()
        yield made
    finally:
        made.close()


def test_all_that_are_ready_get_their_part(front: Front) -> None:
    front.be(READY, READY)
    front.wait_until_known()
    before = [sessions(bridge) for bridge in front.bridges]
    assert front.post_many() == [201] * 24
    assert all(sessions(bridge) > counted for bridge, counted in zip(front.bridges, before, strict=True))


@pytest.mark.parametrize("other", [DEAD, NOT_READY])
def test_one_that_is_dead_or_not_ready_gets_nothing(front: Front, other: str) -> None:
    front.be(other, READY)
    front.wait_until_known()
    before = sessions(front.bridges[1])
    assert front.post_many() == [201] * 24
    assert sessions(front.bridges[1]) == before + 24


def test_while_none_is_ready_a_request_waits_and_the_first_that_is_answers_it(front: Front) -> None:
    """Read with GET: Debian's Caddy 2.6 answers a post with 503 at once."""
    front.be(DEAD, DEAD)
    unknown = f"{front.caddy.url}/api/sessions/019a0000-0000-7000-8000-000000000000"
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(requests.get, unknown, timeout=30)
        front.be(READY, DEAD)
        answer = waiting.result(30)
    assert answer.status_code == 404 and answer.json()["type"] == "urn:otel-bridge:sesion-no-encontrada"
    front.wait_until_known()


# --- what was sent ----------------------------------------------------------------------------------------------------


@pytest.fixture
def breaking(tmp_path: Path) -> Iterator[tuple[Caddy, list[BreaksOff]]]:
    ends = [BreaksOff(), BreaksOff()]
    caddy = Caddy(tmp_path, " ".join(end.address for end in ends), f"127.0.0.1:{free_port()}", "replicas").start()
    yield caddy, ends
    caddy.close()
    for end in ends:
        end.close()


def test_a_post_that_was_sent_is_never_sent_again(breaking: tuple[Caddy, list[BreaksOff]]) -> None:
    caddy, ends = breaking
    answer = requests.post(f"{caddy.url}/api/sessions", json=GUIDE_SESSION, timeout=30)
    assert answer.status_code == 502
    assert answer.headers["Content-Type"] == "application/problem+json" and answer.headers["Retry-After"]
    assert [line for end in ends for line in end.taken] == ["POST /api/sessions HTTP/1.1"]
