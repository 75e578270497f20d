"""What `otel-bridge check` finds wrong with a server: each thing made wrong on a real one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from otel_bridge import journal
from otel_bridge.commands import cli
from otel_bridge.journal import Finding, Severity, StoreError
from otel_bridge.journal.postgres import inspection, migrations, schema
from tests.harness.bridge import Bridge
from tests.harness.faked_clock import faked_clock
from tests.harness.otlp import OtlpReceiver
from tests.harness.pgbouncer import PgBouncer
from tests.harness.postgres import Cluster
from tests.harness.waiting import wait_for

Run = Callable[..., tuple[int, str, str]]
GOOD = {"autovacuum_freeze_max_age": "1500000000", "max_connections": "120"}
STOPS, WRONG, WARNING = Severity.STOPS, Severity.WRONG, Severity.WARNING


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """As a server should be."""
    started = Cluster(GOOD).start()
    yield started
    started.close()


@pytest.fixture(scope="module")
def template(cluster: Cluster) -> str:
    name = cluster.database()
    journal.migrate(cluster.dsn(name), None, lambda line: None)
    return name


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def found(url: str) -> dict[str, Finding]:
    return {finding.name: finding for finding in journal.inspect(url)}


@pytest.fixture
def role(cluster: Cluster, url: str) -> tuple[str, str]:
    """A role that may serve, and its URL."""
    name = f"serve_{name_of(url)}"
    cluster.sql(f"CREATE ROLE {name} LOGIN")
    journal.migrate(url, name, lambda line: None)
    return name, url.replace("postgres@", f"{name}@")


# --- what is said -----------------------------------------------------------------------------------------------------


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in a folder without a configuration; its exit code, and what it says."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(list(arguments))
        return code, *capsys.readouterr()

    return run


def test_nothing_is_wrong_with_a_server_that_is_as_it_should_be(said: Run, role: tuple[str, str]) -> None:
    assert journal.inspect(role[1]) == []
    code, out, err = said("check", "--journal", role[1])
    assert (code, err) == (0, "") and f"el servidor del diario: bien; {role[1]}\n" in out


def test_check_tells_all_of_it_and_fails_where_a_promise_does_not_hold(
    said: Run, cluster: Cluster, url: str, empty: str
) -> None:
    cluster.sql(f"ALTER DATABASE {name_of(url)} SET statement_timeout = '30s'")
    code, out, _ = said("check", "--journal", url)
    assert code == 0 and "aviso: el servidor del diario: statement_timeout: 30,000 ms. ALTER" in out
    cluster.sql(f"ALTER DATABASE {name_of(url)} SET default_transaction_isolation = 'serializable'")
    code, out, _ = said("check", "--journal", url)
    assert code == 2 and "mal: el servidor del diario: default_transaction_isolation: serializable" in out
    cluster.sql(f"ALTER DATABASE {name_of(empty)} SET statement_timeout = '30s'")
    code, out, err = said("check", "--journal", empty)
    assert (code, out) == (2, "")
    assert "esquema: la base no tiene aún el esquema otel_bridge" in err and "statement_timeout" in err


def test_a_server_that_cannot_be_reached_is_wrong_and_its_password_is_not_shown(said: Run) -> None:
    code, out, err = said("check", "--journal", "postgresql://u:s3cr3t@127.0.0.1:1/db")
    assert code == 2 and "mal: diario postgresql://u:***@127.0.0.1:1/db: no se puede" in out
    assert "s3cr3t" not in out + err


def test_the_doctor_has_a_station_of_it(said: Run, role: tuple[str, str], empty: str) -> None:
    def asked(url: str) -> tuple[int, dict[str, str]]:
        nobody = ("--url", "http://127.0.0.1:1", "--metrics-url", "http://127.0.0.1:1")
        code, out, _ = said("doctor", "--json", "--wait", "0.1", "--journal", url, *nobody)
        return code, json.loads(out)["stations"]["diario"]

    good, wrong, away = asked(role[1]), asked(empty), asked("postgresql://u:s3cr3t@127.0.0.1:1/db")
    assert good == (1, {"answer": "sí", "words": f"{role[1]} está como debe", "todo": ""})  # there is no bridge
    assert wrong[1]["answer"] == "no" and wrong[1]["words"].endswith("esquema") and "check" in wrong[1]["todo"]
    assert away[1]["answer"] == "no" and "no se puede llegar" in away[1]["words"] and "s3cr3t" not in str(away)


# --- the schema and the role ------------------------------------------------------------------------------------------


def test_the_schema(cluster: Cluster, url: str, empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def now() -> Finding | None:
        return found(url).get("esquema")

    assert found(empty)["esquema"].severity == STOPS and "journal migrate" in found(empty)["esquema"].todo
    monkeypatch.setattr(schema, "VERSION", 2)
    old = now()
    assert old is not None and old[:3] == (WARNING, "esquema", "versión 1, este otel-bridge conoce la 2")
    monkeypatch.setattr(schema, "OLDEST", 2)
    too_old = now()
    assert too_old is not None and too_old.severity == STOPS and "Actualízalo" in too_old.todo
    monkeypatch.undo()
    cluster.sql("UPDATE otel_bridge.journal SET version = 9", database=name_of(url))
    assert now() is None
    cluster.sql("UPDATE otel_bridge.journal SET serves_from = 9", database=name_of(url))
    newer = now()
    assert newer is not None and newer.severity == STOPS and "más nuevo" in newer.found
    cluster.sql("UPDATE otel_bridge.journal SET version = 1, serves_from = 1", database=name_of(url))
    cluster.sql("DROP TABLE otel_bridge.usage", database=name_of(url))
    assert found(url)["tablas"][:3] == (STOPS, "tablas", "faltan: usage")


def test_the_rights_of_each_table(cluster: Cluster, role: tuple[str, str], url: str) -> None:
    name, as_role = role
    cluster.sql(f"REVOKE DELETE ON otel_bridge.parked FROM {name}", database=name_of(url))
    cluster.sql(f"REVOKE TRUNCATE, INSERT ON otel_bridge.seen_2 FROM {name}", database=name_of(url))
    told = found(as_role)["derechos"]
    assert (
        told.severity == STOPS
        and told.found == f"a {name} le faltan derechos sobre parked (DELETE); seen_2 (INSERT, TRUNCATE)"
    )
    assert told.todo.endswith(f"otel-bridge journal migrate --grant {name}")
    journal.migrate(url, name, lambda line: None)
    assert "rights" not in found(as_role)
    cluster.sql(f"REVOKE ALL ON SCHEMA otel_bridge FROM {name}", database=name_of(url))
    assert "no puede usar el esquema" in found(as_role)["derechos"].found


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value", "severity"),
    [
        ("statement_timeout", "'30s'", WARNING),
        ("idle_in_transaction_session_timeout", "'30s'", WARNING),
        ("idle_session_timeout", "'30s'", WARNING),
        ("synchronous_commit", "off", WARNING),
        ("default_transaction_isolation", "'repeatable read'", WRONG),
        ("default_transaction_read_only", "on", STOPS),
    ],
)
def test_a_setting_of_the_role(
    cluster: Cluster, role: tuple[str, str], setting: str, value: str, severity: Severity
) -> None:
    assert setting not in found(role[1])
    cluster.sql(f"ALTER ROLE {role[0]} SET {setting} = {value}")
    assert {name: finding.severity for name, finding in found(role[1]).items()} == {setting: severity}


@pytest.mark.parametrize(
    ("setting", "value", "severity"),
    [
        ("fsync", "off", WRONG),
        ("full_page_writes", "off", WRONG),
        ("autovacuum", "off", WRONG),
        ("track_counts", "off", WRONG),
    ],
)
def test_a_setting_of_the_server(cluster: Cluster, url: str, setting: str, value: str, severity: Severity) -> None:
    def told() -> dict[str, Severity]:
        return {name: finding.severity for name, finding in found(url).items()}

    assert told() == {}
    cluster.sql(f"ALTER SYSTEM SET {setting} = {value}")
    try:
        cluster.reload()
        wait_for(told, f"a finding of {setting}")
        assert told() == {setting: severity}
    finally:
        cluster.sql(f"ALTER SYSTEM RESET {setting}")
        cluster.reload()
        wait_for(lambda: not told(), "a server as before")


def test_transaction_ids(cluster: Cluster, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "FREEZE_MAX_AGE", 1_600_000_000)
    told = found(url)["autovacuum_freeze_max_age"]
    assert told.severity == WARNING and told.found.startswith("1,500,000,000 (el identificador más antiguo está ")
    # A cluster whose ids are nearly used up takes hours to make.
    monkeypatch.setattr(inspection, "OLD_AGE", 1)
    assert found(url)["identificadores de transacción"].severity == WRONG


def test_the_version_and_the_encoding(cluster: Cluster, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.sql(f"CREATE DATABASE latin_{name_of(url)} ENCODING 'LATIN1' TEMPLATE template0")
    told = found(cluster.dsn(f"latin_{name_of(url)}"))
    assert told["codificación"][:3] == (STOPS, "codificación", "LATIN1")
    monkeypatch.setattr(migrations, "OLDEST_SERVER", 990_000)
    assert found(url)["versión"].severity == STOPS


def test_connections(cluster: Cluster, role: tuple[str, str], url: str) -> None:
    limit, enough = "CONNECTION LIMIT del rol", 6 * inspection.CONNECTIONS
    cluster.sql(f"ALTER ROLE {role[0]} CONNECTION LIMIT {enough - 1}")
    told = found(role[1])[limit]
    assert (told.severity, told.found) == (WARNING, "sitio para 5 réplica(s), de 13 conexiones cada una")
    assert told.todo.startswith("Permite 78 o más")
    cluster.sql(f"ALTER ROLE {role[0]} CONNECTION LIMIT {inspection.CONNECTIONS - 1}")
    assert found(role[1])[limit].severity == STOPS
    cluster.sql(f"ALTER ROLE {role[0]} CONNECTION LIMIT {enough}")
    assert limit not in found(role[1])
    kept_for_superusers = 3
    others = [psycopg.connect(url) for _ in range(120 - kept_for_superusers - enough + 1)]
    try:
        assert found(role[1])["max_connections"].found.startswith("sitio para 5 réplica(s)")
    finally:
        for other in others:
            other.close()


def test_a_start_logs_what_is_wrong(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, cluster: Cluster, role: tuple[str, str]
) -> None:
    cluster.sql(f"ALTER ROLE {role[0]} SET statement_timeout = '30s'")
    bridge = make_bridge(OTEL_BRIDGE_JOURNAL=role[1], **receiver.environ).start()
    assert "el servidor del diario: statement_timeout: 30,000 ms" in bridge.output()


def test_a_replica_has_no_more_connections_than_are_reckoned_with(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, cluster: Cluster, role: tuple[str, str]
) -> None:
    counts = "SELECT count(*), count(*) FILTER (WHERE backend_start < clock_timestamp() - interval '1 second')"

    def connections() -> tuple[int, int]:
        """All, and those that have lasted for a second: nothing that is opened for a moment does."""
        return cluster.sql(f"{counts} FROM pg_stat_activity WHERE usename = %s", role[0])[0]

    bridge = make_bridge(OTEL_BRIDGE_JOURNAL=role[1], **receiver.environ).start()
    session, samples = bridge.session(), []
    wait_for(lambda: connections()[1] >= inspection.KEPT, "every worker of the bridge has its connection")
    deadline = time.monotonic() + 3  # long enough to see some of those that are opened once a second
    while time.monotonic() < deadline:
        bridge.event(session)
        bridge.scrape()
        samples.append(connections())
    wait_for(lambda: connections()[1] == inspection.KEPT, "no more connections last than are reckoned with")
    # Beside those: the look for what others have left, and one whose client is gone, but not yet the server's process.
    assert max(number for number, _ in samples) <= inspection.KEPT + 2


def test_a_clock_apart(role: tuple[str, str]) -> None:
    look = "import sys; from otel_bridge import journal; print(*(one.line() for one in journal.inspect(sys.argv[1])))"
    said = []
    for offset in ("+10s", "-10s", "+1s"):
        environ = {**os.environ, **faked_clock(FAKETIME=offset)}
        done = subprocess.run([sys.executable, "-c", look, role[1]], capture_output=True, text=True, env=environ)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    # Told is what it is at the least: an answer that was long on its way makes it less.
    assert re.search(r"reloj: el del servidor va (9|10)\.[0-9] s por detrás del de aquí\. Pon NTP", said[0])
    assert re.search(r"reloj: el del servidor va (9|10)\.[0-9] s por delante del de aquí\. Pon NTP", said[1])
    assert said[2] == "\n"


# --- other servers, and what stands between ---------------------------------------------------------------------------


def test_standbys(cluster: Cluster, url: str, role: tuple[str, str]) -> None:
    standby = Cluster(GOOD, copy_of=cluster).start()
    try:
        wait_for(lambda: cluster.sql("SELECT 1 FROM pg_stat_replication"), "a standby that follows")
        told = found(role[1])
        assert {name: finding.severity for name, finding in told.items()} == {"synchronous_standby_names": WARNING}
        assert told["synchronous_standby_names"].found == "vacío, con 1 secundario(s)"
        several = role[1].replace(f"127.0.0.1:{cluster.port}", f"127.0.0.1:{cluster.port},127.0.0.1:{standby.port}")
        assert found(several)["synchronous_standby_names"].severity == WRONG
        for commit, severity in (("local", WARNING), ("remote_write", WRONG)):
            cluster.sql(f"ALTER ROLE {role[0]} SET synchronous_commit = {commit}")
            assert found(role[1])["synchronous_commit"].severity == severity
        on_standby = url.replace(str(cluster.port), str(standby.port))
        wait_for(lambda: found(on_standby), "the standby has the database")
        assert found(on_standby)["secundario"].severity == STOPS
        with pytest.raises(StoreError, match="read-only"):
            journal.exists(on_standby)
        reversed_hosts = several.replace(
            f"127.0.0.1:{cluster.port},127.0.0.1:{standby.port}", f"127.0.0.1:{standby.port},127.0.0.1:{cluster.port}"
        )
        assert "standby" not in found(reversed_hosts)  # the one that takes writes is found
    finally:
        standby.close()
    wait_for(lambda: not found(url), "a primary that has no standby")
    cluster.sql("SELECT pg_create_physical_replication_slot('kept', true)")
    try:
        assert found(url)["synchronous_standby_names"].found == "vacío, con 1 secundario(s)"  # one that is away
    finally:
        cluster.sql("SELECT pg_drop_replication_slot('kept')")


@pytest.mark.parametrize(("mode", "told"), [("session", False), ("transaction", True)])
def test_a_pooler(cluster: Cluster, url: str, mode: str, told: bool) -> None:
    with closing(PgBouncer(cluster, mode)) as pooler:
        assert ("pooler" in found(pooler.dsn(name_of(url)))) is told
