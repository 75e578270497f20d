"""The integration guide, letter by letter: its curl flow, its Python class, its JavaScript class.

The files of `guide/` are copied from it unchanged; only the base URL is another when they run.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.e2e.conftest import Pair
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION

GUIDE = Path(__file__).parent / "guide"
BASE_URL = "https://koomtai.com/api"
QUESTION = "¿Cómo escalo un deployment?"

# What the guide leaves to its reader: «tu lógica aquí», and counting tokens.
PYTHON_READER = """
def process_devops_query(query):
    return 'usa kubectl scale'

def count_tokens(text):
    return len(text.split())

sent = []
post = requests.post
def spy(*args, **kwargs):
    answer = post(*args, **kwargs)
    sent.append([answer.status_code, answer.json()])
    return answer
requests.post = spy
handle_user_query('usuario-python', '¿Cómo escalo un deployment?')
print(json.dumps(sent))
"""
JAVASCRIPT_READER = """
async function processDevOpsQuery(query) { return 'usa kubectl scale'; }
function countTokens(text) { return text.split(' ').length; }
const sent = [];
const plain = globalThis.fetch;
globalThis.fetch = async (...args) => {
  const answer = await plain(...args);
  sent.push([answer.status, await answer.clone().json()]);
  return answer;
};
await handleUserQuery('usuario-javascript', '¿Cómo escalo un deployment?');
console.log(JSON.stringify(sent));
"""


def snippet(name: str, pair: Pair) -> str:
    text = (GUIDE / name).read_text(encoding="utf-8")
    assert BASE_URL in text
    return text.replace(BASE_URL, pair.bridge.api)


def run(command: list[str], pair: Pair) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=pair.bridge.env())
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_trace(pair: Pair, session: str, content: str, tokens: tuple[int, int], latency_ms: float | None) -> None:
    root, event = pair.spans(session, 2)
    assert root.span.name == "session devops-expert" and event.span.name == "consulta"
    assert event.span.parent_span_id == root.span.span_id
    found = event.attributes
    assert content in found["gen_ai.input.messages"]
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == tokens
    if latency_ms is not None:
        lasted = event.span.end_time_unix_nano - event.span.start_time_unix_nano
        assert lasted == round(latency_ms * 1e6)


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="the guide's flow needs curl and jq")
def test_the_guides_curl_flow(shared: Pair) -> None:
    script = snippet("curl.sh", shared) + '\necho; echo "$SESSION_RESPONSE"\n'
    event, session = (json.loads(line) for line in run(["bash", "-c", script], shared).splitlines() if line.strip())
    assert session["gpt_id"] == "devops-expert" and session["usuario_id"] == "test-user-123"
    assert UUID(session["id"]) and UUID(event["id"])
    assert event["sesion_id"] == session["id"]
    check_trace(shared, session["id"], "pipeline CI/CD con Docker", (25, 150), 1500)
    state = shared.bridge.http.get(f"{shared.bridge.api}/sessions/{session['id']}", timeout=10).json()
    assert (state["eventos"], state["tokens_entrada"], state["tokens_salida"]) == (1, 25, 150)


def check_class(shared: Pair, output: str, user: str) -> None:
    (created, session), (logged, event) = json.loads(output)
    assert (created, logged) == (201, 201)
    assert session["usuario_id"] == user and event["sesion_id"] == session["id"]
    check_trace(shared, session["id"], QUESTION, (4, 3), event["latency_ms"])


def test_the_guides_python_class(shared: Pair) -> None:
    text = snippet("devops_metrics.py", shared) + PYTHON_READER
    check_class(shared, run([sys.executable, "-c", text], shared), "usuario-python")


@pytest.mark.skipif(shutil.which("node") is None, reason="the guide's JavaScript needs node")
def test_the_guides_javascript_class(shared: Pair, tmp_path: Path) -> None:
    file = tmp_path / "devops_metrics.mjs"
    file.write_text(snippet("devops_metrics.mjs", shared) + JAVASCRIPT_READER, encoding="utf-8")
    check_class(shared, run(["node", str(file)], shared), "usuario-javascript")


def test_a_session_is_answered_as_documented(shared: Pair) -> None:
    answer = shared.bridge.post("/sessions", GUIDE_SESSION)
    body = answer.json()
    assert answer.status_code == 201 and answer.headers["Content-Type"] == "application/json"
    assert body.keys() == {"id", "gpt_id", "usuario_id", "timestamp_inicio", "trace_id"}
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", body["id"])
    assert answer.headers["Location"] == f"/api/sessions/{body['id']}"
    assert body["trace_id"] == body["id"].replace("-", "")
    assert body["timestamp_inicio"] == "2025-06-29T20:00:00.000Z"
    followed = shared.bridge.http.get(shared.bridge.url + answer.headers["Location"], timeout=10)
    assert followed.status_code == 200 and followed.json()["id"] == body["id"]


def test_an_event_is_answered_with_its_ids(shared: Pair) -> None:
    session = shared.bridge.session()
    body = shared.bridge.event(session).json()
    assert UUID(body["id"]) and body["sesion_id"] == session
    (_, event) = shared.spans(session, 2)
    assert (body["trace_id"], body["span_id"]) == (event.trace_id, event.span_id)


EXAMPLES: list[dict[str, Any]] = [
    {
        "tipo": "consulta",
        "contenido": "¿Cuáles son las mejores prácticas para un pipeline CI/CD?",
        "latency_ms": 1200,
        "tokens_entrada": 12,
        "tokens_salida": 180,
    },
    {
        "tipo": "configuracion",
        "contenido": "Ayúdame a configurar Docker Compose para un stack LAMP",
        "latency_ms": 2100,
        "tokens_entrada": 15,
        "tokens_salida": 250,
    },
    {
        "tipo": "troubleshooting",
        "contenido": "Mi pipeline de Jenkins falla en el step de testing",
        "latency_ms": 1800,
        "tokens_entrada": 18,
        "tokens_salida": 200,
    },
]


def test_the_guides_examples_by_type(shared: Pair) -> None:
    session = shared.bridge.session()
    for example in EXAMPLES:
        assert shared.bridge.event(session, **example).status_code == 201
    _, *events = shared.spans(session, 4)
    assert {one.span.name: one.attributes["gen_ai.usage.output_tokens"] for one in events} == {
        example["tipo"]: example["tokens_salida"] for example in EXAMPLES
    }
    for example in EXAMPLES:
        assert shared.bridge.metric("gen_ai_client_operation_duration_seconds_count", event_type=example["tipo"]) >= 1


@pytest.mark.parametrize(
    "tipo",
    ["consulta", "configuracion", "troubleshooting", "pipeline", "infraestructura", "monitoreo", "seguridad"],
)
def test_every_recommended_type_has_a_series_of_its_own(shared: Pair, tipo: str) -> None:
    name = "gen_ai_client_operation_duration_seconds_count"
    before = shared.bridge.metric(name, event_type=tipo)
    assert shared.bridge.event(shared.bridge.session(), tipo=tipo).status_code == 201
    assert shared.bridge.metric(name, event_type=tipo) == before + 1


def test_another_type_is_taken_too_and_counted_as_otro(shared: Pair) -> None:
    session = shared.bridge.session()
    assert shared.bridge.event(session, tipo="otra-cosa").status_code == 201
    assert shared.bridge.metric("gen_ai_client_operation_duration_seconds_count", event_type="otro") >= 1
    event = shared.spans(session, 2)[1]
    assert (event.span.name, event.attributes["gpt.event.type"]) == ("otro", "otra-cosa")


def test_ids_are_unique(shared: Pair) -> None:
    """«Identificadores únicos»: of the guide's best practices."""
    sessions = {shared.bridge.session() for _ in range(20)}
    assert len(sessions) == 20
    one = sessions.pop()
    assert len({shared.bridge.event(one).json()["id"] for _ in range(20)}) == 20


def test_the_guides_event_carries_no_time_and_gets_that_of_its_arrival(shared: Pair) -> None:
    assert "timestamp" not in GUIDE_EVENT
    session = shared.bridge.session()
    body = shared.bridge.event(session).json()
    _, event = shared.spans(session, 2)
    assert abs(event.span.end_time_unix_nano / 1e9 - event.at) < 30
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["timestamp"])
