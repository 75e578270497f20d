"""Rate limits: who is counted, what a refusal says, and what counting may cost."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
import requests

from otel_bridge.access import keys, memory
from otel_bridge.access.addresses import REMEMBERED, Addresses
from otel_bridge.access.memory import BoundedMemory
from otel_bridge.access.refusal import wait_seconds
from tests.frontdoor.conftest import Serve
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge

KEYS = [f"otb_{letter * 43}" for letter in "ab"]
CONFIG = f"""
[gpts.uno]
rate_limit = "5/hour"
api_key_hashes = ["{keys.hash_of(KEYS[0].encode())}", "{keys.hash_of(KEYS[1].encode())}"]
[gpts.dos]
[gpts.libre]
rate_limit = "off"
"""


@pytest.fixture(scope="module")
def limited(serve: Serve) -> Bridge:
    return serve(CONFIG, OTEL_BRIDGE_RATE_LIMIT="5/hour", OTEL_BRIDGE_TRUSTED_PROXIES="127.0.0.0/8, 10.0.0.0/8")


def open_session(bridge: Bridge, gpt: str, **headers: str) -> requests.Response:
    return bridge.post("/sessions", {**GUIDE_SESSION, "gpt_id": gpt}, headers=headers)


def test_past_the_limit_a_caller_is_told_when_to_come_back(limited: Bridge) -> None:
    caller = {"X-Forwarded-For": "198.51.100.1"}
    assert [open_session(limited, "dos", **caller).status_code for _ in range(7)] == [201] * 5 + [429] * 2
    refused = open_session(limited, "dos", **caller)
    assert 0 < int(refused.headers["Retry-After"]) <= 3600
    assert refused.headers["RateLimit-Limit"] == "5"
    assert refused.headers["RateLimit-Remaining"] == "0"
    assert refused.headers["RateLimit-Reset"] == refused.headers["Retry-After"]
    assert refused.headers["RateLimit-Policy"] == "5;w=3600"
    assert refused.json()["type"] == "urn:otel-bridge:limite-excedido"
    assert "5 registros cada hora" in refused.json()["detail"]
    assert open_session(limited, "dos", **{"X-Forwarded-For": "198.51.100.2"}).status_code == 201


def test_the_items_of_a_batch_count_one_by_one_and_a_refused_batch_leaves_nothing(limited: Bridge) -> None:
    caller = {"X-Forwarded-For": "198.51.100.3"}
    session = open_session(limited, "dos", **caller).json()["id"]
    event = {**GUIDE_EVENT, "sesion_id": session}
    assert limited.post("/events", [event] * 3, headers=caller).status_code == 201
    before = limited.metric("otel_bridge_records_total", result="accepted")
    refused = limited.post("/events", [event] * 2, headers=caller)
    assert refused.status_code == 429 and refused.headers["RateLimit-Remaining"] == "1"
    assert limited.metric("otel_bridge_records_total", result="accepted") == before
    assert limited.post("/events", event, headers=caller).status_code == 201


def test_a_batch_that_no_waiting_would_let_in_is_told_to_divide(limited: Bridge) -> None:
    caller = {"X-Forwarded-For": "198.51.100.4"}
    session = open_session(limited, "dos", **caller).json()["id"]
    refused = limited.post("/events", [{**GUIDE_EVENT, "sesion_id": session}] * 6, headers=caller)
    assert refused.status_code == 429 and "lotes de 5 como mucho" in refused.json()["detail"]


def test_each_key_has_its_own_count_wherever_it_comes_from(limited: Bridge) -> None:
    def post(key: str, address: str) -> int:
        headers = {"Authorization": f"Bearer {key}", "X-Forwarded-For": address}
        return open_session(limited, "uno", **headers).status_code

    assert [post(KEYS[0], f"203.0.113.{i}") for i in range(6)] == [201] * 5 + [429]
    assert post(KEYS[1], "203.0.113.0") == 201


def test_guessing_keys_is_limited_too_and_costs_the_keys_owner_nothing(limited: Bridge) -> None:
    def post(key: str) -> int:
        headers = {"Authorization": f"Bearer {key}", "X-Forwarded-For": "203.0.113.77"}
        return open_session(limited, "uno", **headers).status_code

    assert [post(f"otb_guess{i}") for i in range(6)] == [401] * 5 + [429]
    assert post(KEYS[1]) == 201


def test_a_gpt_may_have_no_limit_of_its_own(limited: Bridge) -> None:
    assert {open_session(limited, "libre").status_code for _ in range(20)} == {201}


def test_reading_a_session_counts_as_well(limited: Bridge) -> None:
    caller = {"X-Forwarded-For": "198.51.100.9"}
    session = open_session(limited, "dos", **caller).json()["id"]
    got = [limited.http.get(f"{limited.api}/sessions/{session}", headers=caller).status_code for _ in range(5)]
    assert got == [200] * 4 + [429]


# --- the client's address -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "client, forwarded, address",
    [
        ("203.0.113.1", [], "203.0.113.1"),
        ("203.0.113.1", ["198.51.100.1"], "203.0.113.1"),  # nobody vouches for what a client says
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1"], "198.51.100.1"),  # the client's own addition stands on the left
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4", "198.51.100.1"], "198.51.100.1"),  # two headers are one list
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["nonsense"], "?"),
        ("10.0.0.1", [""], "?"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8::5", [], "2001:db8::/64"),  # whoever has one address of it has them all
        ("10.0.0.1", ["[2001:db8::5]:443"], "2001:db8::/64"),
        ("", [], "?"),
    ],
)
def test_the_clients_address_is_the_last_one_that_no_trusted_proxy_added(
    client: str, forwarded: list[str], address: str
) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    assert Addresses(["10.0.0.0/8"]).client(client, headers) == address


# --- the storage ----------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [6000.0]
    monkeypatch.setattr(memory, "_monotonic", lambda: now[0])
    return now


def test_a_window_slides_so_that_no_minute_holds_twice_the_limit(clock: list[float]) -> None:
    memory = BoundedMemory()
    clock[0] = 6059.0
    assert sum(memory.take("k", 60, 60, 1) for _ in range(100)) == 60
    clock[0] = 6061.0
    assert sum(memory.take("k", 60, 60, 1) for _ in range(100)) == 1
    clock[0] = 6090.0
    assert sum(memory.take("k", 60, 60, 1) for _ in range(100)) == 29
    clock[0] = 6300.0
    assert sum(memory.take("k", 60, 60, 1) for _ in range(100)) == 60


@pytest.mark.parametrize("amount", [1, 7, 60])
@pytest.mark.parametrize("at", [6000.0, 6030.5, 6059.9])
@pytest.mark.parametrize("before", [0, 13, 60])
def test_what_retry_after_says_is_enough_and_little_more(
    clock: list[float], at: float, before: int, amount: int
) -> None:
    memory = BoundedMemory()
    clock[0] = 5990.0
    for _ in range(before):
        memory.take("k", 60, 60, 1)
    clock[0] = at
    while memory.take("k", 60, 60, 1):
        pass
    if memory.take("k", 60, 60, amount):
        return
    wait = wait_seconds(60, 60, amount, memory.look("k", 60))
    assert wait >= 1
    clock[0] = at + max(0, wait - 2)
    early = memory.take("k", 60, 60, amount) if wait > 2 else False
    clock[0] = at + wait
    assert not early and memory.take("k", 60, 60, amount)


def test_memory_is_bounded_whatever_addresses_clients_come_from() -> None:
    memory = BoundedMemory(size=1000)
    for i in range(10_000):
        assert memory.take(f"gpt/{i}", 5, 60, 1)
        assert len(memory) <= 1000
    assert not memory.take("gpt/9999", 5, 60, 5)


def test_the_addresses_that_are_remembered_are_bounded() -> None:
    addresses = Addresses([])
    for i in range(REMEMBERED + 10):
        addresses.client(f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}", [])
    assert len(addresses) <= REMEMBERED


# --- every entrance -------------------------------------------------------------------------------------------------

CONVERSATION = {"openai-conversation-id": "conv-1"}
NOWHERE = str(uuid.UUID(int=7))
ENTRANCES: dict[str, Callable[[Bridge, dict[str, str]], requests.Response]] = {
    "a session of an unknown GPT": lambda bridge, headers: open_session(bridge, "nadie", **headers),
    "the same, within a conversation": lambda bridge, headers: open_session(bridge, "nadie", **headers, **CONVERSATION),
    "an event of an unknown session": lambda bridge, headers: bridge.post(
        "/events", {**GUIDE_EVENT, "sesion_id": NOWHERE}, headers=headers
    ),
    "an event of an unknown GPT, within a conversation": lambda bridge, headers: bridge.post(
        "/events", {**GUIDE_EVENT, "gpt_id": "nadie"}, headers={**headers, **CONVERSATION}
    ),
    "the state of an unknown session": lambda bridge, headers: bridge.http.get(
        f"{bridge.api}/sessions/{NOWHERE}", headers=headers, timeout=10
    ),
    "the state of what is no session": lambda bridge, headers: bridge.http.get(
        f"{bridge.api}/sessions/nada", headers=headers, timeout=10
    ),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_looking_for_what_does_not_exist_is_limited_at_every_entrance(limited: Bridge, entrance: str) -> None:
    caller = {"X-Forwarded-For": f"198.51.100.{100 + list(ENTRANCES).index(entrance)}"}
    statuses = [ENTRANCES[entrance](limited, caller).status_code for _ in range(9)]
    assert statuses == [404] * 5 + [429] * 4


TOOLS = [
    ("crear_sesion", {"gpt_id": "nadie", "usuario_id": "u"}),
    ("registrar_evento", {**GUIDE_EVENT, "sesion_id": NOWHERE}),
    ("registrar_evento", {**GUIDE_EVENT, "gpt_id": "nadie"}),
    ("valorar_evento", {"evento_id": NOWHERE, "valor": 1}),
    ("terminar_sesion", {"sesion_id": NOWHERE}),
    ("terminar_sesion", {"gpt_id": "nadie"}),
]


@pytest.mark.parametrize("number", range(len(TOOLS)))
def test_a_tool_that_looks_for_what_does_not_exist_is_limited(limited: Bridge, number: int) -> None:
    tool, arguments = TOOLS[number]
    headers = {"X-Forwarded-For": f"198.51.100.{120 + number}", "Accept": "application/json, text/event-stream"}
    params = {"name": tool, "arguments": arguments, "_meta": {"openai/session": "chat-1"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    kinds = []
    for _ in range(7):
        answer = limited.http.post(f"{limited.url}/mcp", json=message, headers=headers, timeout=10)
        kinds.append(answer.json()["result"]["structuredContent"]["status"])
    assert kinds == [404] * 5 + [429] * 2
