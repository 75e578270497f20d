"""Replicas that are killed, or stand still until they are taken for dead, under load; and races between them."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from otel_bridge.ids import DAY_US
from otel_bridge.journal.postgres import generations
from tests.chaos.conftest import long_form
from tests.chaos.lanes import LONG
from tests.chaos.replicas.accounts import account
from tests.chaos.replicas.load import Target
from tests.chaos.replicas.racing import RACERS, race
from tests.chaos.replicas.world import PAUSE, Say, World, standing_still
from tests.harness.bridge import Bridge
from tests.harness.caddy import Caddy
from tests.harness.fleet import STEWARD, page
from tests.harness.otlp import OK, Reply
from tests.harness.postgres import Cluster
from tests.harness.waiting import wait_for

KILLS = int(os.environ.get("CHAOS_KILLS", "200" if LONG else "4"))
STILL = int(os.environ.get("CHAOS_STILL", "12" if LONG else "1"))
LEASE = 15.0
RACES = int(os.environ.get("CHAOS_RACES", "10000" if LONG else "160"))
KEYS = int(os.environ.get("CHAOS_KEYS", "6000"))


@pytest.fixture
def balancer(world: World, tmp_path: Path) -> Iterator[Target]:
    """A real Caddy before the replicas, which asks how they are."""
    upstream = " ".join(f"127.0.0.1:{bridge.port}" for bridge in world.fleet.bridges)
    made = Caddy(tmp_path, upstream, "127.0.0.1:9", "replicas").start()
    yield "localhost", made.port
    made.close()


@pytest.mark.timeout(120 + 10 * KILLS)
def test_replicas_killed_at_random_moments_lose_nothing_and_count_nothing_twice(
    world: World, balancer: Target, say: Say
) -> None:
    """Half of the posts come through the balancer, half of them do not."""
    seed = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
    moments, began, stewards = random.Random(seed), time.monotonic(), 0
    at = [("127.0.0.1", bridge.port) for bridge in world.fleet.bridges]
    at += [balancer] * len(at)
    with world.load(clients=6, seed=seed % 100_000 + 10, at=at, pause=PAUSE) as load:
        for kill in range(KILLS):
            time.sleep(moments.uniform(0.0, 1.2))
            steward = world.fleet.steward() if kill % 3 == 2 else None
            stewards += steward is not None
            killed = steward or moments.choice(world.fleet.bridges)
            killed.kill()
            killed.start(wait=False)
            if moments.random() > 0.2:  # else the next is killed while this one is still starting, or this one again
                killed.wait_ready(60)
            load.check_alive()
    found = world.check()
    assert "went back" not in world.fleet.output()
    say(
        f"{KILLS} kills ({stewards} of the steward) in {time.monotonic() - began:.0f} s, seed {seed}: "
        f"{world.figures(found)}; {world.repeated} posts of before were known at whichever replica they came to"
    )


def _over(world: World, cluster: Cluster, bridge: Bridge) -> None:
    """Its leases are over: by their time in the long form, else by the server's word alone."""
    if LONG:
        time.sleep(LEASE + 1)
        return
    assert bridge.process is not None
    name = f"% {bridge.process.pid} %"
    for table in ("lane", "steward"):
        cluster.sql(
            f"UPDATE otel_bridge.{table} SET lease_until = '-infinity' WHERE name LIKE %s",
            name,
            database=world.database,
        )


@pytest.mark.timeout(120 + 60 * STILL)
def test_a_replica_that_stands_still_past_its_lease_is_fenced_and_goes_on(
    world: World, cluster: Cluster, say: Say
) -> None:
    """What it had under way is not taken behind the back of who follows it, and is posted elsewhere meanwhile."""
    changes = 0
    with world.load(clients=8, seed=3, pause=PAUSE, patience=2.0):
        for turn in range(STILL):
            steward = world.fleet.steward()
            assert steward is not None
            others = [one for one in world.fleet.bridges if one is not steward]
            bridge = steward if turn % 2 == 0 else others[turn % 2]
            with standing_still(bridge):
                _over(world, cluster, bridge)
                world.wait_taken()
                if bridge is steward:
                    wait_for(
                        lambda others=others: any(page(one).get((STEWARD, ())) == 1 for one in others), "a steward"
                    )
                    changes += 1
            world.wait_taken()
    found = world.check()
    fenced = world.fleet.output().count("was taken over while")
    say(f"{STILL} times past the lease, {changes} of them the steward, {fenced} lanes changed: {world.figures(found)}")


def test_what_a_replica_that_is_gone_has_left_is_delivered_by_another(world: World) -> None:
    gone = world.fleet.bridges[1]
    world.receiver.behave = lambda spans: Reply(503)
    with world.load(clients=2, seed=5, at=[("127.0.0.1", gone.port)]):
        world.wait_taken(50)
    wait_for(lambda: world.fleet.metric("otel_bridge_pending_records") >= 50, "records that wait")
    gone.kill()
    world.receiver.behave = lambda spans: OK
    found = account(world.fleet, world.sql, world.ledger, world.receiver)
    found.check()
    assert found.delivered == found.acknowledged, str(found)
    gone.start()
    world.check()


@long_form
def test_a_rolling_restart_under_load_waits_for_no_lease(world: World) -> None:
    """A rolling restart under load: each takes a lane at once that another has given up."""
    lanes = "SELECT count(*) FROM otel_bridge.lane"
    before = world.sql(lanes)
    with world.load(clients=3, seed=4, pause=PAUSE):
        for bridge in world.fleet.bridges:
            assert bridge.stop() == 0, bridge.output()[-2000:]
            world.wait_taken()
            bridge.start()
    world.check()
    assert world.sql(lanes) == before


@pytest.mark.timeout(1800)
def test_one_event_raced_on_three_replicas_is_taken_once(world: World, say: Say) -> None:
    began = time.monotonic()
    outcomes = race(world, RACES, lambda progress: None)
    assert outcomes == {(200, 200, 201): RACES + RACERS}
    found = world.check()
    say(f"{RACES} events at three replicas each, in {time.monotonic() - began:.0f} s: {world.figures(found)}")


@long_form
@pytest.mark.timeout(1800)
def test_keys_raced_while_the_turn_of_keys_changes_are_taken_once(world: World, cluster: Cluster, say: Say) -> None:
    turns = []

    def turn(progress: Callable[[], float]) -> None:
        """A replica whose clock is ahead, day by day, as far as there are tables."""
        with psycopg.connect(cluster.dsn(world.database), autocommit=True) as db:
            for day in range(1, 4):
                wait_for(lambda day=day: progress() > day / 5, "a race that goes on", 600)
                generations.advance(db, time.time_ns() // 1000 + day * DAY_US, 0)
                row = db.execute("SELECT turn FROM otel_bridge.journal").fetchone()
                assert row is not None
                turns.append(row[0])

    outcomes = race(world, KEYS, turn)
    assert outcomes == {(200, 200, 201): KEYS + RACERS}
    found = world.check()
    assert turns == [turns[0], turns[0] + 1, turns[0] + 2] and max(outcomes.values()) > 0
    say(f"{KEYS} keys through the turns {turns}: {world.figures(found)}")
