"""The command line: what it prints, what it refuses, its exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_bridge import __version__, config
from tests.harness.bridge import GUIDE_SESSION, Bridge, refusals
from tests.harness.otlp import OtlpReceiver
from tests.harness.waiting import wait_for

Make = Callable[..., Bridge]
GOOD = '[gpts.devops-expert]\nname = "DevOps Expert"\n'


def test_help_lists_every_command_with_examples(make_bridge: Make) -> None:
    done = make_bridge().run("--help")
    assert done.returncode == 0
    for command in ("serve", "check", "openapi", "journal", "ejemplos:"):
        assert command in done.stdout


def test_version(make_bridge: Make) -> None:
    assert make_bridge().run("--version").stdout == f"otel-bridge {__version__}\n"


def test_check_says_what_is_good_and_what_is_not_configured(make_bridge: Make) -> None:
    done = make_bridge().run("check")
    assert done.returncode == 0
    assert "otel-bridge.toml: bien" in done.stdout and "devops-expert" in done.stdout
    assert "sin configurar: la exportación (define OTEL_EXPORTER_OTLP_ENDPOINT" in done.stdout


def test_init_writes_a_configuration_that_check_calls_good_and_touches_none_that_is_there(make_bridge: Make) -> None:
    bridge = make_bridge()
    mine = bridge.config.read_text(encoding="utf-8")
    refused = bridge.run("init")
    assert refused.returncode == 2 and "ya existe" in refused.stderr
    assert bridge.config.read_text(encoding="utf-8") == mine
    bridge.config.unlink()
    assert "escrito" in bridge.run("init").stdout
    assert "otel-bridge.toml: bien" in bridge.run("check").stdout
    unwritable = bridge.run("init", "/nowhere/otel-bridge.toml")
    assert unwritable.returncode == 2 and "no se puede escribir" in unwritable.stderr


@pytest.mark.parametrize(
    ("gpt", "name", "shown"),
    [
        ("mi-gpt", None, "mi-gpt"),
        ("mi.gpt", 'El «mío» y "el tuyo" \\', 'El «mío» y "el tuyo" \\'),
        ("7", "Siete", "Siete"),
    ],
)
def test_init_registers_the_gpt_that_it_is_told(make_bridge: Make, gpt: str, name: str | None, shown: str) -> None:
    bridge = make_bridge()
    bridge.config.unlink()
    done = bridge.run("init", "--gpt", gpt, *(["--name", name] if name else []))
    assert done.returncode == 0 and gpt in done.stdout
    assert "devops-expert" not in bridge.config.read_text(encoding="utf-8")
    assert f"bien; 1 GPT: {gpt}\n" in bridge.run("check").stdout
    loaded = config.load(str(bridge.config), {})
    assert {one.id: one.name for one in loaded.gpts.values()} == {gpt: shown}


@pytest.mark.parametrize(
    "wrong", [["--gpt", "con espacio"], ["--gpt", ""], ["--gpt", "x" * 129], ["--name", "dos\nlíneas"]]
)
def test_init_writes_nothing_for_what_is_no_id_or_no_name(make_bridge: Make, wrong: list[str]) -> None:
    bridge = make_bridge()
    bridge.config.unlink()
    done = bridge.run("init", *wrong)
    assert done.returncode == 2 and f"{wrong[0]}: se encontró" in done.stderr and not bridge.config.exists()


def shell(bridge: Bridge, line: str) -> subprocess.CompletedProcess[str]:
    """A command in a shell, after `"$@"`; its output waits in Python's buffer, as an operator's does."""
    environ = {name: value for name, value in bridge.env().items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["bash", "-c", line, "bash", *bridge.command()],
        cwd=bridge.folder, env=environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_init_on_a_full_disk_leaves_nothing_behind(make_bridge: Make) -> None:
    bridge = make_bridge()
    bridge.config.unlink()
    before = set(bridge.folder.iterdir())
    full = shell(bridge, 'ulimit -f 1; "$@" init')
    assert full.returncode == 2 and "no se puede escribir: File too large" in full.stderr
    assert set(bridge.folder.iterdir()) == before
    assert "escrito" in bridge.run("init").stdout
    assert set(bridge.folder.iterdir()) == {*before, bridge.config}


@pytest.mark.parametrize("command", ["check", "openapi", "journal status", "--help"])
def test_a_full_or_closed_output_is_no_traceback(make_bridge: Make, command: str) -> None:
    bridge = make_bridge()
    bridge.start()
    bridge.stop()
    closed = shell(bridge, f'"$@" {command} | sleep 0; exit ${{PIPESTATUS[0]}}')
    assert (closed.returncode, closed.stderr) == (0, "")
    full = shell(bridge, f'"$@" {command} >/dev/full')
    assert full.returncode == 2 and full.stderr.startswith("otel-bridge") and full.stderr.count("\n") == 1
    assert "No space left on device" in full.stderr
    assert (shell(bridge, f'"$@" {command} >&-').returncode) == 0


def test_serve_with_a_closed_stderr_serves_and_exports(make_bridge: Make, receiver: OtlpReceiver) -> None:
    bridge = make_bridge(**receiver.environ)
    bridge.under = ["bash", "-c", 'exec "$@" 2>&-', "bash"]
    bridge.start()
    bridge.event(bridge.session())
    wait_for(lambda: len(receiver.find()) >= 2, "the spans")
    assert bridge.stop() == 0


@pytest.mark.parametrize("command", ["check", "serve", "openapi"])
@pytest.mark.parametrize("place", ["/dev/full", "/dev/zero", "pipe", "folder"])
def test_only_a_regular_file_is_read_as_a_configuration(make_bridge: Make, command: str, place: str) -> None:
    bridge = make_bridge()
    os.mkfifo(bridge.folder / "pipe")
    (bridge.folder / "folder").mkdir()
    done = shell(bridge, f'ulimit -v 2000000; timeout 30 "$@" {command} --config {place}')
    assert done.returncode == 2
    assert refusals(done.stderr)[0].startswith(f"{place}: no se puede leer: no es un archivo normal.")
    (bridge.folder / "link.toml").symlink_to(bridge.config)
    assert bridge.run("check", "--config", "link.toml").returncode == 0


def test_in_an_empty_folder_serve_takes_the_configuration_that_ships_and_says_so(make_bridge: Make) -> None:
    bridge = make_bridge()
    bridge.config.unlink()
    bridge.start()
    assert "no hay otel-bridge.toml aquí: vale la configuración incluida" in bridge.output()
    bridge.event(bridge.session())
    refused = bridge.run("keys", "new", "devops-expert", "--write")
    assert refused.returncode == 2 and "otel-bridge init" in refused.stderr


def test_the_first_event_to_paste_is_of_a_type_that_the_gpt_has(make_bridge: Make) -> None:
    bridge = make_bridge(
        '[gpts.soporte]\nevent_types = ["pide \'ayuda\'", "otra"]\n', OTEL_BRIDGE_LOG_FORMAT="text"
    ).start()
    lines = wait_for(lambda: lines if len(lines := pasted(bridge)) == 3 else None, "the event to paste")
    done = subprocess.run(["bash", "-euc", "\n".join(lines)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count", event_type="pide 'ayuda'") == 1


def pasted(bridge: Bridge) -> list[str]:
    return bridge.output().partition("  un primer evento, desde otra terminal:\n")[2].splitlines()[:3]


def test_a_new_key_names_the_table_as_the_file_must_write_it(make_bridge: Make) -> None:
    bridge = make_bridge('[gpts."con.punto"]\n')
    done = bridge.run("keys", "new", "con.punto")
    assert done.returncode == 0 and 'pon esto en [gpts."con.punto"] de' in done.stdout
    line = done.stdout.split("\n  api_key_hashes")[1]
    bridge.config.write_text(f'[gpts."con.punto"]\napi_key_hashes{line}', encoding="utf-8")
    assert "sin configurar: claves" not in bridge.run("check").stdout
    assert bridge.run("keys", "new", "con.punto", "--write").returncode == 0
    assert len(config.load(str(bridge.config), {}).gpts["con.punto"].api_key_hashes) == 2


REFUSED = [
    ("port = 99999\n" + GOOD, {}, "port: se encontró 99999, se esperaba un número entero de 0 a 65535"),
    ("prot = 1\n" + GOOD, {}, "clave desconocida 'prot'; ¿querías decir 'port'?"),
    ("", {}, "no hay ningún GPT registrado"),
    ("[gpts", {}, "no es TOML válido"),
    (GOOD, {"OTEL_BRIDGE_RETENTION": "1"}, "variable desconocida OTEL_BRIDGE_RETENTION"),
    (
        GOOD,
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"},
        "OTEL_EXPORTER_OTLP_ENDPOINT: se encontró 'collector:4318'",
    ),
]


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
SPANS = {**ENDPOINT, "OTEL_BRIDGE_REQUEST_SPANS": "all"}
REDIS = "redis://:s3cr3t@127.0.0.1:1/0?socket_timeout=abc"
LONG = "x" * 300
REFUSED += [
    (GOOD, {**SPANS, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "abc"}, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: se encontró 'abc'"),
    (GOOD, {**SPANS, "OTEL_ATTRIBUTE_COUNT_LIMIT": "-1"}, "OTEL_ATTRIBUTE_COUNT_LIMIT: se encontró '-1'"),
    (
        GOOD,
        {**SPANS, "OTEL_BSP_MAX_QUEUE_SIZE": "10"},
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE: se encontró 512, se esperaba como mucho",
    ),
    (GOOD, {**SPANS, "OTEL_BSP_SCHEDULE_DELAY": "-1"}, "OTEL_BSP_SCHEDULE_DELAY: se encontró '-1'"),
    (GOOD, {**SPANS, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "0"}, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE: se encontró '0'"),
    (
        GOOD,
        {"OTEL_BRIDGE_RATE_LIMIT_STORAGE": REDIS},
        "RATE_LIMIT_STORAGE: se encontró un valor que puede contener un secreto (no se muestra), se esperaba una URL "
        "sin más opciones",
    ),
    (f"host = '{'ñ' * 63}'\nallow_keyless = true\n" + GOOD, {}, "host: se encontró "),
    (f"metrics_host = '{'ñ' * 63}'\n" + GOOD, {}, "metrics_host: se encontró "),
    (GOOD, {"OTEL_BRIDGE_JOURNAL": "sqlite:////etc/passwd/x.db"}, "diario /etc/passwd/x.db: Not a directory. Nombra"),
    (GOOD, {"OTEL_BRIDGE_JOURNAL": f"sqlite:///{LONG}"}, f"{LONG}: File name too long. Nombra otro"),
    (GOOD, {"OTEL_BRIDGE_JOURNAL": f"sqlite:///new/{LONG}"}, f"/new/{LONG}: File name too long. Nombra otro"),
    (GOOD, {"OTEL_BRIDGE_JOURNAL": f"sqlite:///{LONG[:253]}"}, f"{LONG[:253]}: File name too long. Nombra"),
]


def test_what_the_sdk_refuses_stops_nothing_where_it_is_not_used(make_bridge: Make) -> None:
    bridge = make_bridge(OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="abc", OTEL_BSP_SCHEDULE_DELAY="-1", **ENDPOINT)
    assert bridge.run("check").returncode == 0
    bridge.start()
    assert bridge.stop() == 0


@pytest.mark.parametrize("command", ["check", "serve"])
@pytest.mark.parametrize(("text", "environ", "said"), REFUSED, ids=[said[:30] for _, _, said in REFUSED])
def test_a_wrong_configuration_stops_check_and_serve_alike(
    make_bridge: Make, command: str, text: str, environ: dict[str, str], said: str
) -> None:
    bridge = make_bridge(text, **environ)
    done = bridge.run(command)
    assert done.returncode == 2
    assert said in refusals(done.stderr)[0]
    assert "Traceback" not in done.stderr and "s3cr3t" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    with contextlib.suppress(OSError):  # where there can be none
        assert not bridge.journal.exists()


@pytest.mark.parametrize("command", ["check", "serve"])
def test_everything_that_is_wrong_is_told_at_once(make_bridge: Make, command: str) -> None:
    bridge = make_bridge(
        "prot = 1\nhost = '0.0.0.0'\nretention_days = 0\n[gpts.a]\nslo_target = 2\n" + GOOD,
        OTEL_BRIDGE_RETENTION="1",
        OTEL_EXPORTER_OTLP_ENDPOINT="collector:4318",
    )
    done = bridge.run(command)
    assert done.returncode == 2
    lines = refusals(done.stderr)
    assert len(lines) == len(done.stderr.splitlines())
    told = ("'prot'", "retention_days", "gpts.a.slo_target", "OTEL_BRIDGE_RETENTION", "OTLP_ENDPOINT", "allow_keyless")
    assert len(lines) == len(told)
    for line, word in zip(lines, told, strict=True):
        assert word in line
    assert not bridge.journal.exists()


CANNOT_WORK = {
    "OTEL_BRIDGE_PORT": "99999",
    "OTEL_BRIDGE_METRICS_HOST": "",
    "OTEL_BRIDGE_JOURNAL_MAX_SIZE": "0",
    "OTEL_BRIDGE_USER_HASH_KEY": "s3cr3t",
    "OTEL_BRIDGE_RATE_LIMIT_STORAGE": "redis://:s3cr3t@h:99999",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "https://user:s3cr3t@collector:4318/?token=s3cr3t",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "gRPC",
    "OTEL_EXPORTER_OTLP_HEADERS": '"authorization=Bearer s3cr3t"',
    "OTEL_EXPORTER_OTLP_COMPRESSION": "zstd",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "0",
    "OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such/file.pem",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY": "/no/such/file.key",
}


@pytest.mark.parametrize("command", ["check", "serve"])
def test_every_setting_that_cannot_work_is_told_at_once_and_no_secret_is(make_bridge: Make, command: str) -> None:
    bridge = make_bridge(**CANNOT_WORK)
    done = bridge.run(command)
    assert done.returncode == 2 and done.stdout == ""
    for variable in CANNOT_WORK:
        assert f"entorno: {variable}: " in done.stderr, variable
    assert "Traceback" not in done.stderr and "s3cr3t" not in done.stderr
    assert not bridge.journal.parent.exists()


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (["doctor", "--wait", "0.1", "--url", "http://u:s3cr3t@127.0.0.1:1"], ""),
        (["doctor", "--wait", "0.1", "--json", "--url", "http://127.0.0.1:1/?token=s3cr3t@x"], ""),
        (["demo", "--duration", "1", "--url", "http://u:s3cr3t@127.0.0.1:1"], "good"),
        (["demo", "--duration", "1", "--url", "http://127.0.0.1:1"], "s3cr3t\nx"),
        (["doctor", "--wait", "0.1", "--url", "http://127.0.0.1:1"], "s3cr3t\x7f"),
        (["doctor", "--wait", "0.1", "--key", "s3cr3tñ"], ""),
    ],
)
def test_a_client_command_shows_neither_login_nor_key(make_bridge: Make, command: list[str], key: str) -> None:
    done = make_bridge(GPT_API_KEY=key).run(*command, timeout=90)
    assert done.returncode in (1, 2)
    assert "s3cr3t" not in done.stdout + done.stderr and "Traceback" not in done.stderr
    assert done.stdout + done.stderr


def test_a_missing_certificate_stops_the_start_over_grpc_as_well(make_bridge: Make, receiver: OtlpReceiver) -> None:
    bridge = make_bridge(**receiver.grpc_environ, OTEL_EXPORTER_OTLP_CERTIFICATE="/no/such/file.pem")
    bridge.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"https://127.0.0.1:{receiver.grpc_port}"
    done = bridge.run("serve")
    assert done.returncode == 2
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE: se esperaba un archivo: no existe" in done.stderr


def test_what_is_probably_not_meant_is_a_warning_of_check_and_of_the_log(make_bridge: Make) -> None:
    bridge = make_bridge(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9/v1/traces")
    done = bridge.run("check")
    said = "los spans van a /v1/traces/v1/traces. Quita la ruta"
    assert done.returncode == 0 and "bien" in done.stdout
    assert any(line.startswith("aviso: ") and said in line for line in done.stdout.splitlines())
    bridge.start()
    (line,) = (line for line in bridge.output().splitlines() if said in line)
    assert json.loads(line)["level"] == "warning"


def test_a_gpt_that_no_cost_or_no_page_is_counted_for_is_warned_of(make_bridge: Make) -> None:
    prices = "prices = { 'gpt-6.2-sol' = { input = 2, output = 10 } }"
    bridge = make_bridge(f'[gpts.caro]\nmodel = "modelo-x"\nslo_target = 0.9\n{prices}\n[gpts.gratis]\n')
    done = bridge.run("check")
    said = (
        "gpts.caro.prices: no hay precio de 'modelo-x'",
        "gpts.caro.slo_target: con 0.9, el presupuesto se gasta a 10×",
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("aviso: ")]
    assert done.returncode == 0 and len(lines) == 2
    assert all(words in line for words, line in zip(said, lines, strict=True))
    assert "sin configurar: precios de gratis (no se cuenta ningún coste)" in done.stdout
    bridge.start()
    logged = [json.loads(line) for line in bridge.output().splitlines() if "gpts.caro" in line]
    assert [line["level"] for line in logged] == ["warning"] * 2
    assert "precios de gratis" in bridge.output()


def test_a_missing_file_is_said(make_bridge: Make) -> None:
    done = make_bridge().run("serve", "--config", "none.toml")
    assert done.returncode == 2 and "none.toml: no existe ese archivo de configuración" in done.stderr


def test_openapi_prints_the_document(make_bridge: Make) -> None:
    done = make_bridge().run("openapi")
    document = json.loads(done.stdout)
    assert document["openapi"].startswith("3.1") and "/api/events" in document["paths"]


def test_the_banner_says_where_to_post_where_metrics_are_and_what_is_missing(make_bridge: Make) -> None:
    bridge = make_bridge().start()
    out = bridge.output()
    for line in (
        f"otel-bridge {__version__}",
        f"http://127.0.0.1:{bridge.port}/api/sessions y /api/events",
        bridge.metrics_url,
        "sqlite:///data/otel-bridge.db",
        "devops-expert",
        "sin configurar: la exportación",
    ):
        assert line in out
    assert bridge.stop() == 0


def test_the_banner_names_the_endpoint(bridge: Bridge, receiver: OtlpReceiver) -> None:
    out = bridge.output()
    assert f"http://127.0.0.1:{receiver.port}/v1/traces (http/protobuf)" in out
    assert "sin configurar: la exportación" not in out


@pytest.mark.parametrize("which", ["port", "metrics_port"])
def test_a_taken_port_is_said_before_anything_else(make_bridge: Make, which: str) -> None:
    bridge = make_bridge()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        setattr(bridge, which, taken.getsockname()[1])
        bridge.start(wait=False)
        assert bridge.process is not None and bridge.process.wait(30) == 2
    assert ": el puerto ya está en uso." in bridge.output()
    option = "--port" if which == "port" else "--metrics-port"
    assert f"no puede escuchar en 127.0.0.1:{getattr(bridge, which)}" in bridge.output()
    assert option in bridge.output()


def test_a_second_bridge_on_the_same_journal_is_refused(make_bridge: Make) -> None:
    bridge = make_bridge().start()
    done = bridge.run("serve", "--port", "0", "--metrics-port", "0")
    assert done.returncode == 2 and "otro otel-bridge lo está sirviendo" in done.stderr
    assert bridge.event(bridge.session()).status_code == 201


def test_a_damaged_journal_stops_the_start_and_is_left_as_it_is(make_bridge: Make) -> None:
    bridge = make_bridge()
    bridge.journal.parent.mkdir()
    bridge.journal.write_bytes(b"not a journal" * 1000)
    done = bridge.run("serve", "--port", "0", "--metrics-port", "0")
    assert done.returncode == 2 and "damaged" in done.stderr and "Traceback" not in done.stderr
    assert bridge.journal.read_bytes() == b"not a journal" * 1000


def test_journal_status_tells_the_ledger_while_the_bridge_runs(make_bridge: Make, receiver: OtlpReceiver) -> None:
    bridge = make_bridge()
    none_yet = bridge.run("journal", "status")
    assert none_yet.returncode == 2 and "aún no existe" in none_yet.stderr

    bridge.start()
    bridge.event(bridge.session())
    status = json.loads(bridge.run("journal", "status", "--json").stdout)
    assert (status["records"], status["exported"], status["pending"], status["parked"]) == (2, 0, 2, 0)
    assert status["oldest_pending"] and status["bytes"] > 0
    text = bridge.run("journal", "status").stdout
    assert "pendientes      2" in text
    assert bridge.run("journal", "parked").stdout == "no hay nada apartado\n"

    bridge.stop()
    bridge.environ.update(receiver.environ)
    bridge.start()
    wait_for(lambda: bridge.metric("otel_bridge_exported_records_total") == 2, "two exported records")
    status = json.loads(bridge.run("journal", "status", "--json").stdout)
    assert (status["exported"], status["pending"], status["oldest_pending"]) == (2, 0, None)


def test_another_journal_may_be_named(make_bridge: Make, tmp_path: Path) -> None:
    bridge = make_bridge(OTEL_BRIDGE_JOURNAL=f"sqlite:///{tmp_path}/elsewhere/j.db").start()
    bridge.session()
    assert (tmp_path / "elsewhere" / "j.db").exists() and not (bridge.folder / "data").exists()
    assert json.loads(bridge.run("journal", "status", "--json").stdout)["records"] == 1


def test_health_and_readiness(bridge: Bridge, receiver: OtlpReceiver) -> None:
    assert bridge.http.get(f"{bridge.url}/healthz", timeout=5).json() == {"estado": "vivo"}
    ready = bridge.http.get(f"{bridge.url}/readyz", timeout=5)
    assert ready.status_code == 200 and ready.json()["estado"] == "listo" and ready.json()["problemas"] == []


def test_readiness_says_when_nothing_can_be_accepted(make_bridge: Make) -> None:
    bridge = make_bridge(OTEL_BRIDGE_DISK_MIN_FREE="1000TiB").start(wait=False)
    wait_for(lambda: bridge.http.get(f"{bridge.url}/healthz", timeout=2).status_code == 200, "a living bridge")
    ready = bridge.http.get(f"{bridge.url}/readyz", timeout=5)
    assert ready.status_code == 503 and ready.json()["estado"] == "no listo"
    answer = bridge.post("/sessions", GUIDE_SESSION)
    assert answer.status_code == 503 and answer.json()["type"] == "urn:otel-bridge:disco-lleno"
    assert int(answer.headers["Retry-After"]) > 0


def test_the_served_document_is_the_printed_one(bridge: Bridge) -> None:
    served = bridge.http.get(f"{bridge.url}/openapi.json", timeout=5).json()
    assert served == json.loads(bridge.run("openapi").stdout)
