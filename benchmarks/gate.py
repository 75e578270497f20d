"""What it costs to let a caller in: CPU time, best of 15. With limits in Redis, of rounds of 64 callers at once.

python benchmarks/gate.py
"""

from __future__ import annotations

import asyncio
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path
from time import process_time

import uvloop

from otel_bridge import config, logs
from otel_bridge.access import keys
from otel_bridge.access.caller import Access, Caller
from otel_bridge.access.limits import RateLimits
from otel_bridge.config import Rate
from otel_bridge.http import responses
from tests.harness.redis import RedisServer

CALLS = 50_000
HEADERS = [
    (b"host", b"127.0.0.1:8000"),
    (b"content-type", b"application/json"),
    (b"content-length", b"160"),
    (b"user-agent", b"bench"),
    (b"accept", b"*/*"),
]
PLENTY = "999999999/day"


def show(name: str, call: Callable[[], object]) -> None:
    best = min(timeit.repeat(call, number=CALLS, repeat=15, timer=process_time)) / CALLS
    print(f"{name:56} {best * 1e6:6.2f} µs")


def admit(name: str, gpt: str, rate: str, *more: tuple[bytes, bytes]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(f"[gpts.devops-expert]\n{gpt}\n")
        file.flush()
        loaded = config.load(str(Path(file.name)), {"OTEL_BRIDGE_RATE_LIMIT": rate})
    access = Access(loaded)
    registered = loaded.gpts["devops-expert"]
    headers = [*HEADERS, *more]
    by_name = dict(headers)
    show(name, lambda: Caller(access, headers, by_name, "127.0.0.1").admit(registered, 1))


def main() -> None:
    key = keys.new_key()
    hashed = f'api_key_hashes = ["{keys.hash_of(key.encode())}"]'
    bearer = (b"authorization", b"Bearer " + key.encode())
    admit("no keys, limits off", "", "off")
    admit("limit in memory", "", PLENTY)
    admit("limit in memory, behind a proxy", "", PLENTY, (b"x-forwarded-for", b"203.0.113.7"))
    admit("key and limit in memory", hashed, PLENTY, bearer)
    admit("key, limits off", hashed, "off", bearer)
    by_name = dict(HEADERS)

    def mark() -> object:
        own = responses.request_id(by_name)
        logs.request.set((own, None))
        return [*responses.SECURITY, (b"x-request-id", own)]

    show("request id, log mark, security headers", mark)
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        server = RedisServer(Path(folder)).start()
        for callers in (64, 1):
            best = min(runner.run(in_redis(server.url, callers)) for _ in range(15))
            print(f"{f'limit in Redis, {callers} at once':56} {best * 1e6:6.2f} µs")
        server.close()


async def in_redis(url: str, callers: int) -> float:
    """Processor time of this process for one caller."""
    limits, rate, rounds = RateLimits(url, b"key"), Rate(999_999_999, 86_400), 2000 // callers
    await limits.open()

    async def one(number: int) -> None:
        for _ in range(rounds):
            pending = limits.take(f"gpt/{number}", rate, 1)
            if pending is not None:  # Redis is there
                await pending

    began = process_time()
    await asyncio.gather(*(one(number) for number in range(callers)))
    taken = process_time() - began
    await limits.close()
    return taken / (rounds * callers)


if __name__ == "__main__":
    main()
