"""The one server of several replicas in trouble, under load: nothing is lost, half taken or taken twice, whoever posts
is told so, and all of it goes on by itself."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
import requests

from otel_bridge import errors
from tests.chaos.conftest import long_form
from tests.chaos.disks import mounted
from tests.chaos.lanes import LONG
from tests.chaos.ledger import Say
from tests.chaos.replicas.world import COMMITS, CONNECTIONS, PAUSE, World
from tests.harness.bridge import Bridge
from tests.harness.postgres import Cluster, own, public
from tests.harness.waiting import wait_for
from tests.harness.wire import Cut, Wire

ROUNDS = int(os.environ.get("CHAOS_SERVER", "40" if LONG else "2"))
MOVES = "%UPDATE otel_bridge.lane SET last%"


@pytest.fixture(scope="module")
def wire(cluster: Cluster) -> Iterator[Wire]:
    """Between the last replica and the server."""
    made = Wire(cluster.port)
    yield made
    made.close()


@pytest.fixture(scope="module")
def world(cluster: Cluster, wire: Wire, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    database = cluster.database()
    made = World(
        tmp_path_factory.mktemp("replicas"),
        cluster.dsn(database),
        lambda statement: cluster.sql(statement, database=database),
        replicas=3 if LONG else 2,
    )
    made.database = database
    made.fleet.bridges[-1].environ["OTEL_BRIDGE_JOURNAL"] = f"postgresql://postgres@127.0.0.1:{wire.port}/{database}"
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture(autouse=True)
def bounded(world: World, cluster: Cluster) -> Iterator[None]:
    """Whatever happens in the test, connections do not pile up."""
    yield
    found = cluster.connections(world.database)
    assert found <= CONNECTIONS * len(world.fleet.bridges), f"{found} connections"


@pytest.mark.timeout(120 + 10 * ROUNDS)
def test_immediate_restarts_of_the_server_under_load(world: World, cluster: Cluster, say: Say) -> None:
    """As a crash: what was under way is undone, or was committed and its answer is lost. Replicas hold their answers
    until they know which."""
    moments, unknown = random.Random(5), world.ledger.unanswered + world.ledger.unknown
    with world.load(clients=6, seed=11, pause=PAUSE):
        for _ in range(ROUNDS):
            time.sleep(moments.uniform(0.0, 1.0))
            cluster.restart()
            world.wait_taken()
    assert world.ledger.unanswered + world.ledger.unknown == unknown
    say(f"{ROUNDS} immediate restarts: {world.figures(world.check())}")


@pytest.mark.timeout(120 + 10 * ROUNDS)
def test_back_ends_that_are_terminated_under_load(world: World, cluster: Cluster, say: Say) -> None:
    """All of them, or those of commits; and commits that are cancelled."""
    moments, ended, cancelled = random.Random(6), 0, 0
    with world.load(clients=6, seed=12, pause=PAUSE):
        for turn in range(ROUNDS * 4):
            time.sleep(moments.uniform(0.0, 0.3))
            ended += cluster.terminate(world.database, "%" if turn % 4 == 0 else MOVES)
            cancelled += cluster.terminate(world.database, MOVES, how="cancel")
            world.wait_taken(1)
    say(f"{ended} back ends terminated, {cancelled} statements cancelled: {world.figures(world.check())}")


@pytest.mark.timeout(120 + 10 * ROUNDS)
def test_connections_cut_within_a_commit(world: World, wire: Wire, say: Say) -> None:
    """The request does not arrive, or is carried out and its answer does not arrive: the replica asks what became of
    it, and answers what is so."""
    bridge = world.fleet.bridges[-1]
    unknown, cuts = world.ledger.unanswered + world.ledger.unknown, wire.cuts
    with world.load(clients=3, seed=13, at=[("127.0.0.1", bridge.port)]):
        for turn in range(ROUNDS * 15):
            if turn >= ROUNDS * 3 and _both_outcomes(bridge):
                break  # a cut may fall on work of which nobody asks
            before = wire.cuts
            wire.cut(list(Cut)[turn % 3], COMMITS)
            world.wait(lambda before=before: wire.cuts > before, "a cut within a commit")
            world.wait_taken(5)
    assert _both_outcomes(bridge)
    assert world.ledger.unanswered + world.ledger.unknown == unknown
    say(f"{wire.cuts - cuts} connections cut within a commit: {world.figures(world.check())}")


def _both_outcomes(bridge: Bridge) -> bool:
    told = bridge.output()
    return "commit of unknown outcome was taken" in told and "commit of unknown outcome was not taken" in told


def _trouble(world: World) -> None:
    """What senders and operators see while nothing can be taken."""
    world.wait_refused()
    for bridge in world.fleet.bridges:
        text = wait_for(lambda bridge=bridge: _not_ready(bridge.url), "a replica that says that it is not ready")
        assert "postgres@" not in text, text
        assert bridge.http.get(f"{bridge.url}/healthz", timeout=10).status_code == 200


def _not_ready(url: str) -> str | None:
    answer = requests.get(f"{url}/readyz", timeout=10)
    return answer.text if answer.status_code == 503 and answer.json()["problemas"] else None


@long_form
def test_a_server_that_is_away(world: World, cluster: Cluster, say: Say) -> None:
    with world.load(clients=4, seed=14, pause=PAUSE):
        cluster.crash()
        _trouble(world)
        cluster.start()
        world.wait_taken()
    say(world.figures(world.check()))


def test_a_server_that_is_read_only(world: World, cluster: Cluster) -> None:
    with world.load(clients=4, seed=15, pause=PAUSE):
        cluster.alter(default_transaction_read_only="on")
        _trouble(world)
        cluster.alter(default_transaction_read_only="DEFAULT")
        world.wait_taken()
    world.check()


@contextmanager
def _crowded(world: World, cluster: Cluster) -> Iterator[None]:
    """Others hold every connection; the replicas' are ended, so that they must come anew."""
    others: list[psycopg.Connection] = []
    with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as operator:
        here = "FROM pg_stat_activity WHERE datname = %s"

        def none() -> bool:
            operator.execute(f"SELECT pg_terminate_backend(pid) {here}", (world.database,))
            try:
                while True:
                    others.append(psycopg.connect(cluster.dsn("postgres")))
            except psycopg.OperationalError:
                return operator.execute(f"SELECT count(*) {here}", (world.database,)).fetchone() == (0,)

        try:
            wait_for(none, "a server without a connection to spare", 30)
            yield
        finally:
            for other in others:
                other.close()


@long_form
def test_a_server_that_is_out_of_connections(world: World, cluster: Cluster) -> None:
    with world.load(clients=4, seed=16, pause=PAUSE):
        with _crowded(world, cluster):
            _trouble(world)
        world.wait_taken()
    world.check()


@long_form
def test_a_server_that_stands_still(world: World, cluster: Cluster) -> None:
    """It closes no connection and answers nothing."""
    with world.load(clients=4, seed=17, pause=PAUSE):
        with cluster.stopped():
            _trouble(world)
        world.wait_taken()
    world.check()


@long_form
def test_a_network_that_swallows_everything_of_one_replica(world: World, wire: Wire, say: Say) -> None:
    """The others go on; what the one was told nothing of, it asks for when the network is back."""
    bridge = world.fleet.bridges[-1]
    with world.load(clients=4, seed=18, pause=PAUSE, patience=3.0):
        wire.silent = True
        wait_for(lambda: _not_ready(bridge.url), "a replica that says that it is not ready", 60)
        world.wait_taken()
        wire.silent = False
        bridge.wait_ready()
    say(world.figures(world.check()))


def test_a_server_whose_disk_is_full(world: World, cluster: Cluster) -> None:
    """Where the records are there is no room. Nothing of a post is taken, nothing is deleted to make room."""
    with public() as folder, mounted(folder, "16m") as disk:
        place = disk.folder / "tablespace"
        place.mkdir()
        own(place)
        cluster.sql(f"CREATE TABLESPACE small LOCATION '{place}'")
        move = "ALTER TABLE otel_bridge.segment SET TABLESPACE {}"
        cluster.sql(move.format("small"), database=world.database)
        with world.load(clients=4, seed=19, pause=PAUSE) as load:
            disk.fill()
            _trouble(world)
            assert set(load.told()) <= {errors.DISK_FULL.type, errors.JOURNAL_UNAVAILABLE.type}
            assert errors.DISK_FULL.type in load.told()
            disk.free()
            world.wait_taken()
        world.check()
        cluster.sql(move.format("pg_default"), database=world.database)
        cluster.sql("DROP TABLESPACE small")
