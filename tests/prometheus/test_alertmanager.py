"""Alertmanager: amtool accepts every file, severity decides who is told, and one cause does not page ten times."""

from __future__ import annotations

import json
import socketserver
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_files import ALERTMANAGER, ALERTS, EXAMPLES, Rule, load, run, tool

from tests.harness.ports import free_port

MAIN = ALERTMANAGER / "alertmanager.yml"
TEMPLATES = ALERTMANAGER / "templates"


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [MAIN, *EXAMPLES], ids=lambda path: path.stem)
def test_amtool_accepts_every_configuration_and_finds_its_templates(path: Path) -> None:
    run(tool("amtool"), "check-config", path)
    assert "templates/*.tmpl" in load(path)["templates"]
    assert any(list(path.parent.glob(pattern)) for pattern in load(path)["templates"])


def test_every_kind_of_receiver_has_an_example() -> None:
    kinds = {key for path in EXAMPLES for receiver in load(path)["receivers"] for key in receiver if key != "name"}
    assert kinds == {"webhook_configs", "email_configs", "slack_configs"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_route_and_inhibit_as_the_shipped_file_does(path: Path) -> None:
    main, example = load(MAIN), load(path)
    assert example["route"] == main["route"]
    assert example["inhibit_rules"] == main["inhibit_rules"]
    assert [r["name"] for r in example["receivers"]] == [r["name"] for r in main["receivers"]]


def test_as_shipped_nobody_is_told_and_no_secret_is_needed() -> None:
    assert all(set(receiver) == {"name"} for receiver in load(MAIN)["receivers"])


@pytest.mark.parametrize("path", [MAIN, *EXAMPLES], ids=lambda path: path.stem)
def test_no_configuration_holds_a_secret(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for inline in ("smtp_auth_password:", "auth_password:", "api_url:", "credentials:", "password:", "hooks.slack"):
        assert inline not in text, f"{path.name} holds {inline}"


@pytest.mark.parametrize("rule", ALERTS, ids=str)
def test_severity_decides_who_is_told(rule: Rule) -> None:
    receiver = {"page": "guardia", "ticket": "tickets", "none": "latido"}[rule.labels["severity"]]
    labels = [f"{key}={value}" for key, value in {"alertname": rule.name, **rule.labels}.items()]
    for path in (MAIN, *EXAMPLES):
        run(
            tool("amtool"),
            "config",
            "routes",
            "test",
            f"--config.file={path}",
            f"--verify.receivers={receiver}",
            *labels,
        )


def test_an_alert_without_severity_goes_to_nobody() -> None:
    run(
        tool("amtool"), "config", "routes", "test", f"--config.file={MAIN}", "--verify.receivers=sin-destino",
        "alertname=Otra",
    )  # fmt: skip


# --- texts ----------------------------------------------------------------------------------------


def _alert(name: str, severity: str = "page", status: str = "firing", **labels: str) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, "severity": severity, **labels},
        "annotations": {
            "summary": f"Resumen de {name}",
            "description": f"Descripción de {name} <b>",
            "runbook_url": f"https://repo.example.org/docs/runbooks/{name}.md",
            "dashboard_url": "https://tablero.example.org/d/gpt-slo?var-gpt=devops-expert",
        },
        "startsAt": "2026-11-22T10:00:00Z",
        "endsAt": "2026-11-22T10:30:00Z" if status == "resolved" else "0001-01-01T00:00:00Z",
        "fingerprint": "0000000000000000",
    }


def _render(tmp_path: Path, template: str, *alerts: dict[str, Any], kind: str = "text") -> str:
    common = dict(set.intersection(*(set(alert["labels"].items()) for alert in alerts)))
    firing = any(alert["status"] == "firing" for alert in alerts)
    data = {
        "receiver": "guardia",
        "status": "firing" if firing else "resolved",
        "alerts": list(alerts),
        "groupLabels": {},
        "commonLabels": common,
        "commonAnnotations": {},
        "externalURL": "http://127.0.0.1:9093",
    }
    path = tmp_path / "data.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return run(
        tool("amtool"), "template", "render", f"--template.glob={TEMPLATES}/*.tmpl", f"--template.type={kind}",
        f"--template.text={{{{ template {json.dumps(template)} . }}}}", f"--template.data={path}",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("alerts", "title"),
    [
        ([_alert("BridgeDown")], "[URGENTE] Resumen de BridgeDown"),
        ([_alert("GPTSilent", "ticket")], "[AVISO] Resumen de GPTSilent"),
        ([_alert("BridgeDown", status="resolved")], "[RESUELTA] Resumen de BridgeDown"),
        (
            [_alert("GPTErrorsHigh", gen_ai_agent_id="a", x="1"), _alert("GPTErrorsHigh", gen_ai_agent_id="a", x="2")],
            "[URGENTE ×2] GPTErrorsHigh · a",
        ),
    ],
)
def test_titles_say_how_urgent_and_what(tmp_path: Path, alerts: list[dict[str, Any]], title: str) -> None:
    assert _render(tmp_path, "otel_bridge.titulo", *alerts).strip() == title


def test_texts_carry_the_values_the_board_and_the_runbook(tmp_path: Path) -> None:
    said = _render(tmp_path, "otel_bridge.texto", _alert("BridgeDown"), _alert("GPTSilent", status="resolved"))
    assert said.strip() == "\n".join(
        [
            "Resumen de BridgeDown",
            "Descripción de BridgeDown <b>",
            "Desde: 2026-11-22 10:00:00 UTC",
            "Tablero: https://tablero.example.org/d/gpt-slo?var-gpt=devops-expert",
            "Qué hacer: https://repo.example.org/docs/runbooks/BridgeDown.md",
            "",
            "Resuelta: Resumen de GPTSilent",
            "Desde: 2026-11-22 10:00:00 UTC · hasta: 2026-11-22 10:30:00 UTC",
            "Tablero: https://tablero.example.org/d/gpt-slo?var-gpt=devops-expert",
        ]
    )


def test_without_links_the_board_is_left_out_and_the_runbook_named(tmp_path: Path) -> None:
    """Prometheus was not told where they lead: then an alert has them empty, or not at all."""
    empty, none = _alert("BridgeDown"), _alert("GPTSilent", status="resolved")
    empty["annotations"] |= {"runbook_url": "", "dashboard_url": ""}
    del none["annotations"]["runbook_url"], none["annotations"]["dashboard_url"]
    said = _render(tmp_path, "otel_bridge.texto", empty, none)
    assert "Qué hacer: docs/runbooks/BridgeDown.md\n" in said and "Tablero" not in said
    html = _render(tmp_path, "otel_bridge.html", empty, none, kind="html")
    assert "Qué hacer: docs/runbooks/BridgeDown.md" in html
    assert "<a " not in html and "no value" not in said + html


def test_html_escapes_what_it_is_given(tmp_path: Path) -> None:
    said = _render(tmp_path, "otel_bridge.html", _alert("BridgeDown"), kind="html")
    assert "Descripción de BridgeDown &lt;b&gt;" in said
    assert '<a href="https://repo.example.org/docs/runbooks/BridgeDown.md">' in said


# --- a real Alertmanager --------------------------------------------------------------------------


def _until(met: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    """The first true value of ``met``; an error of the network is not yet."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := met():
                return found
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


class Server:
    """A running Alertmanager."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=5) as answer:
            return json.load(answer)

    def post(self, *alerts: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat()
        sent = [{key: alert[key] for key in ("labels", "annotations")} | {"startsAt": now} for alert in alerts]
        request = urllib.request.Request(
            self.url + "/api/v2/alerts", json.dumps(sent).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=5).close()


@contextmanager
def _alertmanager(config: Path, storage: Path) -> Iterator[Server]:
    port = free_port()
    log = storage.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                tool("alertmanager", "prometheus-alertmanager"),
                f"--config.file={config}",
                f"--storage.path={storage}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        server = Server(f"http://127.0.0.1:{port}")
        _until(lambda: process.poll() is not None or server.get("/api/v2/status"), "Alertmanager answers")
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., set[str]]]:
    """The shipped configuration, asked which of the given alerts would be told.

    Each call starts anew, so that one case does not see the alerts of another.
    """
    folder = tmp_path_factory.mktemp("alertmanager")
    count = iter(range(1000))

    def told(*alerts: dict[str, Any]) -> set[str]:
        with _alertmanager(MAIN, folder / str(next(count))) as server:
            server.post(*alerts)

            def states() -> list[dict[str, Any]]:
                found = server.get("/api/v2/alerts")
                return found if len(found) == len(alerts) else []

            _until(states, "every alert arrived")
            time.sleep(0.3)  # the inhibitor reads the same alerts on a thread of its own
            return {
                "/".join([alert["labels"]["alertname"], alert["labels"]["severity"]])
                for alert in states()
                if not alert["status"]["inhibitedBy"]
            }

    yield told


def test_what_always_fires_pages_nobody_whatever_its_severity() -> None:
    for severity in ("none", "page", "ticket"):
        run(
            tool("amtool"), "config", "routes", "test", f"--config.file={MAIN}", "--verify.receivers=latido",
            "alertname=Watchdog", f"severity={severity}",
        )  # fmt: skip


BRIDGE = {"job": "otel-bridge", "instance": "b:9464"}
REPLICA = {"job": "replicas", "instance": "r1:9464"}
SHARED = {"job": "replicas"}
"""What replicas share has no instance."""
GPT = {"gen_ai_agent_id": "devops-expert"}


@pytest.mark.parametrize(
    ("firing", "told"),
    [
        pytest.param(
            [
                _alert("BridgeDown", **BRIDGE),
                _alert("BridgeLedgerGap", **BRIDGE),
                _alert("BridgeExportStalled", "ticket", **BRIDGE),
                _alert("GPTErrorsHigh", **GPT),
                _alert("GPTSilent", "ticket", **GPT),
                _alert("Watchdog", "none"),
            ],
            {"BridgeDown/page", "Watchdog/none"},
            id="a bridge that is down is told once, whatever follows from it, and alerts go on arriving",
        ),
        pytest.param(
            [_alert("BridgeDown", **BRIDGE), _alert("BridgeLedgerGap", job="otel-bridge", instance="otro:9464")],
            {"BridgeDown/page", "BridgeLedgerGap/page"},
            id="a bridge that is down says nothing of another one",
        ),
        pytest.param(
            [
                _alert("BridgeMetricsAbsent", job="otel-bridge"),
                _alert("GPTLatencyBudgetBurn", ventana="1h", **GPT),
                _alert("Watchdog", "none"),
            ],
            {"BridgeMetricsAbsent/page", "Watchdog/none"},
            id="a bridge that is not there is told once",
        ),
        pytest.param(
            [
                _alert("GPTLatencyBudgetBurn", ventana="1h", **GPT),
                _alert("GPTLatencyBudgetBurn", "ticket", ventana="1d", **GPT),
                _alert("GPTLatencyHigh", "ticket", **GPT),
                _alert("GPTTokenSpike", "ticket", **GPT),
            ],
            {"GPTLatencyBudgetBurn/page"},
            id="the page of a GPT silences its tickets",
        ),
        pytest.param(
            [_alert("GPTErrorsHigh", **GPT), _alert("GPTLatencyBudgetBurn", ventana="1h", **GPT)],
            {"GPTErrorsHigh/page"},
            id="errors explain the budget that they spend",
        ),
        pytest.param(
            [_alert("GPTErrorsHigh", **GPT), _alert("GPTLatencyHigh", "ticket", gen_ai_agent_id="otro")],
            {"GPTErrorsHigh/page", "GPTLatencyHigh/ticket"},
            id="a GPT says nothing of another one",
        ),
        pytest.param(
            [
                _alert("BridgeRejectsHigh", **BRIDGE),
                _alert("BridgeRejectsHigh", "ticket", **BRIDGE),
                _alert("GPTSilent", "ticket", **GPT),
                _alert("BridgeRecordsParked", "ticket", **BRIDGE),
            ],
            {"BridgeRejectsHigh/page", "BridgeRecordsParked/ticket"},
            id="a bridge that refuses explains silence, and its page its own ticket, but not another fault",
        ),
        pytest.param(
            [
                _alert("BridgeJournalDisplaced", **BRIDGE),
                _alert("BridgeRejectsHigh", **BRIDGE),
                _alert("BridgeExportStalled", "ticket", **BRIDGE),
                _alert("GPTSilent", "ticket", **GPT),
                _alert("BridgeSeriesCapped", "ticket", **BRIDGE),
            ],
            {"BridgeJournalDisplaced/page", "BridgeSeriesCapped/ticket"},
            id="a journal whose files are gone explains that nothing is accepted or delivered",
        ),
        pytest.param(
            [
                _alert("BridgeWorkerDown", worker="export", **BRIDGE),
                _alert("BridgeExportStalled", "ticket", **BRIDGE),
                _alert("BridgeJournalFilling", "ticket", **BRIDGE),
            ],
            {"BridgeWorkerDown/page"},
            id="a dead worker explains the backlog",
        ),
        pytest.param(
            [_alert("BridgeExportStalled", "ticket", **BRIDGE), _alert("BridgeJournalFilling", **BRIDGE)],
            {"BridgeExportStalled/ticket", "BridgeJournalFilling/page"},
            id="a journal about to be full is told although a backlog explains it",
        ),
        pytest.param(
            [
                _alert("BridgeDown", "ticket", **REPLICA),
                _alert("BridgeWorkerDown", worker="exporter", **REPLICA),
                _alert("BridgeRejectsHigh", **SHARED),
                _alert("GPTErrorsHigh", **GPT),
            ],
            {"BridgeDown/ticket", "BridgeRejectsHigh/page", "GPTErrorsHigh/page"},
            id="one replica of several that is down explains what is its own, and nothing of what they share",
        ),
        pytest.param(
            [
                _alert("BridgeDown", **REPLICA),
                _alert("BridgeDown", job="replicas", instance="r2:9464"),
                _alert("BridgeRejectsHigh", **SHARED),
                _alert("BridgeExportStalled", "ticket", **SHARED),
                _alert("GPTErrorsHigh", **GPT),
            ],
            {"BridgeDown/page"},
            id="replicas that are all down explain what they share and what is said of GPTs",
        ),
        pytest.param(
            [
                _alert("BridgeNoSteward", **SHARED),
                _alert("BridgeNoSteward", "ticket", **SHARED),
                _alert("BridgeExportStalled", "ticket", **SHARED),
                _alert("BridgeWorkerDown", worker="steward", **REPLICA),
                _alert("BridgeWorkerDown", "ticket", worker="windows", **REPLICA),
                _alert("BridgeLedgerGap", job="otra"),
                _alert("GPTSilent", "ticket", **GPT),
            ],
            {"BridgeNoSteward/page", "BridgeWorkerDown/page", "BridgeLedgerGap/page"},
            id="replicas without a steward explain what they share and what fails again and again, nothing else",
        ),
        pytest.param(
            [
                _alert("BridgeWorkerDown", worker="exporter", **REPLICA),
                _alert("BridgeExportStalled", "ticket", **SHARED),
                _alert("BridgeJournalFilling", "ticket", job="otra"),
            ],
            {"BridgeWorkerDown/page", "BridgeJournalFilling/ticket"},
            id="a replica's dead worker explains the backlog of its journal, and of no other",
        ),
        pytest.param(
            [
                _alert("BridgeExportStalled", "ticket", **SHARED),
                _alert("BridgeJournalFilling", "ticket", job="otra"),
                _alert("BridgeRejectsHigh", **SHARED),
                _alert("BridgeRejectsHigh", "ticket", job="otra"),
            ],
            {
                "BridgeExportStalled/ticket",
                "BridgeJournalFilling/ticket",
                "BridgeRejectsHigh/page",
                "BridgeRejectsHigh/ticket",
            },
            id="two journals without an instance are not one bridge",
        ),
    ],
)
def test_one_cause_is_told_once(shipped: Callable[..., set[str]], firing: list[dict[str, Any]], told: set[str]) -> None:
    assert shipped(*firing) == told


# --- the examples deliver -------------------------------------------------------------------------


class _Web(BaseHTTPRequestHandler):
    """Keeps what is posted."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, self.headers.get("Authorization"), json.loads(body)))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


class _Mail(socketserver.StreamRequestHandler):
    """As much of SMTP as one letter takes."""

    def handle(self) -> None:
        def say(line: str) -> None:
            self.wfile.write(line.encode() + b"\r\n")

        say("220 prueba")
        while line := self.rfile.readline().decode().strip():
            verb = line.split()[0].upper()
            if verb == "EHLO":
                say("250-prueba\r\n250 AUTH PLAIN")
            elif verb == "AUTH":
                self.server.seen.append(line)  # type: ignore[attr-defined]
                say("235 ok")
            elif verb == "DATA":
                say("354 ok")
                letter = b""
                while (part := self.rfile.readline()) != b".\r\n":
                    letter += part
                self.server.seen.append(letter.decode())  # type: ignore[attr-defined]
                say("250 ok")
            elif verb == "QUIT":
                say("221 adiós")
                return
            else:
                say("250 ok")


@contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[tuple[int, list[Any]]]:
    seen: list[Any] = []
    server.seen = seen  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1], seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _example(name: str, folder: Path, change: Callable[[dict[str, Any], Path], None]) -> Path:
    """An example that delivers at once, its secret in a file of ours."""
    config = load(ALERTMANAGER / "examples" / name)
    for route in config["route"]["routes"]:
        route["group_wait"] = "0s"
    config["templates"] = [f"{TEMPLATES}/*.tmpl"]
    secret = folder / "secret"
    change(config, secret)
    path = folder / name
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return path


def test_the_webhook_example_delivers_with_the_token_of_its_file(tmp_path: Path) -> None:
    with _serving(ThreadingHTTPServer(("127.0.0.1", 0), _Web)) as (port, seen):

        def change(config: dict[str, Any], secret: Path) -> None:
            secret.write_text("llave-de-prueba")
            for receiver in (one for one in config["receivers"] if "webhook_configs" in one):
                hook = receiver["webhook_configs"][0]
                hook["url"] = f"http://127.0.0.1:{port}/{receiver['name']}"
                hook["http_config"] = {"authorization": {"credentials_file": str(secret)}}

        with _alertmanager(_example("webhook.yml", tmp_path, change), tmp_path / "am") as server:
            server.post(_alert("BridgeDown", **BRIDGE))
            server.post(_alert("BridgeRecordsParked", "ticket", job="otel-bridge", instance="otro:9464"))
            _until(lambda: {path for path, _, _ in seen} == {"/guardia", "/tickets"}, "both are delivered")
    assert {authorization for _, authorization, _ in seen} == {"Bearer llave-de-prueba"}
    told = {(path, alert["labels"]["alertname"]) for path, _, body in seen for alert in body["alerts"]}
    assert told == {("/guardia", "BridgeDown"), ("/tickets", "BridgeRecordsParked")}


def test_the_heartbeat_example_posts_again_and_again_to_its_check_and_nothing_else_does(tmp_path: Path) -> None:
    with _serving(ThreadingHTTPServer(("127.0.0.1", 0), _Web)) as (port, seen):

        def change(config: dict[str, Any], secret: Path) -> None:
            (receiver,) = (one for one in config["receivers"] if "webhook_configs" in one)
            assert receiver["name"] == "latido"
            receiver["webhook_configs"][0]["url"] = f"http://127.0.0.1:{port}/latido"
            route = next(one for one in config["route"]["routes"] if one["receiver"] == "latido")
            assert (route["group_interval"], route["repeat_interval"]) == ("1m", "50s")
            route |= {"group_interval": "1s", "repeat_interval": "900ms"}

        with _alertmanager(_example("latido.yml", tmp_path, change), tmp_path / "am") as server:
            server.post(_alert("Watchdog", "none"), _alert("BridgeDown", **BRIDGE))
            _until(lambda: len(seen) >= 3, "three signs of life")
    assert {(path, body["status"]) for path, _, body in seen} == {("/latido", "firing")}
    assert {alert["labels"]["alertname"] for _, _, body in seen for alert in body["alerts"]} == {"Watchdog"}


def test_the_slack_example_posts_the_spanish_text_to_the_address_of_its_file(tmp_path: Path) -> None:
    with _serving(ThreadingHTTPServer(("127.0.0.1", 0), _Web)) as (port, seen):

        def change(config: dict[str, Any], secret: Path) -> None:
            secret.write_text(f"http://127.0.0.1:{port}/T000/B000/secreto")
            config["global"]["slack_api_url_file"] = str(secret)

        with _alertmanager(_example("slack.yml", tmp_path, change), tmp_path / "am") as server:
            server.post(_alert("GPTErrorsHigh", **GPT))
            _until(lambda: seen, "the message is posted")
    path, _, body = seen[0]
    assert path == "/T000/B000/secreto"
    assert body["channel"] == "#guardia"
    attachment = body["attachments"][0]
    assert attachment["title"] == "[URGENTE] Resumen de GPTErrorsHigh"
    assert attachment["title_link"].endswith("/d/gpt-slo?var-gpt=devops-expert")
    assert "Qué hacer: https://repo.example.org/docs/runbooks/GPTErrorsHigh.md" in attachment["text"]


def test_the_email_example_sends_a_letter_with_the_password_of_its_file(tmp_path: Path) -> None:
    with _serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Mail)) as (port, seen):

        def change(config: dict[str, Any], secret: Path) -> None:
            secret.write_text("contraseña")
            config["global"] |= {
                "smtp_smarthost": f"127.0.0.1:{port}",
                "smtp_auth_password_file": str(secret),
                "smtp_require_tls": False,
            }

        with _alertmanager(_example("email.yml", tmp_path, change), tmp_path / "am") as server:
            server.post(_alert("BridgeLedgerGap", **BRIDGE))
            _until(lambda: len(seen) >= 2, "the letter is sent")
    assert seen[0].startswith("AUTH PLAIN ")
    assert "To: guardia@example.org" in seen[1]
    assert "Subject: [URGENTE] Resumen de BridgeLedgerGap" in seen[1]
    assert "text/html" in seen[1]
    assert "text/plain" in seen[1]
