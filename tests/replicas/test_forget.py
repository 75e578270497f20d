"""`user forget` while three bridges serve one journal in PostgreSQL."""

from __future__ import annotations

import json

from tests.harness.settling import settle
from tests.harness.waiting import wait_for
from tests.replicas.conftest import Place

PERSON, SAID = "ana.garcia-0042", "esto lo dijo solo una persona"


def test_nothing_of_a_person_is_left_and_all_is_still_counted(place: Place) -> None:
    bridges = place.fleet.bridges
    session = bridges[0].session(usuario_id=PERSON)
    for number in range(30):
        assert bridges[number % 3].event(session, contenido=f"{SAID} {number}").status_code == 201
    other = bridges[1].session(usuario_id="otra")
    assert bridges[2].event(other).status_code == 201
    settle(place.fleet)
    user = bridges[0].run("user", "hash", PERSON).stdout.strip()
    found = json.loads(bridges[1].run("user", "forget", PERSON, "--json").stdout)
    assert (found["sessions"], found["events"], found["traces"][0]["trace_id"]) == (1, 30, session.replace("-", ""))
    done = bridges[2].run("user", "forget", PERSON, "--yes", timeout=60)
    assert done.returncode == 0 and "VACUUM otel_bridge.segment" in done.stdout, done.stderr
    for table in ("segment", "parked"):
        for (body,) in place.sql(f"SELECT body FROM otel_bridge.{table}"):
            assert user.encode() not in bytes(body) and SAID.encode() not in bytes(body)
    for table in ("session", "usage"):
        assert place.sql(f'SELECT count(*) FROM otel_bridge.{table} WHERE "user" = %s', user) == [(0,)]
    assert place.sql("SELECT sum(events)::int FROM otel_bridge.usage") == [(31,)]

    def users() -> float:
        return place.fleet.metric("gpt_active_users", gen_ai_agent_id="devops-expert", window="1d")

    wait_for(lambda: users() == 1, "one user", 30)
    assert place.fleet.metric("gpt_active_sessions", gen_ai_agent_id="devops-expert", window="1d") == 2
    settle(place.fleet)
    assert place.fleet.metric("otel_bridge_ledger_gap") == 0
    assert place.fleet.metric("gen_ai_client_operation_duration_seconds_count") == 31
    assert "no hay nada de esta persona" in bridges[0].run("user", "forget", PERSON).stdout
