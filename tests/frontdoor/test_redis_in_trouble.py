"""Whatever happens to Redis, callers are counted: by this process while it lasts, by Redis again when it is over."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from otel_bridge.access import shared
from otel_bridge.access.limits import RateLimits
from otel_bridge.config import Rate
from otel_bridge.errors import Problem, StartRefused
from tests.harness.ports import free_port
from tests.harness.redis import RedisServer
from tests.harness.relay import Relay

RATE = Rate(6, 86_400)
KEY = b"the key of the user hash"
SECRET = "s3cr3t"
TOLD = "Redis is away"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(shared, "PAUSES_SECONDS", (0.0, 0.05))
    monkeypatch.setattr(shared, "ASKED_EVERY_SECONDS", 0.05)
    # A machine that is busy is no Redis that hangs.
    monkeypatch.setattr(shared, "CONNECT_SECONDS", 3.0)
    monkeypatch.setattr(shared, "ANSWER_SECONDS", 2.0)
    monkeypatch.setattr(shared, "START_SECONDS", 10.0)
    caplog.set_level(logging.INFO)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path).start()
    yield server
    server.close()


@asynccontextmanager
async def limits(url: str, key: bytes = KEY) -> AsyncIterator[RateLimits]:
    one = RateLimits(url, key)
    await one.open()
    try:
        yield one
    finally:
        await one.close()


def run(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        await scenario()
        assert asyncio.all_tasks() == {asyncio.current_task()}  # nothing goes on

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the bridge's own
        runner.run(main())


async def let_in(one: RateLimits, caller: str, rate: Rate = RATE) -> bool:
    try:
        pending = one.take(caller, rate, 1)
        if pending is not None:
            async with asyncio.timeout(5):
                await pending
    except Problem as problem:
        assert problem.kind.status == 429 and problem.headers is not None
        return False
    return True


async def count(one: RateLimits, caller: str, tries: int = 10, rate: Rate = RATE) -> int:
    """How often it is let in."""
    return sum([await let_in(one, caller, rate) for _ in range(tries)])


def counting(redis: RedisServer) -> int:
    """Connections that count in it."""
    return str(redis("CLIENT", "LIST")).count("cmd=eval")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def away(one: RateLimits) -> None:
    await until(lambda: one.fallback)


async def back(one: RateLimits) -> None:
    await until(lambda: not one.fallback)


# --- what can be wrong with a server --------------------------------------------------------------------------------


def full(redis: RedisServer) -> Callable[[], object]:
    redis("CONFIG", "SET", "maxmemory", "1mb")
    return lambda: redis("CONFIG", "SET", "maxmemory", "0")


def a_replica(redis: RedisServer) -> Callable[[], object]:
    redis("REPLICAOF", "127.0.0.1", "1")
    return lambda: redis("REPLICAOF", "NO", "ONE")


def a_replica_without_its_primary(redis: RedisServer) -> Callable[[], object]:
    redis("CONFIG", "SET", "replica-serve-stale-data", "no")
    return a_replica(redis)


def wants_replicas(redis: RedisServer) -> Callable[[], object]:
    redis("CONFIG", "SET", "min-replicas-to-write", "1")
    return lambda: redis("CONFIG", "SET", "min-replicas-to-write", "0")


def wants_a_password(redis: RedisServer) -> Callable[[], object]:
    redis("CONFIG", "SET", "requirepass", SECRET)
    redis.password = SECRET
    redis("CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal")

    def mend() -> None:
        redis("CONFIG", "SET", "requirepass", "")
        redis.password = None

    return mend


def allows_nothing(redis: RedisServer) -> Callable[[], object]:
    redis("ACL", "SETUSER", "default", "-eval", "-evalsha")
    return lambda: redis("ACL", "SETUSER", "default", "+@all")


def hangs(redis: RedisServer) -> Callable[[], object]:
    redis.freeze()
    return redis.thaw


def dies(redis: RedisServer) -> Callable[[], object]:
    redis.kill()
    return redis.start


TROUBLES = {
    full: "its memory is full",
    a_replica: "it is a replica, which cannot be written to",
    a_replica_without_its_primary: "it is a replica that has lost its primary",
    wants_replicas: "it answers NOREPLICAS",
    wants_a_password: "it wants another user or password",
    allows_nothing: "this user may not do what counting needs",
    hangs: "no answer in time",
    dies: "onnection refused",
}


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
def test_trouble_costs_no_request_is_told_once_and_ends_by_itself(
    redis: RedisServer, caplog: pytest.LogCaptureFixture, trouble: Callable[[RedisServer], Callable[[], object]]
) -> None:
    async def scenario() -> None:
        async with limits(redis.url) as one, limits(redis.url) as other:
            assert await count(one, "before", 4) == 4
            mend = await asyncio.to_thread(trouble, redis)
            await away(one)  # although nobody comes
            await away(other)
            assert await count(one, "before") == 2  # what is known is not forgotten
            assert await count(one, "amid") == await count(other, "amid") == 6
            assert one.take("later", RATE, 1) is None  # waits for nothing
            await asyncio.sleep(0.2)  # tried again several times meanwhile
            await asyncio.to_thread(mend)
            await back(one)
            await back(other)
            assert await count(one, "after", 4) + await count(other, "after") == 6
            assert counting(redis) == 2

    run(scenario)
    told = [record.getMessage() for record in caplog.records if record.name == shared.__name__]
    warnings, ends = ([text for text in told if word in text] for word in (TOLD, "is there again"))
    assert len(ends) == 2 and len(told) == len(warnings) + 2
    assert {warnings.count(text) for text in warnings} <= {1, 2}  # of each of the two, each once
    assert sum(TROUBLES[trouble] in text for text in warnings) == 2
    assert SECRET not in caplog.text


def test_one_that_restarts_empty_has_forgotten_and_one_with_its_data_has_not(redis: RedisServer) -> None:
    async def scenario() -> None:
        async with limits(redis.url) as one, limits(redis.url) as other:
            assert await count(one, "a", 4) == 4
            redis("SAVE")
            for emptied, left in ((False, 2), (True, 6)):
                redis.kill()
                await away(other)
                if emptied:
                    (redis.folder / "dump.rdb").unlink()
                redis.start()
                await back(other)
                assert await count(other, "b" if emptied else "a") == left

    run(scenario)


def test_scripts_that_somebody_flushes_are_told_it_again(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with limits(redis.url) as one:
            redis("SCRIPT", "FLUSH")
            assert await count(one, "a") == 6

    run(scenario)
    assert TOLD not in caplog.text


def test_keys_of_another_kind_are_no_trouble(redis: RedisServer) -> None:
    async def scenario() -> None:
        async with limits(redis.url) as one:
            assert await count(one, "a", 1) == 1
            (name,) = [name for name in redis("KEYS", "*") if int(redis("TTL", name)) > 10]
            redis("DEL", name)
            redis("HSET", name, "a", "b")
            assert await count(one, "a", 1) == 1

    run(scenario)


def test_two_deployments_share_a_redis_and_no_count(redis: RedisServer) -> None:
    async def scenario() -> None:
        async with limits(redis.url) as one, limits(redis.url, b"the key of another deployment") as other:
            assert await count(one, "a") == await count(other, "a") == 6

    run(scenario)
    prefixes = {name.partition("}:")[0] for name in redis("KEYS", "*")}
    assert len(prefixes) == 2 and all(prefix.startswith("{otel-bridge:") for prefix in prefixes)


@pytest.mark.parametrize("ahead", [3600, 1])
def test_what_a_clock_that_was_set_back_has_counted_is_held_against_nobody_for_long(
    redis: RedisServer, ahead: int
) -> None:
    by_the_second = Rate(6, 1)

    async def scenario() -> None:
        async with limits(redis.url) as one:
            names: list[str] = []
            while not names:  # it lives for a second or two
                assert await count(one, "a", 1, by_the_second) == 1
                names = [name for name in redis("KEYS", "*") if str(redis("GET", name)).endswith(" 1 0")]
            now, let = -1, -1
            while now != int(redis("TIME")[0]):  # asked within the second that it was set in
                now = int(redis("TIME")[0])
                redis("SET", names[0], f"{now + ahead} 6 0", "PX", 3_600_000)
                let = await count(one, "a", 1, by_the_second)
            assert let == 0
            async with asyncio.timeout(10):
                while await count(one, "a", 6, by_the_second) < 6:  # noqa: ASYNC110
                    await asyncio.sleep(
                        1.5
                    )  # within it nobody is let in again: who asks on and on is refused on and on

    run(scenario)


# --- the way there --------------------------------------------------------------------------------------------------


@pytest.fixture
def relay(redis: RedisServer) -> Iterator[Relay]:
    between = Relay(redis.port)
    yield between
    between.close()


def swallow(relay: Relay) -> None:
    relay.swallows = True


@pytest.mark.parametrize("fault", [Relay.cut, swallow], ids=["cut", "swallowed"])
def test_a_network_that_breaks_costs_no_request(
    relay: Relay, caplog: pytest.LogCaptureFixture, fault: Callable[[Relay], None]
) -> None:
    async def scenario() -> None:
        async with limits(f"redis://127.0.0.1:{relay.port}") as one:
            assert await count(one, "a", 4) == 4
            fault(relay)
            waiting = [asyncio.create_task(let_in(one, "a")) for _ in range(5)]
            assert sorted(await asyncio.gather(*waiting)) == [False] * 3 + [True] * 2
            await away(one) if fault is swallow else None
            assert await count(one, "a") == 0
            relay.swallows = False
            await back(one)
            assert await count(one, "b") == 6

    run(scenario)
    assert TOLD in caplog.text


def test_a_failover_is_followed_and_forgets_nothing(redis: RedisServer, relay: Relay, tmp_path: Path) -> None:
    (tmp_path / "standby").mkdir()
    standby = RedisServer(tmp_path / "standby").start()

    async def scenario() -> None:
        async with limits(f"redis://127.0.0.1:{relay.port}") as one, limits(f"redis://127.0.0.1:{relay.port}") as two:
            standby("REPLICAOF", "127.0.0.1", redis.port)
            await until(lambda: standby("INFO", "replication")["master_link_status"] == "up")
            assert await count(one, "a", 4) == 4
            assert redis("WAIT", 1, 5000) == 1
            # As its own failover does: the connections to the old one stay, and the address leads to the new one.
            standby("REPLICAOF", "NO", "ONE")
            redis("REPLICAOF", "127.0.0.1", standby.port)
            relay.target = standby.port
            await until(lambda: counting(standby) == 2)
            await back(one)
            await back(two)
            assert await count(two, "a") == 2

    try:
        run(scenario)
    finally:
        standby.close()


def test_a_hundred_outages_leave_nothing_behind(relay: Relay, redis: RedisServer) -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def scenario() -> None:
        async with limits(f"redis://127.0.0.1:{relay.port}") as one:
            before = open_files(), len(asyncio.all_tasks())
            for _ in range(100):
                relay.cut()
                await let_in(one, "a")
                await back(one)
            # The last cut may not have been noticed yet.
            await until(lambda: (open_files(), len(asyncio.all_tasks()), counting(redis)) == (*before, 1))

    run(scenario)


# --- at the start ---------------------------------------------------------------------------------------------------


def test_a_start_waits_a_moment_for_a_server_that_hangs(
    redis: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "START_SECONDS", 0.1)

    async def scenario() -> None:
        redis.freeze()
        async with limits(redis.url) as one:
            assert one.fallback and await count(one, "a") == 6
            redis.thaw()
            await back(one)

    run(scenario)


def test_one_that_loads_its_data_is_waited_for(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    redis("CONFIG", "SET", "rdbcompression", "no")
    redis("EVAL", "for i = 1, 1000 do redis.call('SET', i, string.rep('x', 1024)) end", 0)
    redis("SAVE")
    redis.kill()
    # It answers after each key, and takes 50 s, if it is not told to hurry.
    redis.start("--key-load-delay", "50000", "--loading-process-events-interval-bytes", "1024")

    async def scenario() -> None:
        async with limits(redis.url) as one:
            assert one.fallback and await count(one, "a") == 6
            redis("CONFIG", "SET", "key-load-delay", "0")
            await back(one)

    run(scenario)
    assert "it is still loading its data" in caplog.text


def test_one_with_too_many_clients_is_tried_again(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    redis("CONFIG", "SET", "maxclients", "1")
    holder = socket.create_connection(("127.0.0.1", redis.port))

    async def scenario() -> None:
        async with limits(redis.url) as one:
            assert one.fallback and await count(one, "a") == 6
            holder.close()
            await back(one)

    run(scenario)
    assert "as many clients as it allows (maxclients)" in caplog.text or "closed the connection" in caplog.text


def test_a_name_that_does_not_resolve_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with limits(f"redis://:{SECRET}@no-such-host.invalid:6379") as one:
            assert one.fallback and await count(one, "a") == 6

    run(scenario)
    assert TOLD in caplog.text and SECRET not in caplog.text


def test_a_node_of_a_cluster_is_counted_in_where_it_has_every_slot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = RedisServer(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port())).start()

    async def scenario() -> None:
        async with limits(node.url) as one:
            assert one.fallback
            node("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            await back(one)
            takes = [let_in(one, f"caller {i}") for i in range(20)]  # in one call: their keys are in one slot
            assert all(await asyncio.gather(*takes))

    try:
        run(scenario)
    finally:
        node.close()
    assert "a Redis Cluster that is down" in caplog.text


# --- URLs -----------------------------------------------------------------------------------------------------------


def test_a_password_a_database_and_few_rights_are_enough(redis: RedisServer) -> None:
    rights = ("~{otel-bridge:*", "+eval", "+evalsha", "+get", "+set", "+time", "+select")
    redis("ACL", "SETUSER", "bridge", "on", ">p@:/?#%w", *rights)

    async def scenario() -> None:
        async with limits(redis.url.replace("//", "//bridge:p%40%3A%2F%3F%23%25w@") + "/3") as one:
            assert not one.fallback and await count(one, "a") == 6
        assert redis("INFO", "keyspace").keys() == {"db3"}

    run(scenario)


@pytest.mark.parametrize("login", ["", f":{SECRET}@", f"nobody:{SECRET}@"])
def test_a_wrong_password_is_told_and_never_shown(
    redis: RedisServer, caplog: pytest.LogCaptureFixture, login: str
) -> None:
    redis("CONFIG", "SET", "requirepass", "another")

    async def scenario() -> None:
        async with limits(redis.url.replace("//", f"//{login}")) as one:
            assert one.fallback and await count(one, "a") == 6

    run(scenario)
    assert "it wants another user or password" in caplog.text
    assert SECRET not in caplog.text


def test_a_server_that_repeats_the_password_in_its_error_is_not_quoted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(tmp_path, "--rename-command", "AUTH", "")
    server.start()

    async def scenario() -> None:
        async with limits(server.url.replace("//", f"//:{SECRET}@")) as one:
            assert one.fallback

    try:
        with pytest.raises(Exception, match=SECRET):
            server("AUTH", SECRET)  # it does
        run(scenario)
    finally:
        server.close()
    assert TOLD in caplog.text and SECRET not in caplog.text


def test_over_a_unix_socket(redis: RedisServer) -> None:
    async def scenario() -> None:
        async with limits(f"unix://{redis.socket}?db=2") as one, limits(f"{redis.url}/2") as other:
            assert await count(one, "a", 4) + await count(other, "a") == 6
        async with limits(f"unix://{redis.socket}.none") as one:
            assert one.fallback

    run(scenario)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    for name in ("ca", "other"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "9", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
    return folder


def test_over_tls_with_an_authority_of_ones_own(
    tmp_path: Path, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tls_port = free_port()
    server = RedisServer(
        tmp_path, "--tls-port", str(tls_port), "--tls-auth-clients", "no", "--tls-cert-file", f"{certificates}/ca.pem",
        "--tls-key-file", f"{certificates}/ca.key", "--tls-ca-cert-file", f"{certificates}/ca.pem",
    ).start()  # fmt: skip

    async def scenario() -> None:
        known = f"rediss://localhost:{tls_port}/1?ssl_ca_certs={certificates}/ca.pem"
        async with limits(known) as one:
            assert not one.fallback and await count(one, "a") == 6
            server.freeze()
            await away(one)
            server.thaw()
            await back(one)
        for strange in (
            f"rediss://localhost:{tls_port}",
            f"rediss://localhost:{tls_port}?ssl_ca_certs={certificates}/other.pem",
            known.replace("localhost", "127.0.0.1"),  # another name than the certificate's
            f"rediss://localhost:{server.port}",  # no TLS there
            f"redis://localhost:{tls_port}",
        ):
            async with limits(strange) as one:
                assert one.fallback, strange
        async with limits(f"rediss://127.0.0.1:{tls_port}?ssl_cert_reqs=none") as one:
            assert not one.fallback  # as the operator wants it

    try:
        run(scenario)
    finally:
        server.close()
    assert "ertificate" in caplog.text


@pytest.mark.parametrize(
    "query",
    [
        "ssl_ca_certs=/no/such/file.pem",
        "ssl_cert_reqs=perhaps",
        "ssl_certfile=/no/such/file.pem&ssl_keyfile=/no/such/file.key",
    ],
)
def test_what_the_client_refuses_stops_the_start(query: str) -> None:
    with pytest.raises(StartRefused, match="rate_limit_storage"):
        RateLimits(f"rediss://:{SECRET}@localhost?{query}")
