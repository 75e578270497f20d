"""`otel-bridge user hash` and `user forget`: what they print, what they refuse, and what is left of somebody."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness.bridge import Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

Make = Callable[..., Bridge]
PERSON, OTHER = "ana.garcia-0042", "otra-persona-0043"
SAID, COMMENT = "esto lo dijo solo una persona", "y esto lo comentó"


def told(bridge: Bridge, *arguments: str, given: str | bytes = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        bridge.command("user", *arguments), cwd=bridge.folder, env=bridge.env(), timeout=120, check=False,
        input=given.encode() if isinstance(given, str) else given, capture_output=True,
    )  # fmt: skip
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def objects(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What `--yes --json` says, before it erases and after."""
    before, after = map(json.loads, done.stdout.splitlines())
    return {**before, **after}


def talk(bridge: Bridge, user: str, count: int = 5) -> str:
    session = bridge.session(usuario_id=user)
    for number in range(count):
        answer = bridge.event(session, contenido=f"{SAID if user == PERSON else 'nada'} {number}")
        assert answer.status_code == 201
    rated = f"/events/{answer.json()['id']}/valoracion"
    comment = COMMENT if user == PERSON else "bien"
    assert bridge.post(rated, {"valor": 1, "comentario": comment}).status_code == 201
    return session


def leaks(folder: Path, *needles: str) -> dict[str, list[str]]:
    """By file: what of it stands in its bytes."""
    files = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = {name: [one for one in needles if one.encode() in content] for name, content in files.items()}
    return {name: those for name, those in found.items() if those}


def test_the_hash_is_that_of_the_spans_and_can_come_from_standard_input(bridge: Bridge, receiver: OtlpReceiver) -> None:
    bridge.session(usuario_id=PERSON)
    settle(bridge)
    (span,) = receiver.spans
    for arguments, given in ((("hash", PERSON), ""), (("hash", "-"), f"{PERSON}\n")):
        done = told(bridge, *arguments, given=given)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{span.attributes['user.hash']}\n", "")


def test_without_a_key_or_a_user_it_says_what_to_do_and_makes_none(make_bridge: Make) -> None:
    bridge = make_bridge()
    for command in ("hash", "forget"):
        done = told(bridge, command, PERSON)
        assert done.returncode == 2 and not (bridge.folder / "data").exists()
    assert "no hay clave del hash de usuario" in told(bridge, "hash", PERSON).stderr
    bridge.start()
    for arguments, given, words in (
        (("hash", "-"), "", "está vacío"),
        (("forget",), "", "uno de los dos"),
        (("forget", "a", "--hash", "0" * 16), "", "uno de los dos"),
        (("forget", "--hash", "xyz"), "", "16 cifras hexadecimales"),
    ):
        done = told(bridge, *arguments, given=given)
        assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr


def test_a_configured_key_gives_its_own_hash(make_bridge: Make) -> None:
    one = make_bridge(OTEL_BRIDGE_USER_HASH_KEY="k" * 20)
    other = make_bridge(OTEL_BRIDGE_USER_HASH_KEY="l" * 20)
    hashes = [told(bridge, "hash", PERSON).stdout.strip() for bridge in (one, other)]
    assert hashes[0] != hashes[1] and all(re.fullmatch("[0-9a-f]{16}", found) for found in hashes)


def test_forgotten_while_it_serves_nothing_of_a_person_is_left_and_all_is_still_counted(make_bridge: Make) -> None:
    bridge = make_bridge(OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS="0.2").start()  # no endpoint: all of it is pending
    session, _ = talk(bridge, PERSON), talk(bridge, OTHER)
    user = told(bridge, "hash", PERSON).stdout.strip()
    wait_for(lambda: bridge.metric("gpt_active_users", gen_ai_agent_id="devops-expert", window="1d") == 2, "two users")
    before = json.loads(bridge.run("journal", "status", "--json").stdout)
    assert leaks(bridge.folder, user, SAID, COMMENT)

    dry = told(bridge, "forget", "-", given=f"{PERSON}\n")
    assert dry.returncode == 0 and "No se ha cambiado nada" in dry.stdout, dry.stderr
    assert PERSON not in dry.stdout
    trace = session.replace("-", "")
    assert f"devops-expert  {trace}" in dry.stdout and f"--trace-id={trace}" in dry.stdout
    assert leaks(bridge.folder, user, SAID, COMMENT)

    done = told(bridge, "forget", "-", "--yes", given=f"{PERSON}\n")
    assert done.returncode == 0 and "Hecho: 1 sesiones" in done.stdout, done.stdout + done.stderr
    assert "Queda por hacer" not in done.stdout and "El hash sigue" not in done.stdout
    assert leaks(bridge.folder, user, SAID, COMMENT, PERSON) == {}
    after = json.loads(bridge.run("journal", "status", "--json").stdout)
    assert {**after, "bytes": 0} == {**before, "bytes": 0}
    state = bridge.http.get(f"{bridge.api}/sessions/{session}", timeout=5).json()
    assert (state["usuario_hash"], state["eventos"], state["tokens_entrada"]) == ("", 5, 125)
    wait_for(lambda: bridge.metric("gpt_active_users", gen_ai_agent_id="devops-expert", window="1d") == 1, "one user")
    assert bridge.metric("gpt_active_sessions", gen_ai_agent_id="devops-expert", window="1d") == 2
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    assert user not in bridge.http.get(bridge.metrics_url, timeout=5).text

    again = told(bridge, "forget", PERSON)
    assert again.returncode == 0 and "no hay nada de esta persona" in again.stdout
    assert bridge.stop() == 0
    assert leaks(bridge.folder, user, SAID, COMMENT, PERSON) == {}


def test_what_was_not_delivered_yet_is_delivered_without_the_person(make_bridge: Make, receiver: OtlpReceiver) -> None:
    bridge = make_bridge().start()
    talk(bridge, PERSON)
    assert told(bridge, "forget", PERSON, "--yes").returncode == 0
    assert bridge.stop() == 0
    bridge.environ |= receiver.environ
    bridge.start()
    settle(bridge)
    assert len(receiver.spans) == 7 and bridge.metric("otel_bridge_ledger_gap") == 0
    for span in receiver.spans:
        assert "user.hash" not in span.attributes
        assert (
            SAID.encode() not in span.span.SerializeToString() and COMMENT.encode() not in span.span.SerializeToString()
        )


def test_forgotten_while_it_is_stopped_and_in_one_gpt_alone(make_bridge: Make) -> None:
    config = '[gpts.devops-expert]\nname = "a"\n[gpts.otro]\nname = "b"\n'
    bridge = make_bridge(config).start()
    talk(bridge, PERSON)
    there = bridge.session(usuario_id=PERSON, gpt_id="otro")
    assert bridge.event(there, contenido="en el otro").status_code == 201
    user = told(bridge, "hash", PERSON).stdout.strip()
    bridge.kill()
    for gpts in (["otra"], ["otro", "otra"]):
        wrong = told(bridge, "forget", "--hash", user, "--yes", *(part for gpt in gpts for part in ("--gpt", gpt)))
        assert wrong.returncode == 2 and "'otra' no está en" in wrong.stderr and "devops-expert, otro" in wrong.stderr
    one = objects(told(bridge, "forget", "--hash", user, "--gpt", "otro", "--yes", "--json"))
    assert (one["sessions"], one["events"], one["gpts"]) == (1, 1, ["otro"])
    assert [trace["gpt"] for trace in one["traces"]] == ["otro"]
    assert one["remains"] == {"places": None, "advice": ""}  # still in the other one, as it has to be
    again = told(bridge, "forget", "--hash", user, "--gpt", "otro", "--yes")
    assert "sigue en otros GPT, como se pidió" in again.stdout and "El hash sigue" not in again.stdout
    assert json.loads(bridge.journal.with_suffix(".audit.jsonl").read_text().splitlines()[-1])["remains"] is None
    rest = objects(told(bridge, "forget", "--hash", "-", "--yes", "--json", given=f"{user}\n"))
    assert (rest["sessions"], rest["events"], rest["ratings"], rest["remains"]["places"]) == (1, 5, 1, 0)
    assert leaks(bridge.folder, user, SAID, COMMENT) == {}
    bridge.start()
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    assert bridge.http.get(f"{bridge.url}/readyz", timeout=5).status_code == 200


def test_of_a_session_that_was_forgotten_no_text_is_kept_any_more(make_bridge: Make) -> None:
    bridge = make_bridge().start()
    session = talk(bridge, PERSON)
    assert told(bridge, "forget", PERSON, "--yes").returncode == 0
    bridge.kill()
    bridge.start()  # it remembers nobody's session
    answer = bridge.event(session, contenido=SAID)
    assert answer.status_code == 201
    rated = f"/events/{answer.json()['id']}/valoracion"
    assert bridge.post(rated, {"valor": 1, "comentario": COMMENT}).status_code == 201
    assert bridge.http.get(f"{bridge.api}/sessions/{session}", timeout=5).json()["eventos"] == 6
    assert bridge.stop() == 0
    assert leaks(bridge.folder, SAID, COMMENT) == {}


def test_a_person_is_taken_out_of_a_backup_that_is_still_one(make_bridge: Make) -> None:
    bridge = make_bridge().start()
    talk(bridge, PERSON)
    user = told(bridge, "hash", PERSON).stdout.strip()
    backup = bridge.folder / "copy.db"
    assert bridge.run("journal", "backup", str(backup)).returncode == 0
    assert bridge.stop() == 0
    assert user.encode() in backup.read_bytes()
    done = told(bridge, "forget", "--hash", user, "--journal", f"sqlite:///{backup}", "--yes", "--json")
    assert objects(done)["erased"]["sessions"] == 1, done.stderr
    content = backup.read_bytes()
    assert user.encode() not in content and SAID.encode() not in content
    assert bridge.run("journal", "restore", str(backup), "--replace").returncode == 0
    bridge.start()
    assert bridge.metric("otel_bridge_ledger_gap") == 0 and bridge.metric("otel_bridge_pending_records") == 7


def test_the_audit_line_says_that_and_how_much_and_not_who(make_bridge: Make) -> None:
    bridge = make_bridge().start()
    talk(bridge, PERSON)
    user = told(bridge, "hash", PERSON).stdout.strip()
    told(bridge, "forget", PERSON)
    audit = bridge.journal.with_suffix(".audit.jsonl")
    assert not audit.exists()
    told(bridge, "forget", PERSON, "--yes")
    begun, done = map(json.loads, audit.read_text(encoding="utf-8").splitlines())
    assert begun["operation"] == done["operation"] and (begun["state"], done["state"]) == ("begun", "done")
    assert (done["sessions"], done["traces"]) == (1, 1) and done["remains"] == 0
    assert audit.stat().st_mode & 0o777 == 0o600
    assert not any(one in audit.read_text(encoding="utf-8") for one in (PERSON, user, SAID))
    audit.unlink()
    audit.mkdir()
    talk(bridge, PERSON)
    refused = told(bridge, "forget", PERSON, "--yes")
    assert refused.returncode == 2 and "No se ha borrado nada" in refused.stderr and "--audit" in refused.stderr
    assert leaks(bridge.folder, user)
    elsewhere = bridge.folder / "made" / "here.jsonl"
    assert told(bridge, "forget", PERSON, "--yes", "--audit", str(elsewhere)).returncode == 0
    assert [json.loads(line)["state"] for line in elsewhere.read_text("utf-8").splitlines()] == ["begun", "done"]
    said = told(bridge, "forget", PERSON, "--yes", "--json", "--audit", "-").stdout
    assert [json.loads(line).get("state") for line in said.splitlines()] == [None, "begun", "done", None]


def test_the_list_of_traces_is_out_before_anything_is_erased(make_bridge: Make) -> None:
    bridge = make_bridge().start()
    session = talk(bridge, PERSON)
    audit = bridge.journal.with_suffix(".audit.jsonl")
    os.mkfifo(audit)  # it waits there, before it erases, until somebody reads
    process = subprocess.Popen(
        bridge.command("user", "forget", PERSON, "--yes", "--json"), cwd=bridge.folder, env=bridge.env(),
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        (trace,) = json.loads(process.stdout.readline())["traces"]
        assert trace["trace_id"] == session.replace("-", "")
    finally:
        process.kill()
        process.communicate()
        audit.unlink()
    closed = subprocess.run(
        [*("sh", "-c", 'exec "$@" >/dev/full', "sh"), *bridge.command("user", "forget", PERSON, "--yes", "--json")],
        cwd=bridge.folder, env=bridge.env(), stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert closed.returncode == 2 and "No se ha borrado nada" in closed.stderr
    assert json.loads(told(bridge, "forget", PERSON, "--json").stdout)["events"] == 5


@pytest.mark.parametrize("given", [b"\xef\xbb\xbfana\n", b"ana\r\n", b"ana"])
def test_what_an_editor_puts_around_an_id_is_not_of_it(make_bridge: Make, given: bytes) -> None:
    bridge = make_bridge(OTEL_BRIDGE_USER_HASH_KEY="k" * 20)
    piped, written = told(bridge, "hash", "-", given=given), told(bridge, "hash", "ana")
    assert (piped.stdout, piped.stderr) == (written.stdout, "")


def test_an_id_that_cannot_be_meant_is_refused_and_a_space_is_told(make_bridge: Make) -> None:
    bridge = make_bridge(OTEL_BRIDGE_USER_HASH_KEY="k" * 20)
    for given, words in ((b"ana\nluis\n", "más de una línea"), (b"an\xe1\n", "no es UTF-8"), (b"\n", "vacío")):
        done = told(bridge, "hash", "-", given=given)
        assert (done.returncode, done.stdout) == (2, "") and words in done.stderr
    spaced = told(bridge, "hash", "-", given="ana \n")
    assert spaced.stdout == told(bridge, "hash", "ana ").stdout != told(bridge, "hash", "ana").stdout
    assert "un espacio, que cuenta" in spaced.stderr


def test_the_help_says_how_an_id_stays_out_of_the_history(make_bridge: Make) -> None:
    bridge = make_bridge()
    for command in ("hash", "forget"):
        said = " ".join(told(bridge, command, "--help").stdout.split())
        assert "no queda en el historial" in said
