"""The page of errors has each error that a sender can meet, and no other; and shows what the bridge really answers."""

from __future__ import annotations

import gzip
import json
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest

from otel_bridge import errors
from otel_bridge.access.keys import hash_of
from otel_bridge.errors import ErrorKind
from tests.docs.markdown import DOCS, blocks, difference, headings
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, ROOT, Bridge

PAGE = DOCS / "errores.md"
KEY, OTHER_KEY = "otb_clave-de-prueba", "otb_clave-de-otro"
CONFIG = (
    (ROOT / "otel-bridge.toml").read_text(encoding="utf-8")
    + f"""
[gpts.con-clave]
api_key_hashes = ["{hash_of(KEY.encode())}"]

[gpts.otro]
api_key_hashes = ["{hash_of(OTHER_KEY.encode())}"]

[gpts.lento]
rate_limit = "1/day"
"""
)


def sections() -> dict[str, str]:
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def example(kind: ErrorKind) -> dict[str, Any]:
    match = re.search(r"^```json\n(.*?)^```$", sections()[kind.type], re.M | re.S)
    assert match is not None, f"{kind.type} has no example"
    return dict(json.loads(match[1]))


def test_every_error_has_a_section_and_every_section_an_error() -> None:
    described = [heading for heading in headings(PAGE, 2) if heading.startswith("urn:")]
    assert described == [kind.type for kind in errors.ERROR_KINDS]


@pytest.mark.parametrize("kind", errors.ERROR_KINDS, ids=lambda kind: kind.slug)
def test_a_section_says_status_meaning_and_what_to_do(kind: ErrorKind) -> None:
    text = sections()[kind.type]
    assert f"**{kind.status} · {kind.title}.**" in text
    assert re.search(r"^Qué hacer: \S", text, re.M)
    shown = example(kind)
    assert (shown["type"], shown["title"], shown["status"]) == (kind.type, kind.title, kind.status)
    assert set(shown) <= {"type", "title", "status", "detail", "errors", "id"}
    assert shown["detail"]


def test_only_json_examples_stand_on_the_page() -> None:
    assert {block.language for block in blocks(PAGE)} == {"json"}


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Any:
    bridge = Bridge(tmp_path_factory.mktemp("errores"), CONFIG).start()
    yield bridge
    bridge.close()


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What takes long to be sent is refused soon: by a bridge that nobody else is refused by when he stands still."""
    bridge = Bridge(tmp_path_factory.mktemp("impaciente"), OTEL_BRIDGE_BODY_TIMEOUT_SECONDS="0.5").start()
    yield bridge
    bridge.close()


def slow(bridge: Bridge) -> dict[str, Any]:
    with socket.create_connection(("127.0.0.1", bridge.port), timeout=20) as client:
        client.sendall(b"POST /api/sessions HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n")
        client.sendall(b"Content-Length: 100\r\n\r\n{")
        answer = b""
        while b"}" not in answer:
            answer += client.recv(65_536)
    return dict(json.loads(answer[answer.index(b"\r\n\r\n") :]))


def post(path: str, body: bytes | dict[str, Any], **headers: str) -> Callable[[Bridge], dict[str, Any]]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    def send(bridge: Bridge) -> dict[str, Any]:
        every = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        answer = bridge.http.post(f"{bridge.url}{path}", data=raw, headers=every, timeout=30)
        assert answer.headers["Content-Type"] == "application/problem+json"
        return {**answer.json(), "status": answer.status_code}

    return send


def twice(first: dict[str, Any], second: dict[str, Any]) -> Callable[[Bridge], dict[str, Any]]:
    def send(bridge: Bridge) -> dict[str, Any]:
        bridge.post("/sessions", first)
        return post("/api/sessions", second)(bridge)

    return send


def get(path: str) -> Callable[[Bridge], dict[str, Any]]:
    return lambda bridge: dict(bridge.http.get(f"{bridge.url}{path}", timeout=10).json())


def refuse_all(bridge: Bridge) -> dict[str, Any]:
    return dict(bridge.http.get(bridge.metrics_url, headers={"Accept": "*/*;q=0"}, timeout=10).json())


ID = "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f"
NO_SESSION = "00000000-0000-4000-8000-000000000000"
PROVOKED: dict[ErrorKind, Callable[[Bridge], dict[str, Any]]] = {
    errors.JSON_MALFORMED: post("/api/events", b'{"sesion_id": '),
    errors.ENCODING_MALFORMED: post("/api/events", b"{}", Content_Encoding="gzip"),
    errors.HEADER_INVALID: post("/api/sessions", GUIDE_SESSION, Idempotency_Key="con espacios"),
    errors.UNAUTHENTICATED: post("/api/sessions", {**GUIDE_SESSION, "gpt_id": "con-clave"}),
    errors.FORBIDDEN: post("/api/sessions", {**GUIDE_SESSION, "gpt_id": "con-clave"}, X_API_Key=OTHER_KEY),
    errors.ORIGIN_REFUSED: post("/mcp", b"{}", Origin="https://pagina.example"),
    errors.GPT_NOT_FOUND: post("/api/sessions", {**GUIDE_SESSION, "gpt_id": "DevOps-Expert"}),
    errors.SESSION_NOT_FOUND: post("/api/events", {**GUIDE_EVENT, "sesion_id": NO_SESSION}),
    errors.EVENT_NOT_FOUND: post(f"/api/events/{NO_SESSION}/valoracion", {"valor": 1}),
    errors.ROUTE_NOT_FOUND: get("/api/eventos"),
    errors.METHOD_NOT_ALLOWED: get("/api/events"),
    errors.NOT_ACCEPTABLE: refuse_all,
    errors.BODY_TIMEOUT: slow,
    errors.ID_CONFLICT: twice({**GUIDE_SESSION, "id": ID}, {**GUIDE_SESSION, "id": ID, "usuario_id": "otro"}),
    errors.BODY_TOO_LARGE: post("/api/events", gzip.compress(b'{"a":"' + b"x" * (2 << 20)), Content_Encoding="gzip"),
    errors.UNSUPPORTED_MEDIA: post("/api/events", b"sesion_id=1", Content_Type="application/x-www-form-urlencoded"),
    errors.INVALID_DATA: post("/api/events", {**GUIDE_EVENT, "sesion_id": NO_SESSION, "tokens_salida": "150"}),
    errors.RATE_LIMITED: twice({**GUIDE_SESSION, "gpt_id": "lento"}, {**GUIDE_SESSION, "gpt_id": "lento"}),
}
PROVOKED_ELSEWHERE = {
    errors.SERVER_ERROR: "it takes a fault that nobody foresaw",
    errors.MCP_NOT_INSTALLED: "tests/packaging/test_extras.py",
    errors.QUEUE_FULL: "tests/chaos",
    errors.DISK_FULL: "tests/chaos",
    errors.JOURNAL_UNAVAILABLE: "tests/chaos",
    errors.INSUFFICIENT_SCOPE: "tests/oauth",
    errors.PROVIDER_AWAY: "tests/oauth",
    errors.OUTCOME_UNKNOWN: "tests/journal/test_outcome.py",
    errors.SHUTTING_DOWN: "tests/chaos",
}


def test_every_error_is_provoked_here_or_elsewhere() -> None:
    assert {*PROVOKED, *PROVOKED_ELSEWHERE} == set(errors.ERROR_KINDS)


@pytest.mark.parametrize("kind", PROVOKED, ids=lambda kind: kind.slug)
def test_the_example_is_what_the_bridge_answers(request: pytest.FixtureRequest, kind: ErrorKind) -> None:
    answer = PROVOKED[kind](request.getfixturevalue("impatient" if kind is errors.BODY_TIMEOUT else "refusing"))
    shown = example(kind)
    if kind is errors.RATE_LIMITED:  # how long to wait depends on the clock
        for problem in (answer, shown):
            problem["detail"] = re.sub(r"en \d+ s", "en … s", problem["detail"])
    assert difference(shown, answer) is None, difference(shown, answer)
