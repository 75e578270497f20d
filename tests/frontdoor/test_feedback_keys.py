"""Whose events may be rated and whose sessions ended: by who may post to their GPT."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import requests

from otel_bridge.access.keys import hash_of
from tests.harness.bridge import GUIDE_EVENT, Bridge

OWN, OTHERS = "obk_own_0123456789abcdefghijklmnopqrstuv", "obk_others_0123456789abcdefghijklmnopqr"
CONFIG = f"""
[gpts.abierto]
name = "Abierto"
[gpts.propio]
name = "Propio"
api_key_hashes = ["{hash_of(OWN.encode())}"]
[gpts.ajeno]
name = "Ajeno"
api_key_hashes = ["{hash_of(OTHERS.encode())}"]
"""


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Bridge(tmp_path_factory.mktemp("keys"), CONFIG)
    yield made.start()
    made.close()


def headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"X-API-Key": key}


def event(bridge: Bridge, gpt: str, key: str | None, **fields: Any) -> dict[str, Any]:
    session = bridge.post(
        "/sessions", {"gpt_id": gpt, "usuario_id": "ana", "timestamp_inicio": "2025-06-29T20:00:00Z"},
        headers=headers(key),
    ).json()["id"]  # fmt: skip
    answer = bridge.post("/events", {**GUIDE_EVENT, "sesion_id": session, **fields}, headers=headers(key))
    assert answer.status_code in (200, 201), answer.text
    return dict(answer.json())


def rate(bridge: Bridge, event_id: str, key: str | None, valor: float = 1) -> requests.Response:
    return bridge.post(f"/events/{event_id}/valoracion", {"valor": valor}, headers=headers(key))


def end(bridge: Bridge, session: str, key: str | None) -> requests.Response:
    return bridge.http.post(f"{bridge.api}/sessions/{session}/fin", headers=headers(key), timeout=30)


@pytest.mark.parametrize(("key", "status"), [(OWN, 200), (None, 401), ("falsa", 401), (OTHERS, 403)])
def test_a_gpt_with_keys_asks_for_its_own(bridge: Bridge, key: str | None, status: int) -> None:
    rated = event(bridge, "propio", OWN)
    answers = rate(bridge, rated["id"], key), end(bridge, rated["sesion_id"], key)
    assert [answer.status_code for answer in answers] == [201 if status == 200 else status, status]
    state = bridge.http.get(f"{bridge.api}/sessions/{rated['sesion_id']}", headers=headers(OWN), timeout=30).json()
    assert state["activa"] is (status != 200)


def test_an_id_that_several_gpts_have_means_the_keys_own_else_the_first(bridge: Bridge) -> None:
    chosen = str(uuid.uuid4())
    made = {
        gpt: event(bridge, gpt, key, id=chosen) for gpt, key in (("abierto", None), ("propio", OWN), ("ajeno", OTHERS))
    }
    for gpt, key in (("abierto", None), ("propio", OWN), ("ajeno", OTHERS)):
        answer = rate(bridge, chosen, key)
        assert answer.status_code == 201 and answer.json()["sesion_id"] == made[gpt]["sesion_id"]
    later = str(uuid.uuid4())
    first = event(bridge, "propio", OWN, id=later)
    event(bridge, "abierto", None, id=later)
    assert rate(bridge, later, None).status_code == 401, "whoever chooses the id later does not take its place"
    assert rate(bridge, later, OWN).json()["sesion_id"] == first["sesion_id"]


def test_looking_for_events_that_do_not_exist_is_limited(make_bridge: Callable[..., Bridge]) -> None:
    limited = make_bridge(CONFIG, OTEL_BRIDGE_RATE_LIMIT="20/day").start()
    known, other = event(limited, "abierto", None), event(limited, "abierto", None)
    own = event(limited, "propio", OWN)
    assert rate(limited, known["id"], None).status_code == 201
    answers = [rate(limited, str(uuid.uuid4()), None).status_code for _ in range(30)]
    assert answers == [404] * 20 + [429] * 10
    assert rate(limited, other["id"], None).status_code == 429, "nothing is searched for who has guessed so much"
    assert rate(limited, own["id"], OWN).status_code == 201, "a key says who asks"
    assert rate(limited, known["id"], None, 0.5).status_code == 201, "it was found lately"
    answers = [rate(limited, known["id"], None, i / 100).status_code for i in range(30)]
    assert answers.count(429) >= 11 and answers[0] == 201
