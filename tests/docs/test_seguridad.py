"""The threat model names tests that exist, and what it says of data at rest is so."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import cache

import pytest

from tests.docs.markdown import DOCS, ROOT
from tests.harness.bridge import Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.waiting import wait_for

PAGE = DOCS / "seguridad.md"
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text(encoding="utf-8"))


@cache
def names_in(file: str) -> set[str]:
    path = ROOT / file
    if not path.exists():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED)), ids="::".join)
def test_a_named_test_exists(file: str, name: str) -> None:
    assert name in names_in(file)


def test_every_boundary_names_a_test_and_what_remains() -> None:
    text = PAGE.read_text(encoding="utf-8")
    boundaries = re.split(r"^## (\d+\. .+)$", text, flags=re.M)[1:]
    for title, body in zip(boundaries[::2], boundaries[1::2], strict=True):
        own = body.split("\n## ")[0]
        if "Las pistas" not in title:
            assert "::test_" in own, title
    assert text.count("**Queda**") >= 8


def test_a_user_and_a_secret_are_nowhere_on_disk_in_logs_or_on_the_way_out(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    user = "ana.garcia@example.org"
    secrets = [user, "sk-proj-AbCdEf0123456789AbCdEf0123456789AbCdEf01", "4111 1111 1111 1111", "otra@example.com"]
    bridge = make_bridge(OTEL_BRIDGE_LOG_LEVEL="debug", **receiver.environ).start()
    session = bridge.session(usuario_id=user)
    content = f"Mi clave es {secrets[1]}, mi tarjeta {secrets[2]} y escribo a {secrets[3]}"
    assert bridge.event(session, contenido=content).status_code == 201
    refused = bridge.event(session, contenido=content, latency_ms="1", modelo=secrets[3])
    assert refused.status_code == 422
    wait_for(lambda: receiver.find(name="consulta"), "the span")
    shown = bridge.http.get(bridge.metrics_url, timeout=10).text
    state = bridge.http.get(f"{bridge.api}/sessions/{session}", timeout=10).text
    bridge.stop()
    sent = "".join(str(span.span) + str(span.resource) for span in receiver.spans)
    files = [path for path in (bridge.folder / "data").rglob("*") if path.is_file()]
    assert any(path.name.endswith(".db") for path in files)
    places = {"metrics": shown, "state": state, "refusal": refused.text, "log": bridge.output(), "spans": sent}
    for secret in secrets:
        for path in files:
            assert secret.encode() not in path.read_bytes(), (path.name, secret)
        for place, text in places.items():
            assert secret not in text, (place, secret)
    assert bridge.journal.with_suffix(".key").stat().st_mode & 0o077 == 0
