"""What it costs to let a caller in, and what the `limits` library's own memory storage would: CPU time, best of 15.

python benchmarks/gate.py
"""

from __future__ import annotations

import tempfile
import timeit
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import process_time

from limits import RateLimitItemPerDay
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter

from otel_bridge import config, logs
from otel_bridge.access import keys
from otel_bridge.access.caller import Access, Caller
from otel_bridge.http import responses

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
    item, storage = RateLimitItemPerDay(10**9), MemoryStorage()
    for strategy in (FixedWindowRateLimiter, SlidingWindowCounterRateLimiter):
        limiter = strategy(storage)
        show(f"limits' own memory storage, {strategy.__name__}", partial(limiter.hit, item, "gpt", "127.0.0.1"))


if __name__ == "__main__":
    main()
