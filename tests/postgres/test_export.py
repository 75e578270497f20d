"""`otel-bridge export` over a journal that replicas share: every lane, and what its damage leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from otel_bridge import journal
from tests.harness.bridge import ROOT
from tests.harness.postgres import Cluster
from tests.journal.stores import append, commit
from tests.unit.samples import event, session, uid

CONSUMER = "otlp"


def exported(url: str, folder: Path) -> tuple[int, list[str], str]:
    done = subprocess.run(
        [sys.executable, "-m", "otel_bridge", "export", "--since", "2025-01-01", "--journal", url],
        cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, [line.get("contenido", "sesión") for line in lines], done.stderr


def test_every_lane_is_exported_and_damage_is_stepped_over(url: str, cluster: Cluster, tmp_path: Path) -> None:
    one, two = journal.open(url, CONSUMER), journal.open(url, CONSUMER)
    for store in (one, two):
        store.begin_service()
        assert store.replicas is not None
        store.replicas.claim_key(b"k" * 16)
    commit(one, append(session(), event(1, content="uno")))
    commit(two, append(event(2, content="dos")))
    commit(two, append(event(3, content="tres")))
    commit(two, append(session(9), event(4, session=uid(9), content="cuatro")))
    assert exported(url, tmp_path)[:2] == (0, ["sesión", "uno", "dos", "tres", "sesión", "cuatro"])

    damaged = two.last - 2
    cluster.sql(
        "UPDATE otel_bridge.segment SET body = decode('00', 'hex') WHERE last = %s", damaged,
        database=url.rpartition("/")[2].partition("?")[0],
    )  # fmt: skip
    code, lines, said = exported(url, tmp_path)
    assert (code, lines) == (1, ["sesión", "uno", "dos", "sesión", "cuatro"])
    assert f"registros {damaged} a {damaged}: dañados, se saltan" in said
    for store in (one, two):
        store.close()
