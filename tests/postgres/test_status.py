"""`otel-bridge journal status`, `parked` and `replay` of a journal that replicas share: over all lanes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from otel_bridge import journal
from otel_bridge.commands import cli
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.journal import Parked, Store, StoreLost
from otel_bridge.journal.postgres.schema import base
from tests.harness.postgres import Cluster
from tests.journal.stores import append, commit, transact
from tests.unit.samples import event, session


@pytest.fixture
def two(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """Two replicas: three records in lane 0, of which one is delivered and one parked, and one in lane 1."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_BRIDGE_JOURNAL", url)
    with ExitStack() as stack:
        first, second = (stack.enter_context(closing(journal.open(url, CONSUMER))) for _ in range(2))
        assert first.replicas is not None and first.replicas.claim_key(b"k" * 16)
        for records in ([session()], [event(1)], [event(2)]):
            commit(first, append(*records))
        commit(second, append(event(3)))
        refused = Parked(2, b"body", "refused", "HTTP 400", 1_000_000, 1)
        transact(first, lambda: first.advance(2, 1, [refused]))
        yield first, second


def test_status_tells_of_every_lane_and_of_all_together(
    two: tuple[Store, Store], url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    replicas = two[0].replicas
    assert replicas is not None
    assert cli.main(["journal", "status", "--json"]) == 0
    nobody = json.loads(capsys.readouterr().out)
    assert nobody["steward"] is None
    with closing(replicas.steward()) as steward:
        assert steward.hold()
        assert cli.main(["journal", "status", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert cli.main(["journal", "status"]) == 0
        text = capsys.readouterr().out
    assert (told["records"], told["exported"], told["pending"], told["parked"]) == (4, 1, 2, 1)
    assert told["steward"] and 0 < told["steward_lease_seconds"] <= 6 and told["schema"] == 1
    assert told["server"].startswith("PostgreSQL ") and told["freeze_at"] == 200_000_000
    assert 0 < told["oldest_transaction_id"] < 10_000 and told["tables"]["segment"] > 0
    lanes = [(one["lane"], one["records"], one["delivered_up_to"], one["pending"]) for one in told["lanes"]]
    assert lanes == [(0, 3, 2, 1), (1, 1, 0, 1)]
    assert all(one["replica"] and 0 < one["lease_seconds"] <= 15 for one in told["lanes"])
    assert "encargada       " in text and "     1  " in text and "segment" in text and "ninguna: nadie" not in text
    assert "se congelan desde 200.000.000" in text, "as Spanish writes it"


def test_status_tells_that_the_journal_went_back(
    two: tuple[Store, Store], cluster: Cluster, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a promoted standby that lacks what came last leaves it."""
    cluster.sql("DELETE FROM otel_bridge.segment WHERE last = 3", database=url.rpartition("/")[2])
    cluster.sql("UPDATE otel_bridge.lane SET last = 2, total = 2, commits = 2 WHERE lane = 0",
                database=url.rpartition("/")[2])  # fmt: skip
    with pytest.raises(StoreLost, match="lane 0 had 3 records, and has 2 now"):
        two[0].write_alone([append(event(9))])
    assert cli.main(["journal", "status", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["went_back"]
    assert (told["kind"], told["records"], told["records_before"]) == ("older", 2, 3)


def test_a_lane_that_nobody_has_is_told_as_free(two: tuple[Store, Store], capsys: pytest.CaptureFixture[str]) -> None:
    two[1].close()
    assert cli.main(["journal", "status"]) == 0
    text = capsys.readouterr().out
    (free,) = [line for line in text.splitlines() if line.startswith("     1  ")]
    assert (
        free.split() == ["1", "-", "libre", "1", "1"] and "ninguna: nadie muestra lo que comparten las réplicas" in text
    )


def test_parked_and_replay_reach_every_lane(two: tuple[Store, Store], capsys: pytest.CaptureFixture[str]) -> None:
    of_second = Parked(base(1) + 1, b"body", "refused", "HTTP 413", 2_000_000, 1)
    transact(two[1], lambda: two[1].advance(base(1) + 1, 0, [of_second]))
    assert cli.main(["journal", "parked"]) == 0
    told = capsys.readouterr().out
    assert "2  1970" in told and f"{base(1) + 1}  1970" in told and "HTTP 413" in told
    assert cli.main(["journal", "replay", str(base(1) + 1), "--wait", "0"]) == 0
    assert "1 registro(s) apartado(s) se enviarán otra vez" in capsys.readouterr().out
    with closing(two[0].reader()) as reader:
        assert reader.replay_marks() == {2: False, base(1) + 1: True}


def test_commands_on_a_database_that_nobody_has_served_say_so(
    url: str, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("status", "parked", "replay"):
        assert cli.main(["journal", command, "--journal", url]) == 2
        assert "aún no existe" in capsys.readouterr().err
        assert cli.main(["journal", command, "--journal", empty]) == 2
        assert "otel-bridge journal migrate" in capsys.readouterr().err
        assert cli.main(["journal", command, "--journal", "postgresql://u:s3cr3t@127.0.0.1:1/db"]) == 2
        said = capsys.readouterr().err
        assert "no se puede llegar" in said and "s3cr3t" not in said
