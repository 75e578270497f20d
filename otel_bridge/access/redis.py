"""Callers counted in Redis, many in one call, by the clock of Redis: those of the replicas may differ.

A caller is one key: `{otel-bridge:<deployment>}:<caller>`, both keyed hashes under the key of the user hash. So no
address and no API key stands there, replicas of one deployment share their counts, and those of two never meet. It
holds the number of its window and two counts, and goes with the window after it.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
from collections.abc import Sequence
from hashlib import blake2b, sha1
from typing import Any, NamedTuple

from otel_bridge.config import Rate
from otel_bridge.errors import StartRefused

LEAVE_SECONDS = 0.25

_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = {string.format('%.0f', now)}
for i, key in ipairs(KEYS) do
  local limit, span, amount = tonumber(ARGV[3 * i - 2]), ARGV[3 * i - 1] * 1000, tonumber(ARGV[3 * i])
  local window = math.floor(now / span)
  local count, before = 0, 0
  local found = redis.pcall('GET', key)
  local its, its_count, its_before = string.match(type(found) == 'string' and found or '', '^(%d+) (%d+) (%d+)$')
  its = tonumber(its)
  if its == window - 1 then
    before = tonumber(its_count)
  elseif its and its >= window then -- a later one: the clock was set back, and this window has it all
    count, before = tonumber(its_count), tonumber(its_before)
  end
  local taken = 0
  if math.floor(before * (1 - now / span + window)) + count + amount <= limit then
    count, taken = count + amount, 1
  end
  if taken == 1 or (its and its > window) then
    redis.call('SET', key, string.format('%.0f %.0f %.0f', window, count, before), 'PX', span * 2 - now % span)
  end
  answer[i + 1] = string.format('%d %.0f %.0f', taken, count, before)
end
return table.concat(answer, ' ')
"""
_SHA = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()

_WORDS = {
    "AuthenticationError": "it wants another user or password",
    "AuthenticationWrongNumberOfArgsError": "it wants another user or password",
    "NoPermissionError": "this user may not do what counting needs (docs/configuration.md)",
    "ReadOnlyError": "it is a replica, which cannot be written to",
    "OutOfMemoryError": "its memory is full (maxmemory)",
    "BusyLoadingError": "it is still loading its data",
    "MasterDownError": "it is a replica that has lost its primary",
    "MovedError": "it is one of several nodes of a Redis Cluster, which is not supported",
    "ClusterDownError": "it is a node of a Redis Cluster that is down",
}
"""By the name of the client's error: not every release that is supported has every one."""


class Take(NamedTuple):
    """What is to be counted: `amount` of a caller, where its rate leaves room."""

    key: str
    rate: Rate
    amount: int
    future: asyncio.Future[None] | None = None
    """Waits for it; None: nobody does."""


class Counted(NamedTuple):
    taken: bool
    window: int
    """Number of the caller's window."""
    now: int
    """What is counted in it, and in the one before."""
    before: int


_PROBE = Take("", Rate(1_000_000_000, 1), 1)


class Redis:
    """One connection to one server. Used from one event loop."""

    def __init__(self, url: str, key: bytes) -> None:
        """`key`: of the user hash. Raises StartRefused where the redis package is not installed, or refuses the URL."""
        try:
            from redis import exceptions
            from redis.asyncio import connection
        except ImportError:
            raise StartRefused(
                "rate_limit_storage: redis:// necesita el paquete redis: pip install 'otel-bridge[redis]'"
            ) from None
        # Whoever counts has a time of its own for it, and decides when to try again.
        options: dict[str, Any] = {"protocol": 2, "socket_timeout": None, "socket_connect_timeout": None}
        if url.startswith("rediss://"):
            options["ssl_check_hostname"] = True
        try:
            options |= connection.parse_url(url)
            kind = options.pop("connection_class", connection.Connection)
            self._connection: Any = kind(**options)
            if url.startswith("rediss://"):
                self._connection.ssl_context.get()  # reads the files, and once only
        except (ValueError, TypeError, OSError, exceptions.RedisError) as error:
            why = (
                error.strerror
                if isinstance(error, OSError) and error.strerror
                else "una opción de la URL no es correcta"
            )
            raise StartRefused(f"rate_limit_storage: el cliente de redis la rechaza: {why} (no se muestra)") from None
        self._no_script = exceptions.NoScriptError
        name = blake2b(key, digest_size=4, person=b"limits-name").hexdigest()
        self.prefix = f"{{otel-bridge:{name}}}:"
        """What every key begins with. In a cluster's way of writing, so that one call may have several of them."""
        self._digest = blake2b(digest_size=12, key=blake2b(key, digest_size=32, person=b"limits-caller").digest()).copy

    async def connect(self) -> None:
        """Connects anew. Raises whatever goes wrong."""
        await self._connection.connect()

    async def probe(self) -> float:
        """Counts nobody: whether it can be counted in at all. Its time, Unix. Raises whatever goes wrong."""
        return (await self.count([_PROBE]))[0]

    async def count(self, takes: Sequence[Take]) -> tuple[float, list[Counted]]:
        """Counts them in this order, each where there is room: Redis' time, Unix, and what became of each. Raises
        whatever goes wrong: then they may have been counted or not, and the connection is to be closed."""
        arguments: list[str | int] = [len(takes), *(self._name(take) for take in takes)]
        for take in takes:
            arguments += (take.rate.amount, take.rate.seconds, take.amount)
        try:
            reply = await self._call("EVALSHA", _SHA, *arguments)
        except self._no_script:
            reply = await self._call("EVAL", _SCRIPT, *arguments)
        now_ms, *rest = map(int, reply.split())
        numbers = iter(rest)
        return now_ms / 1000, [
            Counted(taken == 1, now_ms // (take.rate.seconds * 1000), now, before)
            for take, taken, now, before in zip(takes, numbers, numbers, numbers, strict=True)
        ]

    async def close(self) -> None:
        """Raises TimeoutError where the other side does not take leave in time (TLS): it is closed all the same."""
        async with asyncio.timeout(LEAVE_SECONDS):
            await self._connection.disconnect()

    async def _call(self, *command: str | int) -> bytes:
        await self._connection.send_command(*command)
        reply: bytes = await self._connection.read_response()
        return reply

    def _name(self, take: Take) -> str:
        digest = self._digest()
        digest.update(f"{take.rate.seconds} {take.key}".encode())
        return self.prefix + base64.urlsafe_b64encode(digest.digest()).decode()


def why(error: Exception) -> str:
    """What is wrong, for the log. Never an error's own words: a server may repeat a password in them."""
    seen: BaseException | None = error
    while seen is not None:
        name = type(seen).__name__
        if name in _WORDS:
            return _WORDS[name]
        if name == "TimeoutError":
            return "no answer in time"
        if isinstance(seen, OSError) and not isinstance(seen, ConnectionResetError):
            return _of_the_system(seen)
        deeper = seen.__cause__ or seen.__context__
        if deeper is None and seen.args == ("max number of clients reached",):
            return "it has as many clients as it allows (maxclients)"
        if deeper is None and name in ("ConnectionError", "ConnectionResetError"):
            return "it has closed the connection"
        seen = deeper
    word = str(error).partition(" ")[0]
    return f"it answers {word}" if word.isalpha() and word.isupper() else type(error).__name__


def _of_the_system(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason}"
    if isinstance(error, socket.gaierror):
        return f"its name: {error.strerror}"
    return os.strerror(error.errno) if error.errno else "no address of its name can be connected to"
