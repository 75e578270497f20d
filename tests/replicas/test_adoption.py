"""What a replica that is gone has left is delivered by another, which gives its lane back."""

from __future__ import annotations

from otel_bridge import catalog
from tests.harness.otlp import OK, Reply
from tests.harness.settling import settle
from tests.harness.waiting import wait_for
from tests.replicas.conftest import Place


def lanes(place: Place, like: str = "%") -> int:
    """That somebody has."""
    return int(place.sql("SELECT count(*) FROM otel_bridge.lane WHERE owner IS NOT NULL AND name LIKE %s", like)[0][0])


def test_the_records_of_replicas_that_died_are_delivered_by_another(place: Place) -> None:
    one, two, _ = place.fleet.bridges
    place.receiver.behave = lambda spans: Reply(503, keep=False)
    taken = 0
    for bridge in (one, two):
        session = bridge.session()
        taken += 1 + sum(bridge.event(session).status_code == 201 for _ in range(5))
    assert taken == 12
    one.kill()
    two.kill()
    wait_for(lambda: place.fleet.metric(catalog.PENDING.name) == taken, "all that waits", 60)
    place.receiver.behave = lambda spans: OK
    settle(place.fleet, 30)
    assert len(place.receiver.times) == taken
    wait_for(lambda: lanes(place) == 1, "their lanes, given back", 60)
    assert place.fleet.metric(catalog.EXPORTED.name) == taken
    assert place.fleet.metric(catalog.LEDGER_GAP.name) == 0
    assert place.fleet.metric(catalog.EXPORT_ATTEMPTS.name, result="ok") >= 2
    one.start()
    assert place.sql("SELECT count(*) FROM otel_bridge.lane")[0][0] == 3, "a free lane is used again"


def test_who_drains_a_lane_gives_it_back_at_its_own_stop(place: Place) -> None:
    one, _, three = place.fleet.bridges
    place.receiver.behave = lambda spans: Reply(503, keep=False)
    session = one.session()
    assert one.event(session).status_code == 201
    one.kill()
    wait_for(lambda: lanes(place, "% drains") == 1 and lanes(place) == 2, "a lane that is drained beside its own", 60)
    assert three.stop() == 0
    assert lanes(place) == 0
    place.receiver.behave = lambda spans: OK
    three.start()
    settle(place.fleet, 30)
