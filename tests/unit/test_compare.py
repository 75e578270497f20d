"""benchmarks/compare.py: what it reads and what it prints; the loads themselves are for `make bench`'s machine."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from benchmarks.compare import FIGURES, WORKING_TREE, Row, checked_out, figures_of, table


def test_the_table_has_medians_and_the_ratios_of_each_round_to_the_first_revision() -> None:
    row = Row("single, posts/s", "{:,.0f}", [[1000.0, 2000.0, 4000.0], [1100.0, 1800.0, 8000.0]])
    assert table(["57ff894", WORKING_TREE], [row]).splitlines() == [
        "| figure | 57ff894 | working tree | working tree / 57ff894 |",
        "| --- | ---: | ---: | ---: |",
        "| single, posts/s | 2,000 | 1,800 | 1.10 (0.90–2.00) |",
    ]


def test_one_revision_has_no_ratio() -> None:
    assert table(["HEAD"], [Row("p99", "{:.1f} ms", [[1.0, 3.0, 2.0]])]).splitlines()[-1] == "| p99 | 2.0 ms |"


def test_figures_are_chosen_by_name_in_the_order_of_all() -> None:
    assert figures_of("p99,single") == ["single", "p99"]
    assert figures_of(",".join(FIGURES)) == list(FIGURES)
    with pytest.raises(argparse.ArgumentTypeError, match=r"no figure: speed; there are single, batch, drain, p99"):
        figures_of("single,speed")


def test_the_working_tree_runs_as_it_is(tmp_path: Path) -> None:
    tree = checked_out(WORKING_TREE, tmp_path)
    assert tree.environ == {}
    assert "[gpts.devops-expert]" in tree.config
    assert not list(tmp_path.iterdir())


def test_a_revision_that_git_does_not_know_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no-such-revision: "):
        checked_out("no-such-revision", tmp_path)
