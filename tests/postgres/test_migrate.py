"""`otel-bridge journal migrate`: forward only, one at a time, whole or not at all, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from otel_bridge import journal
from otel_bridge.commands import cli
from otel_bridge.errors import StartRefused
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.journal import DEDUP_HORIZON_US, Parked, StoreError
from otel_bridge.journal.postgres import migrations, schema
from tests.harness.postgres import Cluster
from tests.harness.waiting import wait_for
from tests.journal.stores import append, commit, transact
from tests.unit.samples import SESSION_ID, START_US, event, session

SECOND = "ALTER TABLE otel_bridge.lane ADD COLUMN later text; CREATE TABLE otel_bridge.added (n integer);"
"""What a release to come may do."""


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def migrate(url: str, role: str | None = None) -> list[str]:
    said: list[str] = []
    journal.migrate(url, role, said.append)
    return said


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this the next release, which knows a schema 2."""

    def make(step: str = SECOND, serves_from: int = 1) -> None:
        monkeypatch.setitem(schema.STEPS, 2, step)
        monkeypatch.setitem(schema.SERVES_FROM, 2, serves_from)
        monkeypatch.setattr(schema, "VERSION", 2)

    return make


def version(cluster: Cluster, url: str) -> tuple[int, int]:
    found = cluster.sql("SELECT version, serves_from FROM otel_bridge.journal", database=name_of(url))[0]
    return found[0], found[1]


# --- what it does ---------------------------------------------------------------------------------------------------


def test_the_tables_are_made_once(cluster: Cluster, empty: str, capsys: pytest.CaptureFixture[str]) -> None:
    for said in ("creado, versión 1", "ya es la versión 1, nada que hacer"):
        assert cli.main(["journal", "migrate", "--journal", empty]) == 0
        assert capsys.readouterr().out == f"esquema otel_bridge: {said}\n"
    there = cluster.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'otel_bridge'", database=name_of(empty))
    assert {name for (name,) in there} == set(schema.tables(schema.VERSION))


def test_of_those_who_migrate_at_once_one_makes_the_tables_and_the_others_find_them(empty: str) -> None:
    with ThreadPoolExecutor(5) as pool:
        said = list(pool.map(lambda _: migrate(empty), range(5)))
    assert sorted(line for lines in said for line in lines) == sorted(
        [f"esquema otel_bridge: creado, versión {schema.VERSION}"]
        + [f"esquema otel_bridge: ya es la versión {schema.VERSION}, nada que hacer"] * 4
    )


def test_of_those_who_upgrade_at_once_one_does_it_and_the_others_wait(
    cluster: Cluster, url: str, newer: Callable[..., None]
) -> None:
    newer()
    with ThreadPoolExecutor(5) as pool:
        said = [line for lines in pool.map(lambda _: migrate(url), range(5)) for line in lines]
    assert (
        sorted(said)
        == ["esquema otel_bridge: actualizado a la versión 2"]
        + ["esquema otel_bridge: ya es la versión 2, nada que hacer"] * 4
    )
    assert version(cluster, url) == (2, 1)


def test_a_step_that_fails_leaves_the_schema_as_it_was(cluster: Cluster, url: str, newer: Callable[..., None]) -> None:
    newer(f"{SECOND} SELECT 1 / 0;")
    with pytest.raises(StoreError, match="division by zero"):
        migrate(url)
    assert version(cluster, url) == (1, 1)
    assert not cluster.sql("SELECT 1 FROM pg_tables WHERE tablename = 'added'", database=name_of(url))


def test_a_step_does_not_wait_for_a_table_that_somebody_holds_while_commits_wait_behind_it(
    cluster: Cluster, url: str, newer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    newer()
    monkeypatch.setattr(migrations, "LOCK_WAIT_MS", 50)
    monkeypatch.setattr(migrations, "ATTEMPTS", 1)
    with psycopg.connect(url) as holder:
        holder.execute("SELECT 1 FROM otel_bridge.lane")  # holds the table until its transaction ends, as a backup does
        with pytest.raises(StartRefused, match=r"en uso todo el tiempo.*No se cambió nada"):
            migrate(url)
        assert version(cluster, url) == (1, 1)
        monkeypatch.setattr(migrations, "ATTEMPTS", 30)
        with ThreadPoolExecutor(1) as pool:
            upgrade = pool.submit(migrate, url)
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE%%'"
            wait_for(lambda: cluster.sql(waiting), "an upgrade that waits", pause=0.005)
            holder.rollback()
            assert upgrade.result(30)[-1] == "esquema otel_bridge: actualizado a la versión 2"


# --- releases side by side -------------------------------------------------------------------------------------------


def test_a_schema_of_a_newer_release_is_never_taken_back(
    cluster: Cluster, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.sql("UPDATE otel_bridge.journal SET version = 7, serves_from = 1", database=name_of(url))
    assert cli.main(["journal", "migrate", "--journal", url]) == 2
    said = capsys.readouterr().err
    assert (
        "versión 7, escrito por un otel-bridge más nuevo" in said
        and "ejecuta el `journal migrate` del más nuevo" in said
    )
    assert version(cluster, url) == (7, 1)


def test_a_release_works_on_a_newer_schema_as_long_as_that_says_so(cluster: Cluster, url: str) -> None:
    assert journal.exists(url) is False
    cluster.sql("UPDATE otel_bridge.journal SET version = 7, serves_from = 1", database=name_of(url))
    assert journal.exists(url) is False
    cluster.sql("UPDATE otel_bridge.journal SET serves_from = 2", database=name_of(url))
    with pytest.raises(
        StartRefused, match=r"versión 7, escrito por un otel-bridge más nuevo; este conoce la 1.*Usa uno más nuevo"
    ):
        journal.exists(url)


def test_a_database_without_tables_is_refused_with_the_command_that_makes_them(empty: str) -> None:
    with pytest.raises(StartRefused, match=r"no tiene aún el esquema otel_bridge.*otel-bridge journal migrate"):
        journal.exists(empty)


# --- who may ---------------------------------------------------------------------------------------------------------


def test_who_lacks_rights_is_told_the_grant(cluster: Cluster, empty: str) -> None:
    name = name_of(empty)
    cluster.sql(f'CREATE ROLE "poor {name}" LOGIN')
    poor = empty.replace("postgres@", f"poor%20{name}@")
    with pytest.raises(StartRefused, match=f'GRANT CREATE ON DATABASE "{name}" TO "poor {name}"'):
        migrate(poor)
    cluster.sql(f'CREATE SCHEMA otel_bridge AUTHORIZATION "poor {name}"', database=name)
    assert migrate(poor) == [f"esquema otel_bridge: creado, versión {schema.VERSION}"]


def test_who_has_not_made_the_schema_is_told_who_has(cluster: Cluster, url: str, newer: Callable[..., None]) -> None:
    newer()
    role = f"other_{name_of(url)}"
    cluster.sql(f"CREATE ROLE {role} LOGIN")
    cluster.sql(f"GRANT USAGE ON SCHEMA otel_bridge TO {role}", database=name_of(url))
    cluster.sql(f"GRANT SELECT, UPDATE ON otel_bridge.journal TO {role}", database=name_of(url))
    with pytest.raises(StartRefused, match=r'must be owner.*Ejecuta esto como "postgres".*GRANT "postgres" TO'):
        migrate(url.replace("postgres@", f"{role}@"))


def test_a_role_that_is_let_serve_writes_every_table_and_changes_none(
    cluster: Cluster, url: str, newer: Callable[..., None]
) -> None:
    role = f"serve_{name_of(url)}"
    with pytest.raises(StartRefused, match=f'no existe el rol {role}: CREATE ROLE "{role}"'):
        migrate(url, role)
    cluster.sql(f"CREATE ROLE {role} LOGIN")
    assert f'GRANT USAGE ON SCHEMA otel_bridge TO "{role}";' in migrate(url, role)
    newer()
    migrate(url)  # what a later step makes is the role's, too, without another grant
    with psycopg.connect(url.replace("postgres@", f"{role}@"), autocommit=True) as served:
        for table in schema.tables(2):
            served.execute(f"SELECT * FROM otel_bridge.{table} FOR UPDATE")
            served.execute(f"DELETE FROM otel_bridge.{table}")
        for slot in range(schema.RING):
            served.execute(f"TRUNCATE otel_bridge.seen_{slot}")
        for statement in (
            "CREATE TABLE otel_bridge.x ()",
            "TRUNCATE otel_bridge.segment",
            "DROP TABLE otel_bridge.lane",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                served.execute(statement)


def test_what_a_bridge_does_needs_no_more_than_that(cluster: Cluster, url: str) -> None:
    role = f"serve_{name_of(url)}"
    cluster.sql(f"CREATE ROLE {role} LOGIN")
    migrate(url, role)
    day = DEDUP_HORIZON_US
    with closing(journal.open(url.replace("postgres@", f"{role}@"), CONSUMER)) as store:
        store.begin_service()
        assert store.replicas is not None and store.replicas.claim_key(b"k" * 16)
        commit(store, append(session(), event(1), keys=[None, b"k1"]))
        refused = [Parked(2, b"p", "refused", "no", START_US, 1)]
        transact(store, lambda: (store.advance(2, 1, refused), store.save_snapshot(2, b"own")))
        transact(store, lambda: store.repark(refused))
        transact(store, lambda: store.unpark([2]))
        with closing(store.replicas.steward()) as steward:
            assert steward.hold()
            steward.save(steward.load()[0], lambda segments: None, lambda saved: b"state", True)
        with closing(store.reader()) as reader:
            idles = reader.idle_candidates(START_US + day, 10)
            assert reader.windows(START_US, {"1d": 86_400}) and reader.top_users(START_US, 86_400, 1)
        assert len(transact(store, lambda: store.fall_idle(idles, START_US + day))) == 1
        for days in (1, 2, 3, 4):  # tables of keys are emptied
            commit(store, append(event(10 + days, arrived_us=START_US + days * day), keys=[b"k%d" % days]))
            transact(store, lambda: store.forget(1_000))
        transact(store, lambda: store.mend(START_US, [SESSION_ID], 10))
        transact(store, lambda: store.trim(START_US + 9 * day, START_US + 9 * day, 100, [SESSION_ID]))
        store.maintain(1 << 40, lambda run: run())
        assert store.replicas.lanes()[0].last == store.last
    assert journal.mark_replay(url.replace("postgres@", f"{role}@"), None) == 0


def test_two_releases_serve_side_by_side_while_the_tables_are_the_newer_ones(
    cluster: Cluster, url: str, newer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(journal.open(url, CONSUMER)) as old:
        commit(old, append(session()))
        newer()
        assert migrate(url) == ["esquema otel_bridge: actualizado a la versión 2"]  # while the old release serves
        commit(old, append(event(1)))
        with closing(journal.open(url, CONSUMER)) as new:
            commit(new, append(event(2)))
        monkeypatch.undo()
        with closing(journal.open(url, CONSUMER)) as old_again:
            commit(old_again, append(event(3)))
    cluster.sql("UPDATE otel_bridge.journal SET serves_from = 2", database=name_of(url))
    with pytest.raises(StartRefused, match="Usa uno más nuevo"):
        journal.open(url, CONSUMER)


# --- servers on which no tables are made -----------------------------------------------------------------------------


def test_a_server_or_database_that_is_not_fit_gets_no_tables(
    cluster: Cluster, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = name_of(empty)
    cluster.sql(f"CREATE DATABASE latin_{name} ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StartRefused, match="codificación de la base es LATIN1; hace falta UTF8"):
        migrate(f"{empty.rpartition('/')[0]}/latin_{name}")
    cluster.sql("CREATE SCHEMA otel_bridge; CREATE TABLE otel_bridge.segment ()", database=name)
    with pytest.raises(StartRefused, match=r'algo que no es del puente.*"segment" already exists'):
        migrate(empty)
    monkeypatch.setattr(migrations, "OLDEST_SERVER", 990_000)
    with pytest.raises(StartRefused, match="hace falta la 15 o posterior"):
        migrate(empty)


def test_a_database_that_takes_no_writes_is_named_so(cluster: Cluster, empty: str) -> None:
    cluster.sql(f"ALTER DATABASE {name_of(empty)} SET default_transaction_read_only = on")
    with pytest.raises(StoreError, match="read-only"):
        migrate(empty)


def test_a_sqlite_journal_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["journal", "migrate"]) == 0 and "nada que hacer" in capsys.readouterr().out
    assert cli.main(["journal", "migrate", "--grant", "somebody"]) == 2
    assert list(tmp_path.iterdir()) == []
