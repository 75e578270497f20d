"""Models and prices in examples are of today: those of `otel_bridge/prices.toml`, and no others."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from otel_bridge.config import Price, shipped
from tests.docs.markdown import DOCS, ROOT, blocks

MODEL = re.compile(r"(?<![\w./-])gpt-\d[\w.]*(?:-[a-z]\w*)*(?![\w-])|(?<![\w.-])o[134](?:-(?:mini|pro))?(?![\w-])")
"""A model of OpenAI's, as clients write it."""
OF_THEN = {"tests/unit/test_identity.py", "tests/docs/test_prices.py"}
"""The digests of an event of 0.1.0; this page."""


def examples() -> list[Path]:
    """Everything in the repository that shows or uses a model."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no checkout")
    places = ("docs/", "clients/", "otel_bridge/", "benchmarks/", "deploy/", "tests/", "README.md", "otel-bridge.toml")
    suffixes = {".md", ".py", ".toml", ".mjs", ".cjs", ".js", ".ts", ".json", ".jsonl"}
    return [
        ROOT / name
        for name in listed.stdout.splitlines()
        if name.startswith(places)
        and Path(name).suffix in suffixes
        and not name.endswith("package-lock.json")
        and not name.startswith("tests/e2e/guide/")
        and name not in OF_THEN
    ]


def test_every_model_in_examples_and_tests_has_a_price_in_the_list() -> None:
    known = set(shipped().models)
    found: dict[str, set[str]] = {}
    for path in examples():
        if path.is_file():
            for model in MODEL.findall(path.read_text(encoding="utf-8", errors="replace")):
                found.setdefault(model, set()).add(str(path.relative_to(ROOT)))
    assert found, "no example names a model: the pattern is wrong"
    assert {model: sorted(places) for model, places in found.items() if model.rstrip(".") not in known} == {}


def test_prices_on_the_pages_are_those_of_the_list() -> None:
    seen = 0
    for page in (ROOT / "README.md", *DOCS.rglob("*.md")):
        for block in blocks(page):
            if block.language == "toml":
                for gpt in tomllib.loads(block.text).get("gpts", {}).values():
                    written = gpt.get("prices", {})
                    for model, price in written.items() if isinstance(written, dict) else ():
                        assert Price(**price) == shipped().models[model], f"{page.name}:{block.line}: {model}"
                        seen += 1
    assert seen


def test_the_page_of_settings_says_when_the_list_was_read_and_where() -> None:
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert f"read on {shipped().read}" in text and shipped().source in text
