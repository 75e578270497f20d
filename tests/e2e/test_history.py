"""`otel-bridge import` and `export`: history becomes spans, windows and ledger, and nothing of today's."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import random
import signal
import socket
import sqlite3
import ssl
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from otel_bridge.access import keys
from tests.frontdoor.test_tls import write_pair
from tests.harness.bridge import GUIDE_EVENT, Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

Make = Callable[..., Bridge]

DAYS_AGO = datetime.now(UTC).replace(microsecond=123456) - timedelta(days=6)
"""Safely within the last 7 days, at any time of day and however long the tests take."""
BY_ARRIVAL = ("gen_ai_", "gpt_slo_", "gpt_sessions_", "gpt_cost_", "gpt_unpriced_", "gpt_unmeasured_", "gpt_feedback_",
              "gpt_time_to_first_", "gpt_reasoning_", "gpt_version_", "gpt_tool_")  # fmt: skip
"""Families of a GPT that go by when a record arrived: alerts and today's boards are made of them."""


def week(sessions: int, events: int, **fields: Any) -> Iterator[dict[str, Any]]:
    """A week's lines: slow events, spread over it, none of the last day."""
    draw = random.Random(sessions)
    for number in range(sessions):
        session = str(uuid.UUID(int=draw.getrandbits(128), version=4))
        at = DAYS_AGO + timedelta(hours=100 * number / sessions)
        began = {"gpt_id": "devops-expert", "usuario_id": f"persona-{number % 7}", "timestamp_inicio": at.isoformat()}
        yield {**began, "id": session}
        for event in range(events):
            yield {
                **GUIDE_EVENT,
                "sesion_id": session,
                "id": str(uuid.UUID(int=draw.getrandbits(128), version=4)),
                "latency_ms": 90_000,
                "timestamp": (at + timedelta(seconds=100 + event)).isoformat(),
                **fields,
            }


def written(file: Path, lines: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return file


def brought(bridge: Bridge, file: Path | str, *options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = bridge.run("import", str(file), "--url", bridge.url, *options, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def given(bridge: Bridge, *options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = bridge.run("export", "--since", "30d", *options)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def exported(bridge: Bridge) -> list[dict[str, Any]]:
    return [json.loads(line) for line in given(bridge).stdout.splitlines()]


def today(bridge: Bridge) -> dict[Any, float]:
    return {name: value for name, value in bridge.scrape().items() if name[0].startswith(BY_ARRIVAL)}


# --- what history moves -----------------------------------------------------------------------------------------------


def test_a_week_of_slow_events_becomes_spans_windows_and_ledger_and_moves_nothing_of_today(
    make_bridge: Make, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    bridge = make_bridge(OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS="0.2", **receiver.environ).start()
    live = bridge.session()
    bridge.event(live, latency_ms=200)
    tools = [{"nombre": "buscar", "ms": 5}]
    lines = list(
        week(20, 5, ttft_ms=50_000, version="v1", herramientas=tools, tokens_razonamiento=1, modelo="m-de-ayer")
    )
    rating = {"evento_id": lines[1]["id"], "valor": -1, "comentario": "Tardó demasiado."}
    before = today(bridge)
    done = brought(bridge, written(tmp_path / "semana.jsonl", [*lines, rating]))
    assert "121 líneas: 121 nuevas, 0 ya estaban, 0 rechazadas" in done.stdout
    assert today(bridge) == before
    assert before["gen_ai_client_operation_duration_seconds_count", _labels(before, "duration_seconds_count")] == 1

    for kind, count in (("session", 20), ("event", 100), ("feedback", 1)):
        assert bridge.metric("gpt_historic_records_total", gen_ai_agent_id="devops-expert", kind=kind) == count
    assert bridge.metric("otel_bridge_records_total", kind="event", result="accepted") == 101
    wait_for(lambda: bridge.metric("gpt_active_sessions", window="7d") == 21, "sessions of the week")
    assert bridge.metric("gpt_active_sessions", window="1d") == 1
    assert bridge.metric("gpt_active_users", window="30m") == 1
    wait_for(lambda: bridge.metric("gpt_top_user_events", window="1d") == 1, "today's one event")
    settle(bridge)
    assert bridge.metric("otel_bridge_ledger_gap") == 0

    trace = receiver.find(trace_id=lines[0]["id"].replace("-", ""))
    started_us = _micros(lines[0]["timestamp_inicio"])
    root = next(one.span for one in trace if not one.span.parent_span_id)
    assert root.start_time_unix_nano == started_us * 1000
    ends = sorted(one.span.end_time_unix_nano for one in trace if one.span.name == "consulta")
    assert ends == [_micros(line["timestamp"]) * 1000 for line in lines[1:6]]

    # A bridge that starts anew goes on from what was counted.
    bridge.kill()
    bridge.start()
    assert today(bridge) == before
    assert bridge.metric("gpt_historic_records_total", kind="event") == 100


def _labels(samples: dict[Any, float], end: str) -> Any:
    return next(labels for (name, labels), value in samples.items() if name.endswith(end) and value)


def _micros(text: str) -> int:
    return round((datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


def test_what_a_client_posts_hours_late_counts_as_ever(make_bridge: Make) -> None:
    bridge = make_bridge().start()
    session = bridge.session()
    late = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
    assert bridge.event(session, timestamp=late).status_code == 201
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count") == 1
    assert bridge.metric("gpt_historic_records_total") == 0


def test_the_mark_is_one_or_refused(make_bridge: Make) -> None:
    bridge = make_bridge().start()
    answer = bridge.post("/events", {}, headers={"Otel-Bridge-Historial": "yes"})
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:otel-bridge:cabecera-invalida")


def test_only_history_may_bring_a_user_as_a_hash(make_bridge: Make) -> None:
    bridge = make_bridge().start()
    told = {"usuario_id": "hash:0123456789abcdef"}
    mark = {"Otel-Bridge-Historial": "1"}
    body = {"gpt_id": "devops-expert", "timestamp_inicio": DAYS_AGO.isoformat(), **told}
    as_history = bridge.post("/sessions", body, headers=mark).json()["id"]
    as_client = bridge.post("/sessions", body).json()["id"]
    hashes = [bridge.http.get(f"{bridge.api}/sessions/{one}").json()["usuario_hash"] for one in (as_history, as_client)]
    assert hashes[0] == "0123456789abcdef" != hashes[1]


# --- the file, again and again ----------------------------------------------------------------------------------------


def test_the_same_file_twice_counts_once(make_bridge: Make, tmp_path: Path) -> None:
    bridge = make_bridge().start()
    file = written(tmp_path / "dos.jsonl", week(5, 4))
    brought(bridge, file)
    assert "(25 de ellas, antes)" in brought(bridge, file).stdout  # what is noted
    assert "0 nuevas, 25 ya estaban" in brought(bridge, file, "--restart").stdout  # what the bridge knows
    assert bridge.metric("gpt_historic_records_total", kind="event") == 20
    other = written(tmp_path / "dos.jsonl", week(6, 4))
    assert "sus primeras líneas son otras" in brought(bridge, other, code=2).stderr


def test_what_is_killed_in_the_middle_goes_on_and_ends_the_same(make_bridge: Make, tmp_path: Path) -> None:
    bridge = make_bridge(OTEL_BRIDGE_RATE_LIMIT="2000/day").start()  # no import comes to its end meanwhile
    file = written(tmp_path / "larga.jsonl", [*week(300, 10), {"gpt_id": 1}])
    report, noted = tmp_path / "rechazos.jsonl", tmp_path / "larga.jsonl.progreso"
    command = bridge.command("import", str(file), "--url", bridge.url, "--batch", "20", "--report", str(report))
    for already in (0, 400, 1_200):
        killed = subprocess.Popen(command, cwd=bridge.folder, env=bridge.env(), stderr=subprocess.DEVNULL)
        wait_for(lambda: noted.exists() and json.loads(noted.read_bytes())["lineas"] > already, "some of it is done")  # noqa: B023
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert json.loads(noted.read_bytes())["lineas"] < 3_300
    bridge.stop()
    bridge.environ["OTEL_BRIDGE_RATE_LIMIT"] = "off"
    bridge.start()
    done = brought(bridge, file, "--batch", "20", "--report", str(report), code=1)
    assert "sigue tras la línea" in done.stderr
    assert "3.301 líneas" in done.stdout and "1 rechazadas" in done.stdout
    assert bridge.metric("gpt_historic_records_total", kind="session") == 300
    assert bridge.metric("gpt_historic_records_total", kind="event") == 3_000
    assert [json.loads(line)["linea"] for line in report.read_text().splitlines()] == [3_301]


def test_gzip_and_standard_input_are_taken_and_one_that_is_cut_says_so(make_bridge: Make, tmp_path: Path) -> None:
    bridge = make_bridge().start()
    packed = gzip.compress(written(tmp_path / "a.jsonl", week(3, 300)).read_bytes())
    (tmp_path / "a.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    done = brought(bridge, tmp_path / "a.jsonl.gz", "--batch", "20", code=1)
    assert "el gzip está cortado o dañado" in done.stderr
    done = subprocess.run(
        bridge.command("import", "-", "--url", bridge.url), cwd=bridge.folder, env=bridge.env(), input=packed,
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert bridge.metric("gpt_historic_records_total", kind="event") == 900


def test_whole_lines_before_the_damage_are_taken_and_noted(make_bridge: Make, tmp_path: Path) -> None:
    bridge = make_bridge().start()
    packed = gzip.compress(written(tmp_path / "a.jsonl", week(3, 10)).read_bytes())
    for damaged in (packed[:-4], packed + b"esto no es gzip"):
        file = tmp_path / "a.jsonl.gz"
        file.write_bytes(damaged)
        done = brought(bridge, file, code=1)  # all of it is one chunk
        assert "dañado tras la línea 33." in done.stderr and "Consigue el archivo entero" in done.stderr
        assert "Repite" not in done.stderr and "33 líneas" in done.stdout
    file.write_bytes(packed)
    assert "(33 de ellas, antes)" in brought(bridge, file).stdout
    assert bridge.metric("gpt_historic_records_total", kind="event") == 30


def test_what_was_noted_of_another_bridge_is_kept(make_bridge: Make, tmp_path: Path) -> None:
    file = written(tmp_path / "uno.jsonl", week(1, 1))
    bridge, other = make_bridge().start(), make_bridge().start()
    brought(bridge, file)
    noted = (tmp_path / "uno.jsonl.progreso").read_bytes()
    done = brought(other, file, code=2)
    assert f"es de otro puente ({bridge.url})" in done.stderr and "--progress" in done.stderr
    assert (tmp_path / "uno.jsonl.progreso").read_bytes() == noted
    brought(other, file, "--progress", str(tmp_path / "otro.progreso"))
    assert "(2 de ellas, antes)" in brought(bridge, file).stdout


# --- what is refused --------------------------------------------------------------------------------------------------


def test_what_is_wrong_is_told_by_line_and_field_and_nothing_of_it_is_repeated(
    make_bridge: Make, tmp_path: Path
) -> None:
    bridge = make_bridge().start()
    session, event = week(1, 1)
    secret = "esto-no-se-repite"
    lines = [
        json.dumps(session),
        json.dumps({**event, "latency_ms": secret}),
        json.dumps({**event, "id": str(uuid.uuid4()), "sesion_id": str(uuid.uuid4()), "contenido": secret}),
        "{" + secret,
        json.dumps({key: value for key, value in event.items() if key != "timestamp"}),
        json.dumps({"gpt_id": secret, "usuario_id": secret, "timestamp_inicio": "ayer"}),
        json.dumps({**session, "usuario_id": secret}),
        json.dumps({"evento_id": secret, "valor": 1}),
        "",
        json.dumps({**event, "contenido": secret * 100_000}),
        json.dumps(event),
    ]
    file, report = tmp_path / "mala.jsonl", tmp_path / "rechazos.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    done = brought(bridge, file, "--report", str(report), "--batch", "1", code=1)
    refused = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    told = [
        (one["linea"], one["type"].rpartition(":")[2], [error["campo"] for error in one.get("errors", [])])
        for one in refused
    ]
    # The session's second line is another of the same id: what follows in its name is not its own to say.
    assert told == [
        (2, "datos-invalidos", ["latency_ms"]),
        (3, "sesion-no-encontrada", []),
        (4, "json-malformado", []),
        (5, "datos-invalidos", ["timestamp"]),
        (6, "datos-invalidos", ["timestamp_inicio"]),
        (7, "id-en-conflicto", []),
        (8, "datos-invalidos", ["evento_id"]),
        (10, "cuerpo-demasiado-grande", []),
        (11, "id-en-conflicto", []),
    ]
    assert "línea 2: Datos inválidos. latency_ms: se espera un número de milisegundos" in done.stderr
    assert "1 nuevas, 0 ya estaban, 9 rechazadas" in done.stdout and "datos-invalidos (latency_ms)" in done.stdout
    assert secret not in done.stdout + done.stderr + report.read_text(encoding="utf-8")


def test_a_gpt_that_is_closed_or_unknown_ends_the_import_and_nothing_is_noted(
    make_bridge: Make, tmp_path: Path
) -> None:
    key = "una-clave-de-prueba-de-43-caracteres-0123456"
    gpts = '[gpts.uno]\nname = "Uno"\n'
    closed = f'{gpts}api_key_hashes = ["{keys.hash_of(key.encode())}"]\n'
    bridge = make_bridge(closed).start()
    lines = [{**line, **({"gpt_id": "uno"} if "gpt_id" in line else {})} for line in week(3, 2)]
    file = written(tmp_path / "cerrado.jsonl", lines)
    done = brought(bridge, file, code=1)
    assert "línea 1 (GPT «uno»)" in done.stderr and "GPT_API_KEY" in done.stderr
    assert "0 líneas: 0 nuevas" in done.stdout and not (tmp_path / "cerrado.jsonl.progreso").exists()
    assert "0 líneas: 0 nuevas" in brought(bridge, file, "--key", f"{key}x", code=1).stdout
    assert "9 líneas: 9 nuevas" in brought(bridge, file, "--key", key).stdout

    other = make_bridge(gpts).start()
    mixed = written(tmp_path / "mezcla.jsonl", [*lines[:3], {**lines[3], "gpt_id": "nadie"}, *lines[4:]])
    done = brought(other, mixed, code=1)
    assert "línea 4 (GPT «nadie»)" in done.stderr and "[gpts.…]" in done.stderr
    assert "0 líneas: 0 nuevas" in done.stdout and "al menos 1 más que llegaron" in done.stdout
    assert not (tmp_path / "mezcla.jsonl.progreso").exists()


def test_a_limit_is_waited_for_and_a_batch_that_it_never_lets_through_is_cut(make_bridge: Make, tmp_path: Path) -> None:
    bridge = make_bridge(OTEL_BRIDGE_RATE_LIMIT="20/second").start()
    brought(bridge, written(tmp_path / "poco.jsonl", week(2, 40)))
    assert bridge.metric("gpt_historic_records_total", kind="event") == 80


def test_a_bridge_that_does_not_answer_is_named(make_bridge: Make, tmp_path: Path) -> None:
    bridge = make_bridge()
    file = written(tmp_path / "nada.jsonl", week(1, 1))
    done = brought(bridge, file, "--patience", "0.5", code=1)
    assert (
        "no responde" in done.stderr and "otel-bridge serve" in done.stderr and "Repite la misma orden" in done.stderr
    )
    assert "no se puede leer" in brought(bridge, tmp_path / "ninguno.jsonl", code=2).stderr


def test_a_certificate_that_nobody_trusts_is_named_at_once(make_bridge: Make, tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def shake() -> None:
            with contextlib.suppress(OSError):
                context.wrap_socket(listening.accept()[0], server_side=True).close()

        server = threading.Thread(target=shake)  # it answers once: whoever tries again, waits
        server.start()
        url = f"https://localhost:{listening.getsockname()[1]}"
        file = written(tmp_path / "nada.jsonl", list(week(1, 0)))
        done = make_bridge().run("import", str(file), "--url", url, "--patience", "600", timeout=20)
        server.join()
    assert done.returncode == 1
    assert f"{url}: el certificado no es válido aquí (" in done.stderr
    assert "no responde" not in done.stderr


# --- out again --------------------------------------------------------------------------------------------------------


def test_what_is_exported_is_imported_as_the_same_journal(make_bridge: Make, tmp_path: Path) -> None:
    bridge = make_bridge().start()
    told = {
        "ttft_ms": 10.5,
        "version": "v1",
        "tokens_cache": 3,
        "tokens_razonamiento": 2,
        "modelo": "m",
        "error": "cuota",
    }
    session = bridge.session(usuario_id="ana@example.com")
    event = bridge.event(
        session, herramientas=[{"nombre": "a", "ms": 1.5, "error": "x"}], contenido="de ana@example.com, =1+1", **told
    ).json()
    bridge.event(session, timestamp=DAYS_AGO.isoformat())
    bridge.post("/events", {"tipo": "consulta", "contenido": "sin medir", "gpt_id": "devops-expert"},
                headers={"openai-conversation-id": "chat-1"})  # fmt: skip
    assert bridge.post(f"/events/{event['id']}/valoracion", {"valor": 0.5, "comentario": "Bien."}).status_code == 201
    lines = exported(bridge)
    assert [("sesion_id" in line, "evento_id" in line) for line in lines] == [
        (False, False), (True, False), (True, False), (False, False), (True, False), (False, True)
    ]  # fmt: skip
    assert "ana@" not in json.dumps(lines)

    other = make_bridge().start()
    brought(other, written(tmp_path / "todo.jsonl", lines))
    assert sorted(map(json.dumps, exported(other))) == sorted(map(json.dumps, lines))
    state = [one.http.get(f"{one.api}/sessions/{session}").json() for one in (bridge, other)]
    assert state[0] == state[1]


def test_an_export_of_this_very_bridge_is_not_counted_again(make_bridge: Make, tmp_path: Path) -> None:
    bridge = make_bridge().start()
    event = bridge.event(bridge.session()).json()["id"]
    assert bridge.post(f"/events/{event}/valoracion", {"valor": 1}).status_code == 201
    lines = exported(bridge)
    done = brought(bridge, written(tmp_path / "propio.jsonl", lines), "--batch", "1", code=1)
    assert "3 líneas: 0 nuevas, 0 ya estaban, 3 rechazadas" in done.stdout
    assert bridge.metric("otel_bridge_records_total", kind="event", result="accepted") == 1
    assert exported(bridge) == lines


def test_who_was_forgotten_is_nobody_where_it_is_imported(make_bridge: Make, tmp_path: Path) -> None:
    bridge = make_bridge(OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS="0.2").start()
    bridge.event(bridge.session(usuario_id="ana"))
    forgot = bridge.run("user", "forget", "ana", "--yes", timeout=120)
    assert forgot.returncode == 0, forgot.stdout + forgot.stderr
    lines = exported(bridge)
    assert lines[0]["usuario_id"] == "hash:"
    other = make_bridge(OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS="0.2").start()
    other.event(other.session(usuario_id="bea"))
    brought(other, written(tmp_path / "olvido.jsonl", lines))
    assert [line for line in exported(other) if line.get("usuario_id") == "hash:"] == lines[:1]
    wait_for(lambda: other.metric("gpt_active_sessions", window="1d") == 2, "both sessions")
    assert other.metric("gpt_active_users", window="1d") == 1


def test_no_content_is_told_as_none_and_comes_back_as_none(make_bridge: Make, tmp_path: Path) -> None:
    bridge = make_bridge(OTEL_BRIDGE_REDACTION="full").start()
    bridge.event(bridge.session())
    lines = exported(bridge)
    assert lines[1]["contenido"] == ""
    other = make_bridge().start()
    brought(other, written(tmp_path / "vacio.jsonl", lines))
    assert exported(other) == lines


def test_times_and_gpts_choose_and_an_event_brings_its_session(make_bridge: Make) -> None:
    gpts = '[gpts.uno]\nname = "Uno"\n[gpts.otro]\nname = "Otro"\n'
    bridge = make_bridge(gpts).start()
    at = {"timestamp_inicio": DAYS_AGO.isoformat()}
    for gpt in ("uno", "otro"):
        session = bridge.session(gpt_id=gpt, **at)
        bridge.event(session, timestamp=DAYS_AGO.isoformat())
        bridge.event(session)

    def kinds(*options: str) -> list[str]:
        done = bridge.run("export", *options)
        assert done.returncode == 0, done.stderr
        return ["evento" if "sesion_id" in json.loads(line) else "sesion" for line in done.stdout.splitlines()]

    assert kinds("--since", "1h", "--gpt", "uno") == ["sesion", "evento"]
    assert kinds("--since", "30d", "--until", "1d") == ["sesion", "evento"] * 2
    assert kinds("--since", "8d", "--gpt", "nadie") == []
    for wrong in ("ayer", "7 meses", "2026-13-01"):
        assert bridge.run("export", "--since", wrong).returncode == 2
    assert bridge.run("export", "--since", "1d", "--until", "2d").returncode == 2


def test_a_table_has_fixed_columns_and_no_formula(make_bridge: Make, tmp_path: Path) -> None:
    bridge = make_bridge().start()
    now = datetime.now(UTC).isoformat()
    session = bridge.session(timestamp_inicio=now)
    bridge.event(session, contenido='=HYPERLINK("x"),\n"dos"')
    for text in ("\n=1", " \u200b=1", "＝1", "＠a", "uno=1"):
        bridge.event(session, contenido=text)
    given(bridge, "--format", "csv", "--output", str(tmp_path / "t.csv"))
    raw = (tmp_path / "t.csv").read_bytes()
    rows = list(csv.DictReader(io.StringIO(raw.decode(), newline="")))
    assert raw.count(b"\r\n") == 8  # RFC 4180
    assert [row["registro"] for row in rows] == ["sesion"] + 6 * ["evento"]
    assert [row["contenido"][0] for row in rows[2:]] == 4 * ["'"] + ["u"]
    assert rows[1]["contenido"] == '\'=HYPERLINK("x"),\n"dos"'
    assert (rows[1]["latency_ms"], rows[1]["tokens_salida"], rows[1]["valor"]) == ("1500.0", "150", "")


def test_a_parquet_file_has_types_or_a_word_of_what_is_missing(make_bridge: Make, tmp_path: Path) -> None:
    bridge = make_bridge().start()
    bridge.event(bridge.session(timestamp_inicio=datetime.now(UTC).isoformat()))
    file = tmp_path / "t.parquet"
    assert "--output" in bridge.run("export", "--since", "1d", "--format", "parquet").stderr
    try:
        from pyarrow import parquet
    except ImportError:
        done = given(bridge, "--format", "parquet", "--output", str(file), code=2)
        assert "pip install 'otel-bridge[parquet]'" in done.stderr and not file.exists()
        pytest.skip("pyarrow is not installed: what it writes is not looked at")
    given(bridge, "--format", "parquet", "--output", str(file))
    rows = parquet.read_table(file).to_pylist()
    assert [row["registro"] for row in rows] == ["sesion", "evento"]
    assert rows[1]["tokens_entrada"] == 25 and rows[1]["momento"].tzinfo is not None


def test_a_file_is_whole_or_not_there(make_bridge: Make, tmp_path: Path) -> None:
    bridge = make_bridge().start()
    bridge.event(bridge.session())
    file = tmp_path / "f.jsonl"
    given(bridge, "--output", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    assert "ya existe" in given(bridge, "--output", str(file), code=2).stderr
    given(bridge, "--output", str(file), "--replace")
    assert file.read_bytes() == before
    assert "no es un archivo" in given(bridge, "--output", "/dev/full", "--replace", code=2).stderr
    missing = given(bridge, "--output", str(tmp_path / "no" / "f.jsonl"), code=1)
    assert "no se puede escribir" in missing.stderr
    with Path("/dev/full").open("wb") as nowhere:
        full = subprocess.run(
            bridge.command("export", "--since", "1d"), cwd=bridge.folder, env=bridge.env(),
            stdout=nowhere, stderr=subprocess.PIPE, text=True, timeout=30,
        )  # fmt: skip
    assert full.returncode == 1 and "No space left" in full.stderr
    assert [one.name for one in tmp_path.iterdir() if one.name.endswith(".part")] == []


def test_what_is_damaged_is_told_and_stepped_over(make_bridge: Make) -> None:
    bridge = make_bridge().start()
    session = bridge.session()
    for number in range(3):
        bridge.event(session, contenido=f"evento {number}")
    bridge.stop()
    with sqlite3.connect(bridge.journal) as db:
        db.execute("UPDATE segment SET body = zeroblob(length(body)) WHERE last = 3")
    db.close()
    done = given(bridge, code=1)
    assert [json.loads(line).get("contenido") for line in done.stdout.splitlines()] == [None, "evento 0", "evento 2"]
    assert "registros 3 a 3: dañados, se saltan" in done.stderr
