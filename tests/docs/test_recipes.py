"""CONTRIBUTING's recipes name files and tests that are there; pre-commit runs what `make lint` runs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.docs.markdown import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = PAGE[PAGE.index("## Recipes") : PAGE.index("## What is tested where")]
CODE = re.findall(r"`([^`]+)`", RECIPES)
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("name", sorted({name for name in CODE if "/" in name or name.endswith((".py", ".md"))}))
def test_every_file_that_a_recipe_names_is_there(name: str) -> None:
    path = Path(name.split("::")[0])
    places = [ROOT / path, ROOT / "otel_bridge" / path, *(ROOT / "tests").rglob(path.name)]
    assert any(place.exists() for place in places)


@pytest.mark.parametrize(
    "name", sorted({name.rpartition("::")[2] for name in CODE if re.search(r"(^|::)test_\w+$", name)})
)
def test_every_test_that_a_recipe_names_is_there(name: str) -> None:
    assert re.search(rf"^def {name}\b", TESTS, re.M)


def test_five_recipes_are_there() -> None:
    names = re.findall(r"^\*\*([^*]+)\.\*\*", RECIPES, re.M)
    assert names == ["A field of an event", "A metric", "An alert", "A panel", "A kind of redaction"]


def test_pre_commit_runs_the_locked_tools_of_make_lint_and_fetches_nothing() -> None:
    document = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert {repo["repo"] for repo in document["repos"]} == {"local"}
    hooks = [hook for repo in document["repos"] for hook in repo["hooks"]]
    assert all(hook["language"] == "system" for hook in hooks)
    entries = {" ".join(hook["entry"].split()[:2]).replace(" --force-exclude", "") for hook in hooks}
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert recipe is not None
    linted = re.findall(r"@\$\(BIN\)/(\S+(?: (?:check|format|--no-logo))?)", recipe[1])
    assert entries == {f".venv/bin/{one}" for one in linted}


def test_make_lists_the_quick_tests() -> None:
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    assert re.search(r"^test-quick +\S", said, re.M)
