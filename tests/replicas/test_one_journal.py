"""Three replicas over one journal answer as one machine does, and one of them counts for all."""

from __future__ import annotations

import uuid
from itertools import cycle

from otel_bridge import catalog
from tests.harness.bridge import GUIDE_EVENT, Bridge, refusals
from tests.harness.fleet import page
from tests.harness.settling import settle
from tests.harness.waiting import wait_for
from tests.replicas.conftest import Place

ACCEPTED = {"kind": "event", "result": "accepted"}
NAMES = {series: metric.name for metric in catalog.METRICS for series in metric.series}


OF_EACH = catalog.OF_EACH_PROCESS - {catalog.METRICS_PUSHES.name}
"""Nothing is pushed here."""


def families(bridge: Bridge) -> set[str]:
    return {NAMES[name] for name, _ in page(bridge)}


def test_a_session_that_one_has_opened_takes_events_on_the_others_at_once(place: Place) -> None:
    replicas = place.fleet.bridges
    for opener in replicas:
        session = opener.session()
        for other in replicas:
            assert other.event(session).status_code == 201
        for other in replicas:
            assert other.http.get(f"{other.api}/sessions/{session}").json()["eventos"] == 3


def test_what_was_acknowledged_by_any_is_on_the_stewards_next_page(place: Place) -> None:
    steward = place.fleet.steward()
    assert steward is not None
    session = steward.session()
    before = steward.metric(catalog.RECORDS.name, **ACCEPTED)
    for number, replica in zip(range(1, 10), cycle(place.fleet.bridges), strict=False):
        assert replica.event(session).status_code == 201
        shown = page(steward)
        accepted = (catalog.RECORDS.name, (("kind", "event"), ("reason", ""), ("result", "accepted")))
        assert shown[accepted] == before + number
        assert shown[(catalog.LEDGER_GAP.name, ())] == 0


def test_the_steward_shows_what_is_shared_and_every_replica_what_is_its_own(place: Place) -> None:
    steward = place.fleet.steward()
    assert steward is not None
    for replica in place.fleet.bridges:
        shown = families(replica)
        assert shown & OF_EACH == OF_EACH
        assert bool(shown - OF_EACH) == (replica is steward)
    states = {bridge.http.get(f"{bridge.url}/readyz").json()["replicas"]["estado"] for bridge in place.fleet.bridges}
    assert states == {"esta réplica lleva la cuenta de todas", "cuenta otra réplica"}
    lanes = {bridge.http.get(f"{bridge.url}/readyz").json()["replicas"]["carril"] for bridge in place.fleet.bridges}
    assert len(lanes) == 3


def test_a_retry_is_recognised_by_whichever_replica_it_meets(place: Place) -> None:
    one, two, three = place.fleet.bridges
    session = one.session()
    chosen = {"id": str(uuid.uuid4())}
    said = {**GUIDE_EVENT, "sesion_id": session, "timestamp": "2026-11-27T10:00:00Z"}
    header = {"Idempotency-Key": uuid.uuid4().hex}
    for body, headers in (({**said, **chosen}, {}), (said, {}), ({**said, "contenido": "otra"}, header)):
        first, again, third = (replica.post("/events", body, headers=headers) for replica in (one, two, three))
        assert (first.status_code, again.status_code, third.status_code) == (201, 200, 200)
        assert first.json()["id"] == again.json()["id"] == third.json()["id"]
    assert two.post("/events", {**said, **chosen, "tipo": "otro"}).status_code == 409
    assert three.post("/events", {**said, "contenido": "x"}, headers=header).status_code == 409


def test_an_answer_is_rated_and_a_session_ended_by_whichever_replica_is_asked(place: Place) -> None:
    one, two, three = place.fleet.bridges
    before = place.fleet.metric(catalog.SESSION_EVENTS.name + "_count")
    session = one.session()
    event = two.event(session).json()["id"]
    rated = three.post(f"/events/{event}/valoracion", {"valor": 1})
    assert rated.status_code == 201, rated.text
    assert one.post(f"/events/{event}/valoracion", {"valor": 1}).status_code == 200
    ended = three.post(f"/sessions/{session}/fin", {})
    assert ended.status_code == 200 and not ended.json()["activa"], ended.text
    assert not one.http.get(f"{one.api}/sessions/{session}").json()["activa"]
    assert place.fleet.metric(catalog.SESSION_EVENTS.name + "_count") == before + 1
    assert one.event(session).status_code == 201
    assert two.http.get(f"{two.api}/sessions/{session}").json()["activa"]


def test_what_replicas_count_of_themselves_is_added_up(place: Place) -> None:
    rejected = {"kind": "session", "result": "rejected"}
    before = place.fleet.metric(catalog.RECORDS.name, **rejected)
    for replica in place.fleet.bridges:
        for _ in range(5):
            assert replica.post("/sessions", {"gpt_id": "nobody"}).status_code == 422
    wait_for(
        lambda: place.fleet.metric(catalog.RECORDS.name, **rejected) == before + 15, "the refusals of all replicas", 10
    )


def test_windows_are_counted_over_all_replicas(place: Place) -> None:
    users = [f"usuario-{number}" for number in range(3)]
    for replica, user in zip(place.fleet.bridges, users, strict=True):
        assert replica.event(replica.session(usuario_id=user)).status_code == 201
    known = place.sql('SELECT count(DISTINCT "user") FROM otel_bridge.session')[0][0]
    wait_for(
        lambda: place.fleet.metric(catalog.ACTIVE_USERS.name, window="1d") == known, "every user in the window", 60
    )


def test_everything_is_delivered_once_by_the_replica_that_took_it(place: Place) -> None:
    settle(place.fleet, 60)
    exported = place.fleet.metric(catalog.EXPORTED.name)
    assert exported == place.fleet.metric(catalog.RECORDS.name, result="accepted") == sum(place.receiver.times.values())
    assert set(place.receiver.times.values()) == {1}
    assert place.fleet.metric(catalog.LEDGER_GAP.name) == 0


def test_a_gpt_that_is_new_in_the_configuration_has_its_series_on_the_stewards_page(place: Place) -> None:
    new = '\n[gpts.nuevo]\nname = "Nuevo"\nprovider = "openai"\nmodel = "gpt-x"\n'
    for bridge in place.fleet.bridges:
        bridge.config.write_text(bridge.config.read_text(encoding="utf-8") + new, encoding="utf-8")

    def sessions() -> list[float]:
        shown = place.fleet.scrape()
        return [
            v
            for (name, has), v in shown.items()
            if name == catalog.SESSIONS.name and ("gen_ai_agent_id", "nuevo") in has
        ]

    wait_for(sessions, "its series at 0", 10)
    before = sum(sessions())
    for bridge in place.fleet.bridges:
        wait_for(lambda bridge=bridge: bridge.session(gpt_id="nuevo"), "a session of the new GPT", 10)
    assert sum(sessions()) == before + 3


def test_a_replica_that_would_hash_users_with_another_key_does_not_start(place: Place) -> None:
    lanes = place.sql("SELECT lane FROM otel_bridge.lane WHERE owner IS NOT NULL ORDER BY lane")
    stranger = place.fleet.add()
    for key in ("x" * 64, ""):
        stranger.environ["OTEL_BRIDGE_USER_HASH_KEY"] = key
        stranger.start(wait=False)
        assert stranger.process is not None
        assert stranger.process.wait(30) == 2
    place.fleet.bridges.remove(stranger)
    refused = [line for line in refusals(stranger.output()) if line.startswith("diario")]
    assert len(refused) == 2 and "llevan un hash con otra clave" in refused[0] and "no está aquí" in refused[1]
    assert not (stranger.folder / "data" / "otel-bridge.key").exists(), (
        "a key of its own is in the way of the right one"
    )
    assert place.sql("SELECT lane FROM otel_bridge.lane WHERE owner IS NOT NULL ORDER BY lane") == lanes


def test_a_server_that_is_away_for_a_while_is_waited_for_by_every_part(place: Place) -> None:
    def restarts(bridge: Bridge) -> float:
        return sum(value for (name, _), value in page(bridge).items() if name == catalog.WORKER_RESTARTS.name)

    before = [restarts(bridge) for bridge in place.fleet.bridges]
    session = place.fleet.bridges[0].session()
    place.cluster.crash()
    assert {bridge.http.get(f"{bridge.api}/sessions/{session}").status_code for bridge in place.fleet.bridges} == {503}
    for bridge in place.fleet.bridges:
        shown = families(bridge)
        assert shown == OF_EACH, "what cannot be saved is not shown"
    place.cluster.start()
    for bridge in place.fleet.bridges:
        wait_for(lambda bridge=bridge: bridge.event(session).status_code == 201, "a post that is taken", 60)
    settle(place.fleet, 60)
    assert place.fleet.metric(catalog.LEDGER_GAP.name) == 0
    assert [restarts(bridge) for bridge in place.fleet.bridges] == before, "a worker has died"
