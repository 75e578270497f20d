"""The primary is lost, and its standby takes its place: with all of it, or with less."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.conftest import long_form
from tests.chaos.lanes import LONG
from tests.chaos.replicas.accounts import journaled
from tests.chaos.replicas.load import Load
from tests.chaos.replicas.world import PAUSE, Say, World
from tests.harness.bridge import Bridge
from tests.harness.pair import Pair
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

FAILOVERS = int(os.environ.get("CHAOS_FAILOVERS", "10"))
MakeWorld = Callable[[Pair], World]


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[MakeWorld]:
    made: list[tuple[World, Pair]] = []

    def make(pair: Pair) -> World:
        made.append((None, pair))  # type: ignore[arg-type]
        database = pair.primary.database()
        world = World(
            tmp_path,
            pair.dsn(database),
            lambda statement: pair.primary.sql(statement, database=database),
            replicas=3 if LONG else 2,
        )
        world.database = database
        made[-1] = (world, pair)
        return world.start()

    yield make
    for world, pair in made:
        if world is not None:
            world.close()
        pair.close()


@long_form
@pytest.mark.timeout(120 + 60 * FAILOVERS)
def test_a_synchronous_standby_that_is_promoted_has_everything(make_world: MakeWorld, say: Say) -> None:
    """The primary is gone in the middle of commits; replicas find the next one by their DSN."""
    pair = Pair(synchronous=True)
    world = make_world(pair)
    moments, gaps = random.Random(7), []
    for turn in range(FAILOVERS):
        with world.load(clients=6, seed=20 + turn, pause=PAUSE):
            time.sleep(moments.uniform(0.2, 1.0))
            began = time.monotonic()
            pair.fail_over()
            world.wait_taken()
            gaps.append(time.monotonic() - began)
        if turn + 1 < FAILOVERS:
            pair.add_standby()
            _move(world, pair)
    found = world.check()
    assert "went back" not in world.fleet.output()
    say(f"{FAILOVERS} failovers, posts taken again after {max(gaps):.1f} s at the most: {world.figures(found)}")


def _move(world: World, pair: Pair) -> None:
    """A rolling restart with the hosts as they are now."""
    for bridge in world.fleet.bridges:
        assert bridge.stop() == 0, bridge.output()[-2000:]
        bridge.environ["OTEL_BRIDGE_JOURNAL"] = pair.dsn(world.database)
        bridge.start()


@pytest.mark.timeout(300)
def test_commits_that_wait_for_a_synchronous_standby_are_not_answered_before_it_has_them(
    make_world: MakeWorld, say: Say
) -> None:
    """The standby stands still: commits hang within COMMIT. Their waits are cancelled, their back ends terminated: both
    look as if they were taken, and are not yet. Then the primary is lost, too."""
    pair = Pair(synchronous=True)
    world = make_world(pair)
    cancelled = terminated = 0
    with world.load(clients=6, seed=40, pause=PAUSE) as load:
        with pair.behind():
            acknowledged = wait_for(lambda: _settled(world, load), "nothing that is acknowledged any more")
            for _ in range(10):
                cancelled += pair.primary.terminate(world.database, "%", "SyncRep", "cancel")
                terminated += pair.primary.terminate(world.database, "%", "SyncRep")
                time.sleep(0.1)
            world.wait_refused()
            assert world.ledger.acknowledged == acknowledged
        world.wait_taken()
        with pair.behind():
            wait_for(lambda: _settled(world, load), "nothing that is acknowledged any more")
            pair.primary.terminate(world.database, "%", "SyncRep", "cancel")
            pair.primary.crash()
        pair.fail_over()
        world.wait_taken()
    assert cancelled and terminated, (cancelled, terminated)
    say(f"{cancelled} waits cancelled, {terminated} back ends terminated within COMMIT: {world.figures(world.check())}")


def _settled(world: World, load: Load) -> int:
    """What is acknowledged, once that grows no more: each client waits, for half a second in which each replica has
    answered what it could answer."""
    asked = [client.asked for client in load.clients]
    for bridge in world.fleet.bridges:
        assert bridge.http.get(f"{bridge.url}/healthz", timeout=10).status_code == 200
    time.sleep(0.5)
    still = None not in asked and asked == [client.asked for client in load.clients]
    return world.ledger.acknowledged if still else 0


@pytest.mark.timeout(300)
def test_an_asynchronous_standby_that_is_promoted_has_less_and_replicas_say_so(make_world: MakeWorld, say: Say) -> None:
    """And the steward, which may have nothing of its own that is gone, counts what is there."""
    pair = Pair(synchronous=False)
    world = make_world(pair)
    with world.load(clients=4, seed=50, pause=PAUSE):
        world.wait_taken()
    steward = world.fleet.steward()
    others = [bridge for bridge in world.fleet.bridges if bridge is not steward]
    with world.load(clients=4, seed=51, at=[("127.0.0.1", bridge.port) for bridge in others], pause=PAUSE):
        pair.cut_off()
        world.wait_taken(50)
    acknowledged = world.ledger.acknowledged
    world.scraper.close()
    pair.fail_over()
    for bridge in others:
        assert wait_for(lambda bridge=bridge: _code(bridge), "a replica that ends", 60) == 1
        assert "the journal went back" in bridge.output(), bridge.output()[-2000:]
    sessions, events = journaled(world.sql)
    lost = len(world.ledger.sessions - set(sessions)) + len(world.ledger.events - set(events))
    assert lost >= 50
    for bridge in world.fleet.bridges:
        if _code(bridge) is not None:
            bridge.start()
    settle(world.fleet)
    kept = sum(sessions.values()) + sum(events.values())
    wait_for(
        lambda: world.fleet.metric("otel_bridge_records_total", result="accepted") == kept,
        "a page of what is there",
        60,
    )
    assert world.fleet.metric("otel_bridge_ledger_gap") == 0
    assert world.fleet.metric("otel_bridge_journal_went_back_timestamp_seconds") > 0
    wait_for(lambda: _serves_again(world), "replicas that serve, also the one that found it out last", 60)
    say(f"of {acknowledged} acknowledged {lost} are gone; each replica that lacks some ended by itself and said so")


def _serves_again(world: World) -> bool:
    """As whatever runs them starts those that end."""
    for bridge in world.fleet.bridges:
        if _code(bridge) is not None:
            bridge.start()
    return world.fleet.bridges[0].event(world.fleet.bridges[1].session()).status_code == 201


def _code(bridge: Bridge) -> int | None:
    assert bridge.process is not None
    return bridge.process.poll()
