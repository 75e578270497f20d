"""The issuer's keys: looked up by one worker, at a real HTTP server that can be made to fail."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from otel_bridge import config
from otel_bridge.access import jwks, provider
from otel_bridge.access.jwks import IssuerKeys
from otel_bridge.access.place import Place, ProviderError
from otel_bridge.access.provider import OAUTH, OPENID, metadata_urls, read_keys
from otel_bridge.ops.supervisor import Worker
from tests.harness.waiting import wait_for

KEY = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "use": "sig"}
Answer = tuple[int, bytes, float]
"""Status, body, seconds before the body."""


class Server:
    """Answers by path; what it does not know is 404."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.location = ""
        self.goes_on = threading.Event()
        """Until then no body comes."""
        self.goes_on.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                status, body, seconds = outer.answers.get(self.path, (404, b"no", 0.0))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if outer.location:
                    self.send_header("Location", outer.location)
                self.end_headers()
                time.sleep(seconds)
                outer.goes_on.wait(60)
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def says(self, path: str, document: object) -> None:
        self.answers[path] = (200, json.dumps(document).encode(), 0.0)

    def publishes(self, *kids: str) -> None:
        self.says(OAUTH, {"issuer": self.url, "jwks_uri": f"{self.url}/keys"})
        self.says("/keys", {"keys": [{**KEY, "kid": kid} for kid in kids]})

    def close(self) -> None:
        self.goes_on.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def place(issuer: str, jwks_url: str | None = None) -> Place:
    return Place(issuer, jwks_url, ())


# --- documents ------------------------------------------------------------------------------------------------------


def test_metadata_is_looked_for_where_mcp_clients_do() -> None:
    assert metadata_urls("https://a.example") == [f"https://a.example{OAUTH}", f"https://a.example{OPENID}"]
    assert metadata_urls("https://a.example/") == metadata_urls("https://a.example")
    assert metadata_urls("https://a.example/t/v2.0/") == [
        f"https://a.example{OAUTH}/t/v2.0", f"https://a.example{OPENID}/t/v2.0", f"https://a.example/t/v2.0{OPENID}"
    ]  # fmt: skip


@pytest.mark.parametrize("path", [OAUTH, OPENID])
@pytest.mark.parametrize("slash", ["", "/"])
def test_the_metadata_tells_where_the_keys_are(server: Server, path: str, slash: str) -> None:
    server.says(path, {"issuer": server.url + slash, "jwks_uri": f"{server.url}/k?v=2"})
    server.says("/k?v=2", {"keys": [KEY]})
    assert read_keys(place(server.url)) == [KEY]


def test_a_configured_address_of_the_keys_is_asked_alone(server: Server) -> None:
    server.says("/k", {"keys": [KEY]})
    assert read_keys(place("https://login.example", f"{server.url}/k")) == [KEY]
    assert server.asked == ["/k"]


BAD: dict[str, tuple[object, str]] = {
    "another issuer": ({"issuer": "https://evil.example", "jwks_uri": "{url}/k"}, "another issuer"),
    "no issuer": ({"jwks_uri": "{url}/k"}, "another issuer"),
    "no address": ({"issuer": "{url}"}, "no jwks_uri"),
    "an address that is none": ({"issuer": "{url}", "jwks_uri": 7}, "no jwks_uri"),
    "a file": ({"issuer": "{url}", "jwks_uri": "file:///etc/passwd"}, "no jwks_uri"),
    "a list": ([], "no JSON object"),
}


@pytest.mark.parametrize(("document", "said"), BAD.values(), ids=BAD)
def test_bad_metadata_is_named_in_words(server: Server, document: Any, said: str) -> None:
    written = json.loads(json.dumps(document).replace("{url}", server.url))
    server.says(OAUTH, written)
    with pytest.raises(ProviderError, match=said) as caught:
        read_keys(place(server.url))
    assert "HTTP 404" in str(caught.value)  # what the other address said


def test_an_issuer_over_tls_cannot_send_to_keys_without(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"issuer": "https://a.example", "jwks_uri": "http://a.example/k"}
    monkeypatch.setattr(provider, "_read", lambda *_: found)
    with pytest.raises(ProviderError, match="no jwks_uri"):
        read_keys(place("https://a.example"))


def test_the_way_goes_through_the_proxy_that_the_variables_name(server: Server) -> None:
    server.says("http://login.example/k", {"keys": [KEY]})
    through = (("http_proxy", server.url), ("no_proxy", "direct.example"))
    assert read_keys(Place("http://login.example", "http://login.example/k", through)) == [KEY]
    with pytest.raises(ProviderError):
        read_keys(Place("http://direct.example", "http://direct.example/k", through))
    assert server.asked == ["http://login.example/k"]


def test_what_is_no_set_of_keys_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    at = place("https://login.example", f"{server.url}/k?secret=1")
    path = "/k?secret=1"
    said: dict[str, Answer] = {
        "no set of keys": (200, b"{}", 0),
        "HTTP 500": (500, b"{}", 0),
        "no JSON object": (200, b"<html>", 0),
        "512 KiB": (200, b'{"keys":"' + b"x" * (600 << 10) + b'"}', 0),
        "no whole answer|Timeout|Protocol": (200, b"{}", 5),
        "redirects are not followed": (302, b"", 0),
    }
    for words, answer in said.items():
        server.location = f"{server.url}/other" if answer[0] == 302 else ""
        server.answers[path] = answer
        with monkeypatch.context() as impatient, pytest.raises(ProviderError, match=words) as caught:
            impatient.setattr(provider, "SECONDS", 0.3 if answer[2] else 60.0)
            read_keys(at)
        assert "secret" not in str(caught.value)
    assert "/other" not in server.asked


# --- what is known of them ------------------------------------------------------------------------------------------


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(jwks, "_monotonic", made)
    return made


@pytest.fixture
def run(tmp_path: Path, server: Server) -> Iterator[Callable[..., IssuerKeys]]:
    """`run()` → keys whose worker runs."""
    started: list[tuple[IssuerKeys, Worker]] = []

    def load(issuer: str) -> config.Config:
        file = tmp_path / "otel-bridge.toml"
        file.write_text(f'public_url = "https://b.example"\noauth_issuer = "{issuer}"\n[gpts.a]\n', encoding="utf-8")
        return config.load(str(file), {})

    def start(issuer: str | None = None) -> IssuerKeys:
        found = IssuerKeys(load(issuer or server.url))
        worker = Worker("issuer-keys", found.run)
        started.append((found, worker))
        worker.start()
        return found

    start.load = load  # type: ignore[attr-defined]
    yield start
    for found, worker in started:
        worker.stopping.set()
        found.stop()
        worker.stop()


def kids(keys: IssuerKeys) -> list[str]:
    return [] if keys.known is None else [document["kid"] for document in keys.known.documents]


def looked_up(keys: IssuerKeys, callers: int = 1, then: Callable[[], object] = lambda: None) -> list[bool]:
    """For each of these callers, whether it had to wait; all have come back. `then` is called when all have asked."""

    async def ask() -> list[bool]:
        futures = [keys.look_up() for _ in range(callers)]
        then()
        for future in futures:
            if future is not None:
                await future
        return [future is not None for future in futures]

    return asyncio.run(ask())


def test_keys_are_looked_up_at_the_start_and_again_when_they_are_old(
    server: Server, clock: Clock, run: Callable[..., IssuerKeys]
) -> None:
    server.publishes("a")
    keys = run()
    wait_for(lambda: kids(keys) == ["a"], "the keys")
    known = keys.known
    server.publishes("b")
    clock.now += jwks.REFRESH_SECONDS + 1
    keys._wake.set()
    wait_for(lambda: kids(keys) == ["b"], "the new keys")
    assert known is not keys.known


def test_the_same_keys_are_the_same_object(server: Server, clock: Clock, run: Callable[..., IssuerKeys]) -> None:
    server.publishes("a")
    keys = run()
    wait_for(lambda: keys.known, "the keys")
    known = keys.known
    clock.now += 10
    assert looked_up(keys) == [True] and keys.known is known


def test_many_callers_wait_for_one_look_up(server: Server, clock: Clock, run: Callable[..., IssuerKeys]) -> None:
    server.publishes("a")
    keys = run()
    wait_for(lambda: keys.known, "the keys")
    server.asked.clear()
    server.publishes("b")
    server.goes_on.clear()
    clock.now += 10
    assert looked_up(keys, jwks.MAX_WAITING + 5, server.goes_on.set) == [True] * jwks.MAX_WAITING + [False] * 5
    assert kids(keys) == ["b"] and server.asked.count("/keys") <= 2  # one may have been under way
    assert looked_up(keys, 3) == [False] * 3, "just looked up: what is known is all there is"
    clock.now += jwks.UNKNOWN_SECONDS + 0.1
    assert looked_up(keys) == [True]


def test_a_provider_that_is_away_leaves_its_keys_known_for_a_day(
    server: Server, clock: Clock, run: Callable[..., IssuerKeys]
) -> None:
    server.publishes("a")
    keys = run()
    wait_for(lambda: keys.known, "the keys")
    server.answers.clear()
    clock.now += 10
    assert looked_up(keys) == [True] and keys.failing and kids(keys) == ["a"]
    clock.now += jwks.STALE_SECONDS - 20
    assert kids(keys) == ["a"]
    clock.now += 20
    assert kids(keys) == []
    server.publishes("c")
    assert looked_up(keys) == [True] and kids(keys) == ["c"] and not keys.failing


def test_pauses_grow_while_a_provider_is_away(server: Server, clock: Clock, run: Callable[..., IssuerKeys]) -> None:
    keys = run()
    wait_for(lambda: keys.failing, "a failure")
    waits = []
    for _ in range(7):
        waits.append(keys.retry_after())
        clock.now += waits[-1]
        assert looked_up(keys) == [True]
        assert looked_up(keys) == [False]
    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_a_caller_waits_no_longer_than_its_time(
    server: Server, clock: Clock, run: Callable[..., IssuerKeys], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.publishes("a")
    keys = run()
    wait_for(lambda: keys.known, "the keys")
    monkeypatch.setattr(jwks, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(provider, "SECONDS", 60.0)
    server.goes_on.clear()
    clock.now += 10
    assert looked_up(keys) == [True]
    assert keys.unsettled
    server.goes_on.set()
    wait_for(lambda: not keys.unsettled, "the end of the look-up")


def test_a_stop_keeps_nobody_waiting(
    server: Server, clock: Clock, run: Callable[..., IssuerKeys], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.publishes("a")
    keys = run()
    wait_for(lambda: keys.known, "the keys")
    monkeypatch.setattr(jwks, "WAIT_SECONDS", 60.0)
    monkeypatch.setattr(provider, "SECONDS", 60.0)
    server.goes_on.clear()
    clock.now += 10

    async def ask() -> None:
        future = keys.look_up()
        assert future is not None
        keys.stop()
        await asyncio.wait_for(future, 30)

    asyncio.run(ask())
    server.goes_on.set()


def test_who_asks_when_a_look_up_has_just_ended_waits_for_the_next(
    server: Server, clock: Clock, run: Callable[..., IssuerKeys]
) -> None:
    server.publishes("a")
    keys = run()
    wait_for(lambda: keys.known, "the keys")
    taken, goes_on, take = threading.Event(), threading.Event(), keys._take

    class Lock:
        """Its holder stands still once it has let go of it, after the keys were taken."""

        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.halts = False

        def __enter__(self) -> None:
            self.lock.acquire()

        def __exit__(self, *_: object) -> None:
            halts, self.halts = self.halts, False
            self.lock.release()
            if halts:
                taken.set()
                assert goes_on.wait(30)

    lock = Lock()

    def take_and_halt(*given: Any) -> None:
        take(*given)
        lock.halts = not taken.is_set()

    keys._lock, keys._take = lock, take_and_halt  # type: ignore[assignment, method-assign]

    clock.now += jwks.REFRESH_SECONDS + 1
    keys._wake.set()
    assert taken.wait(30)
    clock.now += 10
    server.publishes("b")
    assert looked_up(keys, then=goes_on.set) == [True] and kids(keys) == ["b"]


def test_another_issuer_begins_anew(server: Server, clock: Clock, run: Callable[..., IssuerKeys]) -> None:
    server.publishes("a")
    keys = run()
    wait_for(lambda: keys.known, "the keys")
    same: config.Config = run.load(server.url)  # type: ignore[attr-defined]
    keys.configure(same)
    assert kids(keys) == ["a"]
    keys.configure(run.load("http://127.0.0.1:9"))  # type: ignore[attr-defined]
    assert kids(keys) == []
    wait_for(lambda: keys.failing, "a failure")


def test_who_waits_for_a_worker_that_dies_is_let_go(
    server: Server, clock: Clock, run: Callable[..., IssuerKeys], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.publishes("a")
    keys = run()
    wait_for(lambda: keys.known, "the keys")
    died = threading.Event()

    def die(place: Place) -> list[Any]:
        if died.is_set():
            return [{**KEY, "kid": "after"}]
        died.set()
        raise MemoryError

    monkeypatch.setattr(provider, "read_keys", die)
    clock.now += 10
    assert looked_up(keys) == [True] and died.is_set() and kids(keys) == ["a"]
    clock.now += 10
    wait_for(lambda: looked_up(keys) and kids(keys) == ["after"], "keys by the worker that was started again")
