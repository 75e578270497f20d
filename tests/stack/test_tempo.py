"""deploy/tempo.yaml: one file for compose and for a machine, and where Tempo is on this machine, tried with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from deploy.native.stack import Stack, find
from otel_bridge.commands.stations import Doctor, Places
from otel_bridge.config import SETTINGS
from otel_bridge.journal.parts import PART_BYTES
from tests.harness.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "deploy" / "tempo.yaml"
TEXT = FILE.read_text("utf-8")


def expanded(**environ: str) -> dict[str, object]:
    """As `-config.expand-env=true` reads it."""
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda match: environ.get(match[1], match[2]), TEXT)
    document: dict[str, object] = yaml.safe_load(text)
    return document


def test_every_variable_has_a_default_and_natively_nothing_listens_beyond_loopback() -> None:
    assert re.findall(r"\$\{\w+\}", TEXT) == []
    text = yaml.safe_dump(expanded())
    assert "0.0.0.0" not in text
    assert "127.0.0.1:4318" in text and "127.0.0.1:4317" in text


def test_compose_opens_the_doors_that_the_bridge_and_grafana_use() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    environ = {k: re.sub(r"\$\{\w+:-(.*)\}", r"\1", v) for k, v in services["tempo"]["environment"].items()}
    text = yaml.safe_dump(expanded(**environ))
    assert "0.0.0.0:4318" in text
    assert "http_listen_port: 3200" in text and "http_listen_address: 0.0.0.0" in text
    paths = re.findall(r"(?:path|dir): (\S+)", text)
    assert paths and all(path.startswith("/var/tempo/") for path in paths), "everything it keeps is on its volume"


def test_traces_are_kept_as_long_as_the_journal() -> None:
    days = next(setting.default for setting in SETTINGS if setting.key == "retention_days")
    worker = expanded()["backend_worker"]
    assert worker == {"compaction": {"block_retention": f"{days * 24:g}h"}}


def test_an_attribute_holds_the_longest_content_that_the_bridge_sends() -> None:
    characters = next(setting.default for setting in SETTINGS if setting.key == "content_max_chars")
    distributor = expanded()["distributor"]
    assert isinstance(distributor, dict)
    # A character is four bytes of UTF-8 at the most, six where JSON escapes it.
    assert distributor["max_attribute_bytes"] > 6 * characters


def test_a_trace_holds_more_than_a_part_of_a_session_that_comes_twice() -> None:
    limits: Any = expanded()["overrides"]
    assert limits["defaults"]["global"]["max_bytes_per_trace"] > max(5_000_000, 2 * PART_BYTES)
    assert limits["defaults"]["ingestion"]["max_traces_per_user"] == 0


@pytest.mark.skipif(find("tempo") is None, reason="Tempo has no Debian package; tried where it is on PATH")
def test_a_real_tempo_shows_a_trace_of_the_bridge_by_id_and_by_search(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "run", 60, optional=("tempo",))
    try:
        stack.start()
        places = Places(stack.bridge_url, stack.metrics_url, stack.prometheus_url, stack.tempo_url)
        doctor = Doctor(places, "devops-expert", 60)
        answers = {result.station: result for result in doctor.examine(lambda result: None)}
        assert answers["trazas"].answer == "sí" and "no ha tirado nada de lo que aceptó" in answers["trazas"].text

        def searched() -> bool:
            answer = requests.get(f"{stack.tempo_url}/api/search", params={"q": '{ name = "consulta" }'}, timeout=5)
            return doctor.session.trace_id.lstrip("0") in answer.text  # its search shows no leading zeros

        wait_for(searched, "the trace in a search", 60)
    finally:
        stack.stop()
