"""What was planted is nowhere: not in the data folder, the log, an answer, a span, /metrics or a parked record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.bridge import GUIDE_EVENT, OPENMETRICS, Bridge
from tests.harness.otlp import OK, OtlpReceiver, Received, Reply
from tests.harness.settling import settle

FILE = Path(__file__).with_name("cases.jsonl")
CASES = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines() if line]
PLANTED = [(case["contenido"], case["debe_desaparecer"]) for case in CASES if "debe_desaparecer" in case]
SECRETS = sorted({secret for _, secret in PLANTED if len(secret) >= 7})
TABOO = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC2dF4hJ6"
"""A key where no content is: in a type, a model, an id, a header, a body that is no JSON."""


def _leaks(text: bytes) -> list[str]:
    return [secret for secret in [*SECRETS, TABOO] if secret.encode() in text]


@pytest.fixture
def served(make_bridge: Callable[..., Bridge], receiver: OtlpReceiver) -> Bridge:
    return make_bridge(OTEL_BRIDGE_LOG_LEVEL="debug", **receiver.environ).start()


def test_a_planted_secret_is_found_nowhere(served: Bridge, receiver: OtlpReceiver) -> None:
    def refuse(spans: list[Received]) -> Reply:
        texts = [str(span.attributes) for span in spans]
        if any("[clave]" in text for text in texts) and len(spans) == 1:
            return Reply(400, "".join(texts).encode(), keep=False)  # an endpoint that repeats what it was sent
        return OK if not any("[clave]" in text for text in texts) else Reply(400, b"one of them", keep=False)

    receiver.behave = refuse
    session = served.session()
    answers = [
        served.post(
            "/events", [{**GUIDE_EVENT, "sesion_id": session, "contenido": text} for text, _ in PLANTED]
        ).content
    ]
    answers += [served.event(session, contenido=text).content for text, _ in PLANTED[:20]]
    for body in (f'{{"contenido": "{TABOO}"', f'[{{"tipo": "{TABOO}"}}]', TABOO, json.dumps({"gpt_id": TABOO})):
        for path in ("/sessions", "/events"):
            answers.append(
                served.http.post(
                    f"{served.api}{path}", data=body, headers={"Content-Type": "application/json"}, timeout=30
                ).content
            )
    assert served.event(session, error=TABOO).status_code == 201
    called = [{"nombre": TABOO, "ms": 1}, {"nombre": "buscar", "ms": 1, "error": TABOO}]
    rated = served.event(session, version=TABOO, herramientas=called)
    assert rated.status_code == 201
    for fields in ({"comentario": PLANTED[0][0]}, {"comentario": f"Mi clave es {TABOO}"}, {"id": TABOO}):
        path = f"/events/{rated.json()['id']}/valoracion"
        answers.append(served.post(path, {"valor": -1, **fields}).content)
    for path in (f"/events/{TABOO}/valoracion", f"/sessions/{TABOO}/fin"):
        answers.append(served.post(path, {"valor": 1, "comentario": TABOO}).content)
    answers.append(served.http.get(f"{served.api}/sessions/{TABOO}", timeout=30).content)
    answers.append(served.http.post(f"{served.url}/mcp", data=TABOO, timeout=30).content)
    assert served.event(session, tipo=TABOO, modelo=TABOO).status_code == 201
    settle(served, 60)
    assert served.metric("otel_bridge_parked_records") > 0
    answers.append(served.http.get(served.metrics_url, headers=OPENMETRICS, timeout=30).content)
    answers.append(served.http.get(f"{served.url}/readyz", timeout=30).content)
    answers.append(served.run("journal", "parked", "--json", "--limit", "1000").stdout.encode())
    spans = [span.span.SerializeToString() for span in receiver.spans]
    assert len(spans) > 10
    served.stop()
    files = {path.name: path.read_bytes() for path in served.folder.rglob("*") if path.is_file()}
    assert {"otel-bridge.db", "bridge.log"} <= set(files)
    leaked = {
        "answers": [leak for answer in answers for leak in _leaks(answer)],
        "spans": [leak for span in spans for leak in _leaks(span)],
        **{name: _leaks(content) for name, content in files.items()},
    }
    assert {place: leaks for place, leaks in leaked.items() if leaks} == {}


def test_the_search_can_find() -> None:
    assert _leaks(f"x{SECRETS[0]}y".encode()) == [SECRETS[0]]
