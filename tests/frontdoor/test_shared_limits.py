"""Limits that replicas share through a real Redis: three bridges, each with a journal of its own, one of them with a
clock an hour ahead."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from otel_bridge.access import keys
from tests.frontdoor.conftest import Serve
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, ROOT, Bridge
from tests.harness.redis import RedisServer
from tests.harness.waiting import wait_for

API_KEY = f"otb_{'k' * 43}"
CONFIG = f"""
[gpts.uno]
api_key_hashes = ["{keys.hash_of(API_KEY.encode())}"]
[gpts.dos]
[gpts.deprisa]
rate_limit = "100000/day"
"""
SECRET = "s3cr3t"
LIMIT, DAY = 40, 86_400
ENVIRON = {
    "OTEL_BRIDGE_RATE_LIMIT": f"{LIMIT}/day",
    "OTEL_BRIDGE_USER_HASH_KEY": "one key of all the replicas",
    "OTEL_BRIDGE_SHUTDOWN_SECONDS": "1",
    "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'chaos'}",
    "CHAOS_REDIS_SECONDS": "2",
}
AHEAD = {"CHAOS_AHEAD_SECONDS": "3600"}
_addresses = (f"198.51.100.{i}" for i in itertools.count(1))


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), "--requirepass", SECRET)
    server.password = SECRET
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def replicas(redis: RedisServer, serve: Serve) -> list[Bridge]:
    url = f"redis://:{SECRET}@127.0.0.1:{redis.port}/2"
    return [serve(CONFIG, **ENVIRON, OTEL_BRIDGE_RATE_LIMIT_STORAGE=url, **more) for more in ({}, {}, AHEAD)]


@pytest.fixture
def caller() -> dict[str, str]:
    """The headers of a caller of whom nothing has been counted."""
    return {"X-Forwarded-For": next(_addresses)}


def opened(bridge: Bridge, headers: dict[str, str], gpt: str = "dos") -> requests.Response:
    url = f"{bridge.api}/sessions"  # a connection of its own: threads call this
    return requests.post(url, json={**GUIDE_SESSION, "gpt_id": gpt}, headers=headers, timeout=30)


def limits_of(bridge: Bridge) -> str:
    return str(bridge.http.get(f"{bridge.url}/readyz", timeout=5).json()["limites"])


def shared(bridge: Bridge) -> bool:
    return bridge.metric("otel_bridge_limits_fallback") == 0 and limits_of(bridge) == "normales"


def test_three_replicas_under_load_let_in_what_one_machine_would(
    replicas: list[Bridge], caller: dict[str, str]
) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda i: opened(replicas[i % 3], caller), range(3 * LIMIT)))
    assert sorted(answer.status_code for answer in answers) == [201] * LIMIT + [429] * 2 * LIMIT
    for bridge in replicas:
        refused = opened(bridge, caller)
        assert 0 < int(refused.headers["Retry-After"]) <= DAY
        assert refused.headers["RateLimit-Reset"] == refused.headers["Retry-After"]
        assert refused.headers["RateLimit-Limit"] == str(LIMIT)
        assert refused.headers["RateLimit-Remaining"] == "0"
        assert refused.headers["RateLimit-Policy"] == f"{LIMIT};w={DAY}"
        assert shared(bridge)
    began = time.monotonic()
    waits = [int(opened(bridge, caller).headers["Retry-After"]) for bridge in replicas]
    # The clock of Redis counts, not theirs.
    assert max(waits) - min(waits) <= 1 + time.monotonic() - began


def test_the_items_of_batches_on_several_replicas_count_together(
    replicas: list[Bridge], caller: dict[str, str]
) -> None:
    sessions = [opened(bridge, caller).json()["id"] for bridge in replicas]
    batches = [[{**GUIDE_EVENT, "sesion_id": session}] * 12 for session in sessions]
    answers = [
        bridge.post("/events", batch, headers=caller)
        for bridge, batch in zip(replicas, [*batches[:2], batches[2]], strict=True)
    ]
    assert [answer.status_code for answer in answers] == [201] * 3
    refused = replicas[0].post("/events", batches[0][:2], headers=caller)
    assert refused.status_code == 429 and refused.headers["RateLimit-Remaining"] == "1"
    assert replicas[1].post("/events", batches[1][:1], headers=caller).status_code == 201
    assert replicas[2].post("/events", batches[2][:1], headers=caller).status_code == 429
    too_much = replicas[2].post("/events", [batches[2][0]] * (LIMIT + 1), headers=caller)
    assert too_much.status_code == 429 and f"lotes de {LIMIT} como mucho" in too_much.json()["detail"]


@pytest.mark.parametrize("guess", ["a key", "a GPT"])
def test_what_is_guessed_on_one_replica_is_spent_on_the_others(
    replicas: list[Bridge], caller: dict[str, str], guess: str
) -> None:
    wrong = {**caller, "Authorization": "Bearer otb_guess"}
    headers, gpt, status = (wrong, "uno", 401) if guess == "a key" else (caller, "nadie", 404)
    assert {opened(replicas[0], headers, gpt).status_code for _ in range(LIMIT)} == {status}
    assert opened(replicas[0], headers, gpt).status_code == 429
    # A guess waits for no Redis: each other replica learns by its first one.
    assert opened(replicas[1], headers, gpt).status_code == status
    wait_for(lambda: opened(replicas[1], headers, gpt).status_code == 429, "a guess that is refused elsewhere")
    good = {**caller, "Authorization": f"Bearer {API_KEY}"}
    assert opened(replicas[1], good, "uno").status_code == 201


def test_redis_holds_no_address_and_no_key_and_forgets_by_itself(
    redis: RedisServer, replicas: list[Bridge], caller: dict[str, str]
) -> None:
    opened(replicas[0], caller)
    opened(replicas[0], {**caller, "Authorization": f"Bearer {API_KEY}"}, "uno")
    opened(replicas[0], {**caller, "Authorization": "Bearer otb_guess"}, "uno")
    names = redis("EVAL", "redis.call('SELECT', 2) return redis.call('KEYS', '*')", 0)
    assert len(names) >= 3 and all(name.startswith("{otel-bridge:") for name in names)
    for told in (caller["X-Forwarded-For"], API_KEY[:12], keys.hash_of(API_KEY.encode())[7:19]):
        assert not any(told in name for name in names)
    lives = redis("EVAL", "redis.call('SELECT', 2) local t = {} for i, k in ipairs(redis.call('KEYS', '*')) do "
                  "t[i] = redis.call('TTL', k) end return t", 0)  # fmt: skip
    assert all(0 <= life <= 2 * DAY for life in lives)


class Load:
    """Posts to a bridge from several threads, until told to stop."""

    def __init__(self, bridge: Bridge, threads: int = 6) -> None:
        self.statuses: list[int] = []
        self._bridge = bridge
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._post, args=(i,)) for i in range(threads)]
        self._session = opened(bridge, {}, "deprisa").json()["id"]
        for thread in self._threads:
            thread.start()

    def _post(self, number: int) -> None:
        with requests.Session() as http:
            while not self._ends.is_set():
                event = {**GUIDE_EVENT, "sesion_id": self._session}
                headers = {"X-Forwarded-For": f"203.0.113.{number}"}
                answer = http.post(f"{self._bridge.api}/events", json=event, headers=headers, timeout=30)
                self.statuses.append(answer.status_code)

    def more(self, count: int = 50) -> None:
        before = len(self.statuses)
        wait_for(lambda: len(self.statuses) > before + count, "more answers")

    def stop(self) -> list[int]:
        self._ends.set()
        for thread in self._threads:
            thread.join()
        return self.statuses


def killed(redis: RedisServer) -> Callable[[], object]:
    redis.kill()
    return redis.start


def frozen(redis: RedisServer) -> Callable[[], object]:
    redis.freeze()
    return redis.thaw


@pytest.mark.parametrize("trouble", [killed, frozen])
def test_a_redis_that_goes_away_under_load_costs_no_request_and_is_used_again_when_it_is_back(
    redis: RedisServer,
    replicas: list[Bridge],
    caller: dict[str, str],
    trouble: Callable[[RedisServer], Callable[[], object]],
) -> None:
    bridge, other = replicas[:2]
    half = LIMIT // 2
    accepted = bridge.metric("otel_bridge_records_total", result="accepted", kind="event")
    assert {opened(bridge, caller).status_code for _ in range(half)} == {201}
    load = Load(bridge)
    load.more()
    mend = trouble(redis)
    wait_for(lambda: bridge.metric("otel_bridge_limits_fallback") == 1, "limits counted alone")
    load.more()
    # What Redis had told of a caller is not forgotten with it; each replica counts on for itself.
    assert [opened(bridge, caller).status_code for _ in range(half + 2)] == [201] * half + [429] * 2
    assert {opened(other, caller).status_code for _ in range(LIMIT)} == {201}
    assert limits_of(bridge).startswith("Redis no está disponible")
    assert bridge.http.get(f"{bridge.url}/readyz", timeout=5).status_code == 200
    mend()
    for one in replicas:  # nobody posts to the others
        wait_for(lambda one=one: shared(one), "limits shared again")  # type: ignore[misc]
    load.more()
    statuses = load.stop()
    assert set(statuses) == {201}
    now = bridge.metric("otel_bridge_records_total", result="accepted", kind="event")
    assert now - accepted == len(statuses)
    assert SECRET not in bridge.output()


def test_a_bridge_that_starts_without_redis_serves_and_says_so_before_anybody_posts(
    tmp_path: Path, serve: Serve
) -> None:
    server = RedisServer(tmp_path, "--requirepass", SECRET)
    bridge = serve(CONFIG, **ENVIRON, OTEL_BRIDGE_RATE_LIMIT_STORAGE=f"redis://u:{SECRET}@127.0.0.1:{server.port}/0")
    assert bridge.metric("otel_bridge_limits_fallback") == 1
    said = [line for line in bridge.output().splitlines() if "Redis is away" in line]
    assert len(said) == 1 and "Connection refused" in said[0]
    assert {opened(bridge, {}).status_code for _ in range(3)} == {201}
    for text in (bridge.output(), bridge.http.get(f"{bridge.url}/readyz", timeout=5).text, bridge.run("check").stdout):
        assert SECRET not in text
    assert bridge.stop() == 0
