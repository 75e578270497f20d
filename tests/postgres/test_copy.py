"""`otel-bridge journal copy`, backups and restores over PostgreSQL: nothing is lost, counted twice or forgotten."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from otel_bridge import journal
from otel_bridge.commands import cli
from otel_bridge.errors import StartRefused
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.ops.forms import SnapshotForms
from tests.harness.bridge import ROOT, Bridge
from tests.harness.otlp import OK, OtlpReceiver, Received, Reply
from tests.harness.postgres import Cluster
from tests.harness.waiting import wait_for
from tests.journal.stores import append, commit
from tests.unit.samples import event as event_record
from tests.unit.samples import session as session_record

Make = Callable[..., Bridge]
FILE = "sqlite:///data/otel-bridge.db"
POISON = "veneno"


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def counters(bridge: Bridge) -> dict[Any, float]:
    """Every series that counts for all, but for what goes on counting by itself. A replica is waited for until it is
    the steward."""
    own = ("otel_bridge_worker", "otel_bridge_request_duration", "otel_bridge_export_attempts")

    def shown() -> dict[Any, float]:
        page = bridge.scrape()
        counted = {
            key: value
            for key, value in page.items()
            if key[0].endswith(("_total", "_count", "_sum", "_bucket")) and not key[0].startswith(own)
        }
        return counted if any(name == "gpt_sessions_total" for name, _ in counted) else {}

    return wait_for(shown, "a page with what all share")


def poison(spans: list[Received]) -> Reply:
    """Refuses a request that has the poisoned event in it."""
    return Reply(400, b"no") if any(POISON in str(one.attributes) for one in spans) else OK


def fill(bridge: Bridge, receiver: OtlpReceiver) -> tuple[str, dict[str, Any]]:
    """Delivered, parked and pending records of a bridge that exports; a session, and an event whose id is known. The
    bridge is stopped then."""
    receiver.behave = poison
    session = bridge.session(usuario_id="ana@example.com")
    kept = {"id": "0190f0a0-0000-7000-8000-000000000001", "contenido": "una clave: AKIAIOSFODNN7EXAMPLE"}
    assert bridge.event(session, **kept).status_code == 201
    assert bridge.post("/events", {"sesion_id": session, "tipo": "otra", "contenido": POISON, "latency_ms": 9,
                                   "tokens_entrada": 1, "tokens_salida": 2}).status_code == 201  # fmt: skip
    assert bridge.event(session, latency_ms=-1).status_code == 422
    wait_for(lambda: status(bridge)["parked"] == 1 and not status(bridge)["pending"], "a parked record")
    assert bridge.event(session, **kept).status_code == 200
    receiver.behave = lambda spans: Reply(503)
    assert bridge.event(session, tipo="codigo").status_code == 201
    assert bridge.event(bridge.session()).status_code == 201
    return session, kept


def status(bridge: Bridge) -> dict[str, Any]:
    url = bridge.environ.get("OTEL_BRIDGE_JOURNAL", FILE)
    reader = journal.open_reader(url.replace("///data", f"///{bridge.folder}/data"), CONSUMER)
    ledger = reader.ledger()
    reader.close()
    return {"records": ledger.last, **ledger._asdict()}


def same_ledger(bridge: Bridge) -> None:
    found = status(bridge)
    assert {name: found[name] for name in ("records", "exported", "pending", "parked")} == {
        "records": 6, "exported": 2, "pending": 3, "parked": 1
    }  # fmt: skip


def copied(bridge: Bridge, source: str, target: str) -> dict[str, Any]:
    done = bridge.run("journal", "copy", source, target, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_journal_goes_from_a_file_to_postgresql_and_back_with_all_that_it_knows(
    make_bridge: Make, receiver: OtlpReceiver, url: str
) -> None:
    bridge = make_bridge(**receiver.environ).start()
    session, kept = fill(bridge, receiver)
    before, first = counters(bridge), bridge.http.get(f"{bridge.api}/sessions/{session}", timeout=5).json()
    assert bridge.stop() == 0
    same_ledger(bridge)
    said = copied(bridge, FILE, url)
    assert (said["records"], said["sessions"], said["usage_events"], said["parked"]) == (6, 2, 4, 1)

    receiver.behave = lambda spans: Reply(503)
    bridge.environ["OTEL_BRIDGE_JOURNAL"] = url
    bridge.start()
    assert counters(bridge) == before
    same_ledger(bridge)
    assert bridge.http.get(f"{bridge.api}/sessions/{session}", timeout=5).json() == first
    assert bridge.event(session, **kept).status_code == 200
    assert bridge.event(session, **{**kept, "contenido": "otro"}).status_code == 409
    receiver.times.clear()
    receiver.behave = lambda spans: OK
    wait_for(lambda: not status(bridge)["pending"], "what was pending, delivered")
    assert bridge.run("journal", "replay").returncode == 0
    assert set(receiver.times.values()) == {1} and len(receiver.times) == 4, (
        "once what was pending, once what was parked"
    )
    assert bridge.event(bridge.session(usuario_id="ana@example.com"), tipo="codigo").status_code == 201
    wait_for(lambda: bridge.metric("otel_bridge_exported_records_total") == 8, "all of it, delivered")
    after = counters(bridge)
    assert bridge.stop() == 0

    said = copied(bridge, url, "sqlite:///data/back.db")
    assert (said["records"], said["parked"]) == (8, 0)
    bridge.environ["OTEL_BRIDGE_JOURNAL"] = "sqlite:///data/back.db"
    bridge.start()
    assert counters(bridge) == after
    assert bridge.event(session, **kept).status_code == 200
    ours = [one for one in receiver.spans if one.attributes.get("user.hash")]
    assert len({one.attributes["user.hash"] for one in ours}) == 2, "the same users, by the same key"


def test_a_backup_of_a_served_database_is_restored_to_a_file_or_another_database(
    make_bridge: Make, receiver: OtlpReceiver, cluster: Cluster, url: str, template: str
) -> None:
    bridge = make_bridge(**receiver.environ, OTEL_BRIDGE_JOURNAL=url).start()
    session, kept = fill(bridge, receiver)
    before = counters(bridge)
    made = json.loads(bridge.run("journal", "backup", "all.db", "--json").stdout)
    assert (made["records"], made["has_key"], made["damaged"]) == (6, True, 0)
    served = bridge.run("journal", "restore", "all.db", "--replace")
    assert served.returncode == 2 and "réplicas que lo sirven: 1" in served.stderr
    bridge.event(session)
    assert bridge.stop() == 0

    role = f"serve_{name_of(url)}"
    cluster.sql(f"CREATE ROLE {role} LOGIN")
    journal.migrate(url, role, lambda line: None)
    there = bridge.run("journal", "restore", "all.db")
    assert there.returncode == 2 and "no está vacío" in there.stderr and "--replace" in there.stderr
    done = bridge.run("journal", "restore", "all.db", "--replace")
    assert done.returncode == 0 and "lo que había es ahora el esquema otel_bridge_before_2" in done.stdout, done.stderr
    bridge.environ["OTEL_BRIDGE_JOURNAL"] = url.replace("postgres@", f"{role}@")  # which may still serve it
    bridge.start()
    assert bridge.output().count("VOLVIÓ ATRÁS") == 1
    assert counters(bridge) == before
    same_ledger(bridge)
    went_back = json.loads(bridge.run("journal", "status", "--json").stdout)["went_back"]
    assert (went_back["kind"], went_back["records"], went_back["records_before"]) == ("backup", 6, 7)
    assert bridge.event(session, **kept).status_code == 200
    assert bridge.stop() == 0

    bridge.environ["OTEL_BRIDGE_JOURNAL"] = "sqlite:///data/restored.db"
    assert bridge.run("journal", "restore", "all.db").returncode == 0
    bridge.start()
    assert counters(bridge) == before
    same_ledger(bridge)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file with a session and an event, in the working directory."""
    monkeypatch.chdir(tmp_path)
    with closing(journal.open(FILE, CONSUMER)) as store:
        commit(store, append(session_record(), event_record(1)))
    return f"sqlite:///{tmp_path}/data/otel-bridge.db"


def test_a_copy_that_is_killed_leaves_nothing_and_is_made_again(cluster: Cluster, url: str, source: str) -> None:
    killed = (
        "import os, signal, sys\nfrom otel_bridge import journal\nfrom otel_bridge.ops.forms import SnapshotForms\n"
        "def tell(table, rows):\n    if table == 'usage': os.kill(os.getpid(), signal.SIGKILL)\n"
        "journal.copy(sys.argv[1], sys.argv[2], None, SnapshotForms(), tell)\n"
    )
    done = subprocess.run([sys.executable, "-c", killed, source, url], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == -9, done.stderr
    for table in ("segment", "session", "lane", "sink", "folded"):
        assert cluster.sql(f"SELECT count(*) FROM otel_bridge.{table}", database=name_of(url)) == [(0,)]
    assert cli.main(["journal", "copy", source, url]) == 0


def test_a_bridge_that_has_accepted_nothing_has_left_an_empty_journal(
    url: str, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(journal.open(url, CONSUMER)) as tried:
        assert tried.replicas is not None and tried.replicas.claim_key(b"k" * 16)
        assert cli.main(["journal", "copy", source, url]) == 2
        assert "réplicas que lo sirven: 1, en " in capsys.readouterr().err
    assert cli.main(["journal", "copy", source, url]) == 0
    with closing(journal.open(url, CONSUMER)) as store:
        assert store.last == 2 and store.replicas is not None
        assert store.replicas.claim_key(b"k" * 16), "nobody has hashed users of it with that key"


def test_what_is_served_damaged_missing_or_there_already_is_refused_and_left(
    cluster: Cluster, url: str, empty: str, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(*arguments: str) -> str:
        assert cli.main(["journal", "copy", *arguments]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        return said.err

    with closing(journal.open(source, CONSUMER)):
        assert "un otel-bridge lo está sirviendo. Páralo antes" in refusal(source, url)
    assert "otel-bridge journal migrate" in refusal(source, empty)
    assert "journal backup" in refusal(source, "sqlite:///data/other.db")
    assert "aparece dos veces" in refusal(url, url)
    assert "aún no existe" in refusal("sqlite:///data/none.db", url)
    assert "ya hay uno, y queda" in refusal(url, FILE)
    assert "parámetro desconocido 'sslmod'" in refusal(source, f"{url}?sslmod=x")
    assert "s3cr3t" not in refusal(source, "postgresql://u:s3cr3t@127.0.0.1:1/db")
    cluster.sql("INSERT INTO otel_bridge.usage VALUES (1, 'a', 'b', 1, 1)", database=name_of(url))
    assert "no está vacío (usage)" in refusal(source, url)
    file = tmp_path / "data/otel-bridge.db"
    content = bytearray(file.read_bytes())
    content[3 * 8192 : 4 * 8192] = bytes(8192)
    file.write_bytes(content)
    assert "el archivo está dañado" in refusal(source, url)


def test_a_file_of_the_first_release_is_upgraded_by_a_bridge_before(tmp_path: Path, url: str) -> None:
    old = tmp_path / "old.db"
    old.write_bytes((ROOT / "tests/journal/fixtures/journal-0.1.0.db").read_bytes())
    with pytest.raises(StartRefused, match=r"una versión anterior. Arranca una vez con él el puente de esta"):
        journal.copy(f"sqlite:///{old}", url, None, SnapshotForms(), lambda table, rows: None)
