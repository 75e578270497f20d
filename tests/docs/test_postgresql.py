"""docs/postgresql.md: its commands are run, and its table has every finding."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg

from tests.harness.postgres import LAX, Cluster

ROOT = Path(__file__).parents[2]
PAGE = ROOT.joinpath("docs", "postgresql.md").read_text(encoding="utf-8")
INSPECTION = ROOT.joinpath("otel_bridge/journal/postgres/inspection.py").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_every_finding_is_in_the_table_and_no_other() -> None:
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    names = re.findall(r'Finding\(\s*(?:[A-Z]+(?: if [^"]*? else [A-Z]+)?), "([^"]+)"', INSPECTION)
    listed = re.search(r"rooms = \{(.*?)\}", INSPECTION, re.DOTALL)
    timeouts = re.findall(r'"((?:\w+_)+timeout)"', INSPECTION)
    assert listed is not None
    assert told == {*names, *re.findall(r'"([^"]+)":', listed[1]), *timeouts, "autovacuum", "track_counts"}


def test_who_follows_the_page_gets_a_journal_that_is_served_backed_up_and_moved(tmp_path: Path) -> None:
    """Its commands as they stand, with this machine's cluster for the host."""
    cluster = Cluster(LAX).start()
    try:
        with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as superuser:
            for statement in filter(str.strip, blocks("sql")[0].split(";")):
                superuser.execute(statement)
        set_up, _, look, back_up, move = blocks("bash")  # _: tests/replicas/test_workers.py
        shell = f'otel-bridge() {{ {sys.executable} -m otel_bridge "$@"; }}\nset -e\n'
        environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        environ["PYTHONPATH"] = str(ROOT)

        def run(commands: str, **more: str) -> subprocess.CompletedProcess[str]:
            commands = shell + commands.replace("@db1/", f"@127.0.0.1:{cluster.port}/")
            return subprocess.run(
                ["bash", "-c", commands],
                cwd=tmp_path,
                env={**environ, **more},
                capture_output=True,
                text=True,
                timeout=90,
            )

        done = run(set_up.replace("otel-bridge check", "otel-bridge check || true #"))
        assert done.returncode == 0 and "esquema otel_bridge: creado" in done.stdout, done.stderr
        serving = f"postgresql://otel_bridge@127.0.0.1:{cluster.port}/otel_bridge"
        # A file to move, with one session in it.
        fill = (
            "from otel_bridge import journal; from tests.journal.stores import append, commit; "
            "from tests.unit.samples import session; s = journal.open('sqlite:///data/otel-bridge.db', 'otlp'); "
            "commit(s, append(session())); s.close()"
        )
        assert subprocess.run([sys.executable, "-c", fill], cwd=tmp_path, env=environ, timeout=60).returncode == 0
        (tmp_path / "data/otel-bridge.key").write_text("ab" * 32, encoding="utf-8")
        done = run(move.replace("otel-bridge serve", "true"))
        assert done.returncode == 0 and "ya es la versión 1, nada que hacer" in done.stdout, done.stderr
        assert "contado en los dos lados" in done.stdout
        done = run(look + back_up, OTEL_BRIDGE_JOURNAL=serving)
        assert done.returncode == 0 and "backup.db escrito y comprobado" in done.stdout, done.stderr
        assert "diario          sqlite:///backup.db" in done.stdout and "registros       1" in done.stdout
    finally:
        cluster.close()
