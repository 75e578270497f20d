"""`/mcp` as the protocol's conformance suite sees it, in each version; and as the official TypeScript client does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import HERE, Node
from tests.harness.bridge import ROOT, Bridge

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # installing comes first

EXPECTED: dict[str, dict[str, Any]] = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
"""By reason: why, and the checks (scenario/check) that do not pass for it."""
REASONS = {check: reason for reason, row in EXPECTED.items() for check in row["checks"]}
_TIME = re.compile(r"-20[0-9]{2}-[0-9]{2}-[0-9]{2}T.*$")
"""At the end of a scenario's folder: when it was run."""

CHECKS = {"2025-03-26": 1, "2025-06-18": 31, "2025-11-25": 38, "2026-07-28": 83}
"""How many checks pass at the least, by version: a suite that checks nothing finds nothing."""
SUITE = str(Path("node_modules") / "@modelcontextprotocol" / "conformance" / "dist" / "index.js")
PAGE = (ROOT / "docs" / "mcp.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def seen() -> dict[str, set[str]]:
    """What did not pass, by version."""
    return {}


@pytest.mark.parametrize("version", CHECKS)
def test_every_check_passes_but_those_that_are_listed_with_a_reason(
    node: Node, bridge: Bridge, tmp_path: Path, seen: dict[str, set[str]], version: str
) -> None:
    url = f"{bridge.url}/mcp"
    ran = node.run(SUITE, "server", "--url", url, "--spec-version", version, "--suite", "all", "-o", str(tmp_path))
    outcomes: list[tuple[str, str]] = []
    for file in tmp_path.glob("*/checks.json"):
        scenario = _TIME.sub("", file.parent.name.removeprefix("server-"))
        for check in json.loads(file.read_text(encoding="utf-8")):
            outcomes.append((f"{scenario}/{check['id']}", check["status"]))
    passed = [check for check, outcome in outcomes if outcome == "SUCCESS"]
    assert len(passed) >= CHECKS[version], ran.stdout + ran.stderr
    seen[version] = {check for check, outcome in outcomes if outcome in ("FAILURE", "WARNING")}
    assert seen[version] <= set(REASONS), seen[version] - set(REASONS)


def test_every_check_that_is_listed_does_not_pass(seen: dict[str, set[str]]) -> None:
    if set(seen) != set(CHECKS):
        pytest.skip("the suite did not run in every version")
    assert set().union(*seen.values()) == set(REASONS)


def test_the_page_says_what_does_not_pass_and_why() -> None:
    for reason, row in EXPECTED.items():
        (line,) = (line for line in PAGE.splitlines() if line.startswith("|") and row["why"] in line)
        for scenario in {check.partition("/")[0] for check in row["checks"]}:
            assert f"`{scenario}`" in line, (reason, scenario)


def test_the_typescript_client_works_without_hints_and_finds_every_answer_as_its_schema_says(
    node: Node, bridge: Bridge
) -> None:
    ran = node.run("client.mjs", f"{bridge.url}/mcp")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["session"]
    assert told["outputs"] == ["crear_sesion", "registrar_evento", "valorar_evento", "terminar_sesion"]
    assert not any(told[name]["failed"] for name in ("made", "event", "measured", "rated", "ended"))
    assert told["event"]["sesion_id"] == told["made"]["id"] == told["ended"]["id"]
    assert "latency_ms" not in told["event"] and told["measured"]["latency_ms"] == 1500
    assert told["wrong"]["failed"] and told["wrong"]["status"] == 422
    assert told["missing"]["failed"] and told["missing"]["status"] == 404
    assert told["unknown"] == -32602
