"""The boards, built by the code and as they are committed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.boards.queries import boards as committed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def boards() -> dict[str, dict[str, Any]]:
    """uid → the committed JSON."""
    return {board["uid"]: board for board in committed()}


@pytest.fixture(scope="session")
def rules() -> dict[str, str]:
    """Recorded series → its expression, of every rule file."""
    found = {}
    for path in sorted((ROOT / "prometheus" / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    found[rule["record"]] = rule["expr"]
    return found
