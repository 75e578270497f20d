"""The committed JSON is what the code makes, and what the SDK's types can hold."""

import copy
import json
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.boards import DASHBOARDS, files, rules, scrape
from grafana.boards.__main__ import main
from grafana.boards.names import names
from grafana.boards.queries import queries

UIDS = ("gpt-resumen", "gpt-slo", "gpt-sesiones", "otel-bridge-salud")


def test_every_committed_file_is_what_the_code_makes() -> None:
    wanted = files()
    assert sorted(path for path in (*DASHBOARDS.glob("*.json"), rules.FILE, scrape.FILE)) == sorted(wanted)
    for path, text in wanted.items():
        assert path.read_text("utf-8") == text, f"{path.name} is out of date: make boards"


def test_what_a_board_reads_of_a_counter_is_recorded() -> None:
    recorded = {
        rule["record"] for group in yaml.safe_load(rules.FILE.read_text("utf-8"))["groups"] for rule in group["rules"]
    }
    asked = {name for query in queries() for name in names(query.expr).metrics if name.startswith("bridge:")}
    assert len(asked) > 20
    assert asked <= recorded


def test_generating_twice_gives_the_same_bytes() -> None:
    assert files() == files()


def test_check_says_which_file_is_out_of_date(tmp_path, monkeypatch, capsys) -> None:
    import grafana.boards as package
    import grafana.boards.__main__ as command

    monkeypatch.setattr(package, "DASHBOARDS", tmp_path)
    monkeypatch.setattr(command, "DASHBOARDS", tmp_path)
    monkeypatch.setattr(rules, "FILE", tmp_path / "boards.bars.rules.yml")
    shipped = scrape.FILE.read_text("utf-8")
    monkeypatch.setattr(scrape, "FILE", tmp_path / "prometheus.yml")
    scrape.FILE.write_text(shipped.replace("otel_bridge_records_total", "otel_bridge_records"), "utf-8")
    assert main(["--check"]) == 1
    assert main([]) == 0
    assert main(["--check"]) == 0
    assert scrape.FILE.read_text("utf-8") == shipped
    (tmp_path / "gpt-slo.json").write_text("{}")
    (tmp_path / "viejo.json").write_text("{}")
    (tmp_path / "boards.bars.rules.yml").write_text("groups: []")
    capsys.readouterr()
    assert main(["--check"]) == 1
    said = capsys.readouterr().err
    assert "gpt-slo.json: out of date" in said
    assert "viejo.json: no board makes it" in said
    assert "boards.bars.rules.yml: out of date" in said
    assert "gpt-resumen" not in said
    assert main([]) == 0
    assert not (tmp_path / "viejo.json").exists()


def test_the_four_boards_are_there(boards: dict[str, Any]) -> None:
    assert sorted(boards) == sorted(UIDS)


@pytest.mark.parametrize("uid", UIDS)
def test_the_sdk_reads_the_board_back_without_losing_a_key(uid: str, boards: dict[str, Any]) -> None:
    """`from_json` keeps only what the schema knows: a misspelt key would be gone."""
    register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(boards[uid]), cls=JSONEncoder))
    assert _lost(boards[uid], again) == []


def test_a_misspelt_key_is_noticed(boards: dict[str, Any]) -> None:
    register_default_plugins()
    board = copy.deepcopy(boards["gpt-resumen"])
    chart = next(panel for panel in board["panels"] if panel["type"] == "timeseries")
    chart["options"]["legend"]["showLegends"] = True
    chart["targets"][0]["exemplars"] = True
    chart["fieldConfig"]["defaults"]["units"] = "s"
    again = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    assert len(_lost(board, again)) == 3


def _lost(before: Any, after: Any, path: str = "") -> list[str]:
    if isinstance(before, dict):
        if not isinstance(after, dict):
            return [path]
        return [
            lost
            for key, value in before.items()
            for lost in (_lost(value, after[key], f"{path}.{key}") if key in after else [f"{path}.{key}"])
        ]
    if isinstance(before, list):
        if not isinstance(after, list) or len(before) != len(after):
            return [path]
        return [
            lost
            for at, (one, other) in enumerate(zip(before, after, strict=True))
            for lost in _lost(one, other, f"{path}[{at}]")
        ]
    return [] if before == after else [path]
