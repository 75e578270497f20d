"""The one server of three replicas in trouble, under load: nothing is lost, half taken or taken twice, whoever posts is
told so, and all of it goes on by itself."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.chaos.disks import mounted
from tests.chaos.lanes import LONG
from tests.chaos.replicas.world import CONNECTIONS, MOVES, Say, World
from tests.harness.postgres import Cluster, own
from tests.harness.waiting import wait_for
from tests.harness.wire import Cut, Wire

ROUNDS = int(os.environ.get("CHAOS_SERVER", "40" if LONG else "2"))


def _connections(world: World, cluster: Cluster) -> int:
    return cluster.connections(world.database)


@pytest.fixture
def bounded(world: World, cluster: Cluster) -> Iterator[None]:
    """Whatever happens in the test, connections do not pile up."""
    yield
    found = _connections(world, cluster)
    assert found <= CONNECTIONS * len(world.fleet.bridges), f"{found} connections"


@pytest.mark.timeout(120 + 10 * ROUNDS)
def test_immediate_restarts_of_the_server_under_load(world: World, cluster: Cluster, bounded: None, say: Say) -> None:
    """As a crash: what was under way is undone, or was committed and its answer is lost."""
    moments, unknown = random.Random(5), world.ledger.unanswered + world.ledger.unknown
    with world.load(clients=6, seed=11, pause=0.002) as load:
        for _ in range(ROUNDS):
            time.sleep(moments.uniform(0.0, 1.0))
            cluster.restart()
            world.wait_taken()
            load.check_alive()
    assert world.ledger.unanswered + world.ledger.unknown == unknown  # an outcome is held until it is learnt
    say(f"{ROUNDS} immediate restarts: {world.figures(world.check())}")


@pytest.mark.timeout(120 + 10 * ROUNDS)
def test_back_ends_that_are_terminated_under_load(world: World, cluster: Cluster, bounded: None, say: Say) -> None:
    """All of them, those of commits, and statements that are cancelled."""
    moments, ended, cancelled = random.Random(6), 0, 0
    with world.load(clients=6, seed=12, pause=0.0) as load:
        for turn in range(ROUNDS * 3):
            time.sleep(moments.uniform(0.0, 0.3))
            ended += cluster.terminate(world.database, "%" if turn % 3 == 0 else "%UPDATE otel_bridge.lane%")
            cancelled += cluster.terminate(world.database, "%UPDATE otel_bridge.lane%", how="cancel")
            load.check_alive()
    say(f"{ended} back ends terminated, {cancelled} statements cancelled: {world.figures(world.check())}")


@pytest.mark.timeout(300)
def test_connections_cut_within_a_commit(world: World, cluster: Cluster, bounded: None, say: Say) -> None:
    """The request does not arrive, or is carried out and its answer does not arrive: the replica asks, and answers what
    is so."""
    bridge = world.fleet.bridges[2]
    wire = Wire(cluster.port)
    assert bridge.stop() == 0
    bridge.environ["OTEL_BRIDGE_JOURNAL"] = f"postgresql://postgres@127.0.0.1:{wire.port}/{world.database}"
    bridge.start()
    cuts = 0
    with world.load(clients=3, seed=13, at=[("127.0.0.1", bridge.port)]):
        for turn in range(ROUNDS * 3):
            wire.cut(list(Cut)[turn % 3], MOVES)
            cuts += 1
            wait_for(lambda cuts=cuts: wire.cuts == cuts, "a cut within a commit")
            world.wait_taken(5)
    told = bridge.output()
    assert told.count("was not taken: it goes again") + told.count("was taken") >= cuts * 2 // 3, told[-2000:]
    found = world.check()
    assert bridge.stop() == 0
    bridge.environ["OTEL_BRIDGE_JOURNAL"] = cluster.dsn(world.database)
    bridge.start()
    wire.close()
    say(f"{cuts} connections cut within a commit: {world.figures(found)}")


def _trouble(world: World, readyz: bool = True) -> None:
    """What senders and operators see while nothing can be taken."""
    world.wait_refused()
    bridge = world.fleet.bridges[0]
    if readyz:
        answer = wait_for(
            lambda: a if (a := bridge.http.get(f"{bridge.url}/readyz", timeout=20)).status_code == 503 else None,
            "a replica that says that it is not ready",
        )
        assert "postgres:" not in answer.text and answer.json()["problemas"], answer.text
    assert bridge.http.get(f"{bridge.url}/healthz", timeout=20).status_code == 200


def test_a_server_that_is_away(world: World, cluster: Cluster, bounded: None, say: Say) -> None:
    with world.load(clients=4, seed=14, pause=0.01):
        cluster.crash()
        _trouble(world)
        cluster.start()
        world.wait_taken()
    say(world.figures(world.check()))


def test_a_server_that_is_read_only(world: World, cluster: Cluster, bounded: None) -> None:
    with world.load(clients=4, seed=15, pause=0.01):
        cluster.alter(default_transaction_read_only="on")
        _trouble(world)
        with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as connection:
            connection.execute("SET transaction_read_only = off")
            connection.execute("SET default_transaction_read_only = off")
            connection.execute("ALTER SYSTEM SET default_transaction_read_only = DEFAULT")
            connection.execute("SELECT pg_reload_conf()")
        world.wait_taken()
    world.check()


def test_a_server_that_is_out_of_connections(world: World, cluster: Cluster, bounded: None) -> None:
    """Others hold them all; those of the replicas are ended, so that they must come anew."""
    cluster.sql(f"ALTER DATABASE {world.database} CONNECTION LIMIT 0")
    with world.load(clients=4, seed=16, pause=0.01):
        pass
    world.check()


def test_a_server_that_stands_still(world: World, cluster: Cluster, bounded: None) -> None:
    """It closes no connection and answers nothing."""
    with world.load(clients=4, seed=17, pause=0.01):
        with cluster.stopped():
            _trouble(world)
        world.wait_taken()
    world.check()


def test_a_server_whose_disk_is_full(world: World, cluster: Cluster, bounded: None, tmp_path: Path) -> None:
    with mounted(Path("/tmp"), "64m") as disk:
        own(disk.folder)
