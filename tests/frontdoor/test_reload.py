"""A running bridge takes on a changed configuration, and keeps the old one where the new one is wrong."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import pytest

from otel_bridge import config
from otel_bridge.access import keys
from otel_bridge.ops.reload import RELOADED
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

OLD, NEW = "otb_" + "o" * 43, "otb_" + "n" * 43


def table(*allowed: str, more: str = "", gpt: str = "uno") -> str:
    hashes = ", ".join(f'"{keys.hash_of(key.encode())}"' for key in allowed)
    return f"{more}\n[gpts.{gpt}]\napi_key_hashes = [{hashes}]\n"


def post(bridge: Bridge, key: str, gpt: str = "uno") -> int:
    headers = {"Authorization": f"Bearer {key}"}
    return bridge.post("/sessions", {**GUIDE_SESSION, "gpt_id": gpt}, headers=headers).status_code


def test_a_key_is_rotated_under_load_without_a_restart_or_a_lost_request(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge(table(OLD)).start()
    assert bridge.process is not None
    pid = bridge.process.pid
    statuses: list[int] = []
    done = threading.Event()

    def client() -> None:
        with bridge.http.__class__() as http:
            while not done.is_set():
                headers = {"X-API-Key": OLD}
                statuses.append(
                    http.post(
                        f"{bridge.api}/sessions", json={**GUIDE_SESSION, "gpt_id": "uno"}, headers=headers
                    ).status_code
                )

    thread = threading.Thread(target=client)
    thread.start()
    assert post(bridge, NEW) == 401
    bridge.config.write_text(table(OLD, NEW))
    wait_for(lambda: post(bridge, NEW) == 201, "the new key taken on")
    done.set()
    thread.join()
    assert set(statuses) == {201}
    bridge.config.write_text(table(NEW))
    wait_for(lambda: post(bridge, OLD) == 401, "the old key refused")
    assert post(bridge, NEW) == 201
    assert bridge.process.poll() is None and bridge.process.pid == pid
    assert bridge.stop() == 0


def test_keys_new_write_is_taken_on_by_the_running_bridge(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge(table(OLD)).start()
    made = bridge.run("keys", "new", "uno", "--write")
    key = next(word for word in made.stdout.split() if word.startswith("otb_"))
    wait_for(lambda: post(bridge, key) == 201, "the new key taken on")
    assert post(bridge, OLD) == 201


@pytest.mark.parametrize(
    ("bad", "problems"),
    [
        ("not = [toml", 1),
        ("unknown_key = 1\nretention_days = 0\n" + table(NEW), 2),
        (table("x").replace("sha256:", "md5:"), 1),
        ("", 1),
    ],
)
def test_a_bad_file_keeps_the_old_configuration_and_says_so_loudly(
    make_bridge: Callable[..., Bridge], bad: str, problems: int
) -> None:
    bridge = make_bridge(table(OLD)).start()
    assert bridge.metric("otel_bridge_config_reload_failed") == 0
    # In one step: what was half written would be told, too.
    bridge.config.with_suffix(".new").write_text(bad)
    bridge.config.with_suffix(".new").rename(bridge.config)
    wait_for(lambda: bridge.metric("otel_bridge_config_reload_failed") == 1, "the failure on /metrics")
    assert post(bridge, OLD) == 201 and post(bridge, NEW) == 401
    ready = bridge.http.get(f"{bridge.url}/readyz")
    assert ready.status_code == 200  # records are as safe as before
    assert "sigue vigente la anterior" in ready.json()["configuracion"]["estado"]
    assert str(bridge.config) not in ready.text
    told = "the configuration is wrong; the one before it stays in force"
    wait_for(lambda: bridge.output().count(told) >= problems, "what is wrong in the log")
    assert bridge.output().count(told) == problems
    bridge.config.write_text(table(NEW))
    wait_for(lambda: bridge.metric("otel_bridge_config_reload_failed") == 0, "the good file taken on")
    assert post(bridge, NEW) == 201 and post(bridge, OLD) == 401


def test_a_file_that_vanishes_and_comes_back_is_no_reason_to_stop(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge(table(OLD)).start()
    bridge.config.unlink()
    wait_for(lambda: bridge.metric("otel_bridge_config_reload_failed") == 1, "the failure on /metrics")
    assert post(bridge, OLD) == 201
    bridge.config.write_text(table(NEW))
    wait_for(lambda: post(bridge, NEW) == 201, "the new file taken on")


def test_sighup_reads_the_file_again_at_once(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge(table(OLD)).start()
    assert bridge.process is not None
    for _ in range(3):
        bridge.process.send_signal(signal.SIGHUP)
        time.sleep(0.05)
    wait_for(lambda: "the configuration was read again; changed: nothing" in bridge.output(), "the reload in the log")
    assert bridge.process.poll() is None
    assert post(bridge, OLD) == 201


def test_what_needs_a_restart_is_named_and_stays_as_it_was(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge(table(OLD)).start()
    bridge.config.write_text(table(NEW, more='redaction = "full"\nqueue_max_records = 7\ncontent_max_chars = 9'))
    wait_for(lambda: post(bridge, NEW) == 201, "the rest taken on")
    wait_for(lambda: "need a restart: redaction, queue_max_records" in bridge.output(), "what needs a restart, named")
    state = bridge.http.get(f"{bridge.url}/readyz").json()["configuracion"]
    assert state["requieren_reinicio"] == ["redaction", "queue_max_records"]


def test_a_gpt_that_is_added_counts_and_exports_and_one_that_leaves_is_unknown(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    bridge = make_bridge(table(OLD), **receiver.environ).start()
    headers = {"X-API-Key": OLD}
    session = bridge.post("/sessions", {**GUIDE_SESSION, "gpt_id": "uno"}, headers=headers).json()["id"]
    wait_for(lambda: len(receiver.spans) == 1, "its span")
    added = table(NEW, gpt="dos") + 'name = "El Segundo"\nlatency_objective_seconds = 0.5\nevent_types = ["pregunta"]\n'
    bridge.config.write_text(added)
    wait_for(lambda: post(bridge, NEW, "dos") == 201, "the new GPT")
    second = bridge.post("/sessions", {**GUIDE_SESSION, "gpt_id": "dos"}, headers={"X-API-Key": NEW}).json()["id"]
    event = {**GUIDE_EVENT, "sesion_id": second, "tipo": "pregunta"}
    assert bridge.post("/events", event, headers={"X-API-Key": NEW}).status_code == 201
    assert bridge.metric("gpt_slo_events_total", gen_ai_agent_id="dos", result="bad") == 1
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count", event_type="pregunta") == 1
    found = wait_for(lambda: receiver.find(name="pregunta"), "its span", timeout=60)
    assert found[0].attributes["gen_ai.agent.name"] == "El Segundo"
    # A type that it gets later names its spans, too.
    bridge.config.write_text(added.replace('["pregunta"]', '["pregunta", "otra pregunta"]'))
    other = {**GUIDE_EVENT, "sesion_id": second, "tipo": "otra pregunta"}
    wait_for(
        lambda: bridge.post("/events", other, headers={"X-API-Key": NEW}) and receiver.find(name="otra pregunta"),
        "its span", timeout=60,
    )  # fmt: skip
    assert bridge.metric("otel_bridge_worker_restarts_total", worker="exporter") == 0
    # What left takes its keys along: nothing of it is shown or taken.
    assert post(bridge, OLD) == 404
    assert bridge.http.get(f"{bridge.api}/sessions/{session}", headers=headers).status_code == 404
    assert bridge.http.get(f"{bridge.api}/sessions/{session}").status_code == 404
    assert bridge.post("/events", {**GUIDE_EVENT, "sesion_id": session}, headers=headers).status_code == 404
    settle(bridge)
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    assert bridge.stop() == 0


def test_a_price_that_is_added_counts_from_then_on(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge('[gpts.uno]\nmodel = "modelo-x"\n').start()
    session = bridge.session(gpt_id="uno")

    def counted() -> tuple[float, float]:
        return bridge.metric("gpt_unpriced_tokens_total"), bridge.metric("gpt_cost_usd_total")

    assert (counted(), bridge.event(session).status_code, counted()) == ((0, 0), 201, (175, 0))
    priced = "prices = { input = 1_000_000, cached = 100_000, output = 0 }"
    bridge.config.write_text(f'[gpts.uno]\nmodel = "modelo-x"\n{priced}\n')
    wait_for(lambda: "changed: gpts.uno" in bridge.output(), "the price taken on")
    assert bridge.event(session, tokens_cache=20).status_code == 201
    assert counted() == (175, pytest.approx(5 + 20 * 0.1))
    for end in (bridge.stop, bridge.kill):
        end()
        bridge.start()
        assert counted() == (175, pytest.approx(7))


def test_a_door_cannot_be_left_open_by_a_reload(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge(table(OLD), OTEL_BRIDGE_HOST="0.0.0.0").start()
    bridge.config.write_text("[gpts.uno]\n")
    wait_for(lambda: bridge.metric("otel_bridge_config_reload_failed") == 1, "the failure on /metrics")
    assert post(bridge, NEW) == 401 and post(bridge, OLD) == 201


def test_limits_and_cors_change_while_it_runs(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge(table(OLD)).start()
    del bridge.environ["OTEL_BRIDGE_RATE_LIMIT"]
    origin = {"Origin": "https://app.example"}
    assert "Access-Control-Allow-Origin" not in bridge.http.get(f"{bridge.url}/healthz", headers=origin).headers
    bridge.config.write_text(table(OLD, more='cors_origins = ["https://app.example"]') + 'rate_limit = "2/hour"\n')

    def allowed() -> bool:
        return "Access-Control-Allow-Origin" in bridge.http.get(f"{bridge.url}/healthz", headers=origin).headers

    wait_for(allowed, "the origin allowed")
    assert [post(bridge, OLD) for _ in range(3)] == [201, 201, 429]


def test_every_reloaded_setting_is_a_setting() -> None:
    assert {setting.key for setting in config.SETTINGS} >= RELOADED


def test_the_served_documents_are_made_anew(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge(table(more='public_url = "https://old.example"')).start()

    def served(path: str) -> str:
        return str(bridge.http.get(bridge.url + path).json()["servers"][0]["url"])

    documents = ("/openapi.json", "/openapi-gpt.json")
    assert [served(path) for path in documents] == ["https://old.example"] * 2
    bridge.config.write_text(table(more='public_url = "https://new.example"'))
    wait_for(lambda: served("/openapi.json") == "https://new.example", "the new address")
    assert served("/openapi-gpt.json") == "https://new.example"
    assert bridge.stop() == 0
