"""The one public door, through a real Caddy: what is the bridge's, what is Grafana's, what is nobody's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from deploy.native.stack import find
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge
from tests.harness.caddy import CADDYFILE, Caddy
from tests.harness.ports import free_port
from tests.harness.stand_in import StandIn


@pytest.fixture(scope="module")
def grafana() -> Iterator[StandIn]:
    made = StandIn(lambda path, headers: (200, {"grafana": path}))
    yield made
    made.close()


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    made = Bridge(tmp_path_factory.mktemp("bridge")).start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def caddy(tmp_path_factory: pytest.TempPathFactory, bridge: Bridge, grafana: StandIn) -> Iterator[Caddy]:
    made = Caddy(tmp_path_factory.mktemp("caddy"), f"127.0.0.1:{bridge.port}", grafana.address).start()
    yield made
    made.close()


@pytest.mark.parametrize("domain", ["koomtai.com", "http://localhost", ":80", ""])
def test_caddy_accepts_the_file(tmp_path: Path, domain: str) -> None:
    binary = find("caddy")
    assert binary, "caddy is not installed: apt-get install caddy"
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", **({"DOMAIN": domain} if domain else {})}
    command = [binary, "validate", "--adapter", "caddyfile", "--config", str(CADDYFILE)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "Valid configuration" in done.stdout + done.stderr


def adapted(domain: str) -> str:
    binary = find("caddy")
    assert binary
    command = [binary, "adapt", "--adapter", "caddyfile", "--config", str(CADDYFILE)]
    done = subprocess.run(
        command, env={"DOMAIN": domain} if domain else {}, capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout


def test_a_public_name_gets_tls_by_itself_and_localhost_is_plain() -> None:
    (public,) = json.loads(adapted("koomtai.com"))["apps"]["http"]["servers"].values()
    assert public["listen"] == [":443"]
    assert "automatic_https" not in public, "on by default: certificate, and http redirected"
    (local,) = json.loads(adapted(""))["apps"]["http"]["servers"].values()
    assert local["listen"] == [":80"]
    hosts = {host for route in local["routes"] for match in route["match"] for host in match["host"]}
    assert hosts == {"localhost", "127.0.0.1"}


def test_the_file_is_formatted_as_caddy_formats() -> None:
    binary = find("caddy")
    assert binary
    done = subprocess.run([binary, "fmt", str(CADDYFILE)], capture_output=True, text=True, timeout=30)
    assert done.stdout == CADDYFILE.read_text("utf-8")


def test_the_guides_calls_reach_the_bridge(caddy: Caddy, bridge: Bridge) -> None:
    made = requests.post(f"{caddy.url}/api/sessions", json=GUIDE_SESSION, timeout=10)
    assert made.status_code == 201, made.text
    session = made.json()["id"]
    posted = requests.post(f"{caddy.url}/api/events", json={**GUIDE_EVENT, "sesion_id": session}, timeout=10)
    assert posted.status_code == 201, posted.text
    state = requests.get(f"{caddy.url}/api/sessions/{session}", timeout=10).json()
    assert state["eventos"] == 1
    assert bridge.metric("gpt_sessions_total") >= 1


def test_the_bridges_errors_keep_their_shape(caddy: Caddy) -> None:
    answer = requests.post(f"{caddy.url}/api/sessions", json={**GUIDE_SESSION, "gpt_id": "otro"}, timeout=10)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["title"] == "GPT no encontrado"


def test_the_openapi_document_is_public(caddy: Caddy) -> None:
    assert requests.get(f"{caddy.url}/openapi.json", timeout=10).json()["openapi"].startswith("3.1")


def test_an_oauth_client_is_answered_by_the_bridge(caddy: Caddy) -> None:
    for path in ("", "/mcp"):
        answer = requests.get(f"{caddy.url}/.well-known/oauth-protected-resource{path}", timeout=10)
        assert answer.status_code == 404 and answer.headers["Content-Type"] == "application/problem+json"
    assert "grafana" in requests.get(f"{caddy.url}/.well-known/openid-configuration", timeout=10).json()


@pytest.mark.parametrize("path", ["/", "/login", "/d/gpt-resumen", "/api/search", "/api/ds/query", "/api/health"])
def test_the_rest_is_grafanas_and_so_is_the_rest_of_api(caddy: Caddy, path: str) -> None:
    assert requests.get(f"{caddy.url}{path}", timeout=10).json() == {"grafana": path}


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/healthz", "/readyz", "/debug/pprof"])
def test_what_operators_ask_is_not_public(caddy: Caddy, grafana: StandIn, path: str) -> None:
    assert requests.get(f"{caddy.url}{path}", timeout=10).status_code == 404
    assert path not in [asked for asked, _ in grafana.asked]


def test_the_caller_that_the_bridge_is_told_of_is_the_real_one(caddy: Caddy, grafana: StandIn) -> None:
    requests.get(f"{caddy.url}/quien", headers={"X-Forwarded-For": "203.0.113.7"}, timeout=10)
    headers = next(headers for path, headers in grafana.asked if path == "/quien")
    assert "203.0.113.7" not in headers["x-forwarded-for"], "a caller must not choose its own address"


def test_while_nobody_is_behind_it_says_so_in_spanish_and_in_the_shape_of_each(tmp_path: Path) -> None:
    alone = Caddy(tmp_path, f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}").start()
    try:
        page = requests.get(f"{alone.url}/", timeout=20)
        assert page.status_code == 502
        assert "Grafana no responde" in page.content.decode()
        call = requests.post(f"{alone.url}/api/events", json=GUIDE_EVENT, timeout=20)
    finally:
        alone.close()
    assert call.status_code == 502
    assert call.headers["Content-Type"] == "application/problem+json"
    assert call.json()["title"] == "Error del servidor"
    assert call.headers["Retry-After"]


def test_a_restart_of_the_bridge_is_a_pause_and_not_an_error(caddy: Caddy, bridge: Bridge) -> None:
    """Read with GET: Debian's Caddy 2.6 cannot repeat a body (deploy/Caddyfile says more)."""
    session = bridge.session()
    bridge.stop()
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"{caddy.url}/api/sessions/{session}"]
    waiting = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    bridge.start()
    assert waiting.communicate(timeout=30)[0] == "200"
