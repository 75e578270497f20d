"""API keys: who may post and read for which GPT, and how a key comes into the configuration."""

from __future__ import annotations

import tomllib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_bridge.access import keys
from otel_bridge.errors import StartRefused
from tests.frontdoor.conftest import Serve
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge

ONE, OTHER, SECOND = "otb_one-" + "a" * 40, "otb_other-" + "b" * 40, "otb_second-" + "c" * 40
CONFIG = f"""
[gpts.uno]
api_key_hashes = ["{keys.hash_of(ONE.encode())}", "{keys.hash_of(SECOND.encode())}"]
[gpts.otro]
api_key_hashes = ["{keys.hash_of(OTHER.encode())}"]
[gpts.devops-expert]
"""


@pytest.fixture(scope="module")
def keyed(serve: Serve) -> Bridge:
    return serve(CONFIG)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def session(bridge: Bridge, gpt: str, headers: dict[str, str]) -> Any:
    return bridge.post("/sessions", {**GUIDE_SESSION, "gpt_id": gpt}, headers=headers)


@pytest.mark.parametrize(
    "headers",
    [bearer(ONE), bearer(SECOND), {"X-API-Key": ONE}, {"authorization": f"bearer  {ONE} "},
     {"Authorization": "Basic dTpw", "X-API-Key": ONE}],
)  # fmt: skip
def test_any_of_a_gpts_keys_opens_its_door_in_either_header(keyed: Bridge, headers: dict[str, str]) -> None:
    answer = session(keyed, "uno", headers)
    assert answer.status_code == 201
    event = {**GUIDE_EVENT, "sesion_id": answer.json()["id"]}
    assert keyed.post("/events", event, headers=headers).status_code == 201
    assert keyed.post("/events", [event, event], headers=headers).status_code == 201
    got = keyed.http.get(f"{keyed.api}/sessions/{answer.json()['id']}", headers=headers)
    assert got.status_code == 200 and got.json()["eventos"] == 3


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 401),
        (bearer("otb_wrong"), 401),
        (bearer(""), 401),
        (bearer(ONE[:-1]), 401),
        (bearer(keys.hash_of(ONE.encode())), 401),
        (bearer("x" * 5000), 401),
        ({"X-API-Key": "ñ".encode().decode("latin-1")}, 401),
        (bearer(OTHER), 403),
        ({"X-API-Key": OTHER}, 403),
    ],
)
def test_without_its_key_nothing_of_a_gpt_can_be_posted_or_read(
    keyed: Bridge, headers: dict[str, str], status: int
) -> None:
    mine = session(keyed, "uno", bearer(ONE)).json()["id"]
    before = keyed.http.get(f"{keyed.api}/sessions/{mine}", headers=bearer(ONE)).json()
    event = {**GUIDE_EVENT, "sesion_id": mine}
    for answer in (
        session(keyed, "uno", headers),
        keyed.post("/events", event, headers=headers),
        keyed.post("/events", [event, event], headers=headers),
        keyed.http.get(f"{keyed.api}/sessions/{mine}", headers=headers),
    ):
        assert answer.status_code == status, answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    assert keyed.http.get(f"{keyed.api}/sessions/{mine}", headers=bearer(ONE)).json() == before


def test_in_a_batch_of_two_gpts_only_the_keys_own_events_are_taken(keyed: Bridge) -> None:
    mine, theirs = (session(keyed, g, bearer(k)).json()["id"] for g, k in (("uno", ONE), ("otro", OTHER)))
    batch = [{**GUIDE_EVENT, "sesion_id": one} for one in (mine, theirs, mine)]
    answer = keyed.post("/events", batch, headers=bearer(ONE))
    assert answer.status_code == 207
    assert [item["estado"] for item in answer.json()["resultados"]] == [201, 403, 201]


# --- whose ids --------------------------------------------------------------------------------------------------------


def test_nobody_without_its_key_takes_a_session_id_away_from_a_gpt(keyed: Bridge) -> None:
    """A keyless caller was first with an id that a client of another GPT has chosen."""
    chosen = str(uuid.uuid4())
    squat = keyed.post("/sessions", {**GUIDE_SESSION, "id": chosen})
    assert squat.status_code == 201 and squat.json()["id"] == chosen
    body = {**GUIDE_SESSION, "gpt_id": "uno", "id": chosen}
    made = keyed.post("/sessions", body, headers=bearer(ONE))
    assert made.status_code == 201 and made.json()["gpt_id"] == "uno"
    given = made.json()["id"]
    assert given != chosen and made.json()["trace_id"] == given.replace("-", "")
    again = keyed.post("/sessions", body, headers=bearer(SECOND))
    assert (again.status_code, again.json()) == (200, made.json())
    changed = keyed.post("/sessions", {**body, "usuario_id": "otra"}, headers=bearer(ONE))
    assert changed.status_code == 409, "its own id with other content"

    for sent in (chosen, given):  # whether the client reads the answer or not
        event = {**GUIDE_EVENT, "sesion_id": sent}
        assert keyed.post("/events", event, headers=bearer(ONE)).json()["sesion_id"] == given
        assert keyed.post("/events", [event, event], headers=bearer(ONE)).status_code == 201
        state = keyed.http.get(f"{keyed.api}/sessions/{sent}", headers=bearer(ONE)).json()
        assert (state["id"], state["gpt_id"]) == (given, "uno")
    assert state["eventos"] == 6
    assert keyed.event(chosen).json()["sesion_id"] == chosen, "the keyless one's is its own"
    assert keyed.http.get(f"{keyed.api}/sessions/{chosen}").json()["eventos"] == 1
    assert keyed.post("/events", {**GUIDE_EVENT, "sesion_id": given}).status_code == 401
    # A third GPT of a key: an id that it never used leads nowhere.
    assert keyed.post("/events", {**GUIDE_EVENT, "sesion_id": given}, headers=bearer(OTHER)).status_code == 403


def test_two_gpts_with_keys_may_choose_the_same_ids(keyed: Bridge) -> None:
    chosen, event_id = str(uuid.uuid4()), str(uuid.uuid4())
    for gpt, key in (("otro", OTHER), ("uno", ONE)):
        made = keyed.post("/sessions", {**GUIDE_SESSION, "gpt_id": gpt, "id": chosen}, headers=bearer(key))
        assert made.status_code == 201, made.text
        event = {**GUIDE_EVENT, "sesion_id": chosen, "id": event_id}
        first, second = (keyed.post("/events", event, headers=bearer(key)) for _ in range(2))
        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json() == second.json() and first.json()["sesion_id"] == made.json()["id"]
        state = keyed.http.get(f"{keyed.api}/sessions/{chosen}", headers=bearer(key)).json()
        assert (state["gpt_id"], state["eventos"]) == (gpt, 1)


def test_two_gpts_without_keys_share_the_ids_of_sessions_and_not_those_of_events(serve: Serve) -> None:
    """Nothing tells whose session a keyless event means."""
    bridge = serve("[gpts.devops-expert]\n[gpts.ventas]\n")
    chosen, event_id = str(uuid.uuid4()), str(uuid.uuid4())
    assert bridge.post("/sessions", {**GUIDE_SESSION, "id": chosen}).status_code == 201
    assert bridge.post("/sessions", {**GUIDE_SESSION, "gpt_id": "ventas", "id": chosen}).status_code == 409
    others = bridge.session(gpt_id="ventas")
    assert bridge.event(others, id=event_id).status_code == 201
    assert bridge.event(chosen, id=event_id).status_code == 201
    assert bridge.event(chosen, id=event_id, contenido="otro").status_code == 409


def test_a_gpt_without_keys_takes_documented_clients_as_they_are(keyed: Bridge) -> None:
    one = keyed.session()
    assert keyed.event(one).status_code == 201
    assert keyed.event(one).status_code == 201
    assert session(keyed, "devops-expert", bearer(ONE)).status_code == 201  # a key too many hurts nobody


def test_no_key_ever_reaches_the_log(keyed: Bridge) -> None:
    for key in (ONE, OTHER, SECOND, "otb_wrong"):
        assert key not in keyed.output()


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def idle(make_bridge: Callable[..., Bridge]) -> Bridge:
    return make_bridge()


def printed_key(output: str) -> str:
    return next(word for word in output.split() if word.startswith("otb_"))


def test_keys_new_shows_a_key_once_and_the_line_that_allows_it(idle: Bridge) -> None:
    before = idle.config.read_text()
    done = idle.run("keys", "new", "devops-expert")
    assert done.returncode == 0, done.stderr
    key = printed_key(done.stdout)
    assert len(key) >= 44 and done.stdout.count(key) == 1
    assert f'api_key_hashes = ["{keys.hash_of(key.encode())}"]' in done.stdout
    assert idle.config.read_text() == before
    assert printed_key(idle.run("keys", "new", "devops-expert").stdout) != key


def test_keys_new_write_adds_the_hash_and_changes_nothing_else(idle: Bridge) -> None:
    before = idle.config.read_text()
    idle.config.chmod(0o640)
    first = printed_key(idle.run("keys", "new", "devops-expert", "--write").stdout)
    second = printed_key(idle.run("keys", "new", "devops-expert", "--write").stdout)
    text = idle.config.read_text()
    found = tomllib.loads(text)["gpts"]["devops-expert"].pop("api_key_hashes")
    assert set(found) == {keys.hash_of(first.encode()), keys.hash_of(second.encode())}
    assert [line for line in text.splitlines() if not line.startswith("api_key_hashes")] == before.splitlines()
    assert idle.config.stat().st_mode & 0o777 == 0o640
    assert list(idle.folder.glob(".otel-bridge.toml*")) == []
    assert idle.run("check").returncode == 0


def test_keys_new_names_the_gpts_there_are(idle: Bridge) -> None:
    done = idle.run("keys", "new", "no-such")
    assert done.returncode == 2 and "devops-expert" in done.stderr


@pytest.mark.parametrize(
    "text, safe",
    [
        ("[gpts.a]", True),
        ("[gpts.a]\napi_key_hashes = []\n[gpts.b]\n", True),
        ('[gpts.b]\napi_key_hashes = ["sha256:1"]\n[gpts."a"] # ours\nname = "A"\n', True),
        ('[gpts.a]\napi_key_hashes = [\n  "sha256:1", # old\n  "sha256:2",\n]\n', True),
        ('[gpts.a]\nname = """\n[gpts.b]\n"""\n', True),
        ('gpts = { a = { name = "A" } }\n', False),
        ('[gpts]\na = { name = "A" }\n', False),
        ('[gpts.c]\nname = """\n[gpts.a]\n"""\n[gpts.a]\n', False),
    ],
)
def test_a_file_is_edited_where_that_is_certain_to_be_right_and_else_left_alone(
    tmp_path: Path, text: str, safe: bool
) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    if not safe:
        with pytest.raises(StartRefused, match="a mano"):
            keys.add_hash(path, "a", "sha256:new")
        assert path.read_text() == text
        return
    keys.add_hash(path, "a", "sha256:new")
    before, after = tomllib.loads(text), tomllib.loads(path.read_text())
    assert "sha256:new" in after["gpts"]["a"].pop("api_key_hashes")
    before["gpts"]["a"].pop("api_key_hashes", None)
    assert after == before


# --- doors that stand open ------------------------------------------------------------------------------------------


def test_beyond_loopback_a_gpt_without_keys_refuses_the_start(make_bridge: Callable[..., Bridge]) -> None:
    open_door = make_bridge(OTEL_BRIDGE_HOST="0.0.0.0")
    for command in (("serve", "--port", "0", "--metrics-port", "0"), ("check",)):
        done = open_door.run(*command)
        assert done.returncode == 2
        assert "devops-expert" in done.stderr and "allow_keyless" in done.stderr


@pytest.mark.parametrize("how", ["said", "keyed"])
def test_beyond_loopback_the_bridge_starts_where_it_was_said_or_every_gpt_has_a_key(
    make_bridge: Callable[..., Bridge], how: str
) -> None:
    config = f'[gpts.uno]\napi_key_hashes = ["{keys.hash_of(ONE.encode())}"]\n'
    environ = {"OTEL_BRIDGE_HOST": "0.0.0.0"}
    if how == "said":
        config, environ = "[gpts.uno]\n", {**environ, "OTEL_BRIDGE_ALLOW_KEYLESS": "true"}
    bridge = make_bridge(config, **environ).start()
    assert session(bridge, "uno", bearer(ONE)).status_code == 201
    assert bridge.stop() == 0


@pytest.mark.parametrize(
    "host, loopback",
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.5", False), ("example.com", False), ("", False)],
)  # fmt: skip
def test_what_counts_as_loopback(host: str, loopback: bool) -> None:
    assert keys.is_loopback(host) is loopback
