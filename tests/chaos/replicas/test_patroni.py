"""A real Patroni, two nodes in synchronous mode: its own failover, under load."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.chaos.conftest import long_form
from tests.chaos.replicas.world import Say, World
from tests.harness.patroni import Node, Patroni, missing

pytestmark = [long_form, pytest.mark.skipif(missing() is not None, reason=str(missing()))]


@pytest.fixture(scope="module")
def patroni() -> Iterator[Patroni]:
    made = Patroni()
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture(scope="module")
def world(patroni: Patroni, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    patroni.sql("CREATE DATABASE puente")
    made = World(
        tmp_path_factory.mktemp("patroni"),
        patroni.dsn("puente"),
        lambda statement: patroni.sql(statement, database="puente"),
    )
    try:
        yield made.start()
    finally:
        made.close()


def _switched(patroni: Patroni, old: Node) -> None:
    patroni.switch_over()


def _postgres_killed(patroni: Patroni, old: Node) -> None:
    old.signal(signal.SIGKILL, agent=False)


def _node_killed(patroni: Patroni, old: Node) -> None:
    old.kill()


def _node_stopped(patroni: Patroni, old: Node) -> None:
    old.signal(signal.SIGSTOP)


FAULTS = {
    "patronictl switchover": _switched,
    "kill -9 of the primary's PostgreSQL": _postgres_killed,
    "kill -9 of the primary's node": _node_killed,
    "the primary's node stands still": _node_stopped,
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FAULTS)
def test_patroni_fails_over_under_load(patroni: Patroni, world: World, say: Say, fault: str) -> None:
    patroni.wait_synchronous()
    old = patroni.leader()
    assert old is not None
    with world.load(clients=6, seed=list(FAULTS).index(fault) + 1, pause=0.004):
        time.sleep(1)
        began = time.monotonic()
        FAULTS[fault](patroni, old)
        new = patroni.wait_leader(old)
        failed_over = time.monotonic() - began
        world.wait_taken(timeout=120)
        taken = time.monotonic() - began
        if fault.endswith("node"):
            old.start()
        elif fault.endswith("still"):
            old.signal(signal.SIGCONT)  # it believes that it leads, and its connections are open
        patroni.wait_synchronous()
        world.wait_taken()
    assert patroni.leader() is new
    found = world.check()
    say(
        f"{fault}: another leads after {failed_over:.1f} s, posts are taken after {taken:.1f} s: {world.figures(found)}"
    )
