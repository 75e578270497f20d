"""docs/instalalo-tu.md, followed by its commands: from an empty folder to the first event on the board."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_bridge import config
from tests.docs.markdown import DOCS, ROOT, blocks
from tests.harness.bridge import Bridge
from tests.harness.prometheus import Prometheus, available
from tests.harness.waiting import wait_for

PAGE = DOCS / "instalalo-tu.md"
COMMANDS = [block.text for block in blocks(PAGE) if block.language == "bash" and block.mark != "a mano"]
GPT = "mi-gpt"


class Newcomer:
    """Who follows the page, in a folder where the repository's configuration is."""

    def __init__(self, folder: Path) -> None:
        self.bridge = Bridge(folder)
        self.key = ""
        self.prometheus: Prometheus | None = None

    def do(self, text: str) -> str:
        """Runs one block of the page, on this bridge's ports. Returns what it prints."""
        program = f"{shlex.quote(sys.executable)} -m otel_bridge"
        text = text.replace(".venv/bin/otel-bridge", program)
        text = text.replace(":8000", f":{self.bridge.port}").replace(":9464", f":{self.bridge.metrics_port}")
        environ = {**self.bridge.env(), "GPT_API_KEY": self.key, "OTEL_BRIDGE_PORT": str(self.bridge.port),
                   "OTEL_BRIDGE_METRICS_PORT": str(self.bridge.metrics_port)}  # fmt: skip
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.bridge.folder, env=environ, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, (text, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Newcomer, dict[str, str]]]:
    """The page but for its last command, and what each of them printed, by a word of it."""
    newcomer = Newcomer(tmp_path_factory.mktemp("nuevo"))
    written, keyed, event, seen, _ = COMMANDS
    said = {"init": newcomer.do(written), "keys": newcomer.do(keyed)}
    found = re.search(r"otb_\S+", said["keys"])
    assert found is not None
    newcomer.key = found[0]
    newcomer.bridge.start()
    if available() is not None:  # as in `make up`, it is there before the first event
        folder = tmp_path_factory.mktemp("prometheus")
        newcomer.prometheus = Prometheus(folder, targets=[f"127.0.0.1:{newcomer.bridge.metrics_port}"]).start()
        wait_for(lambda: newcomer.prometheus and newcomer.prometheus.value("up") == 1, "a scrape", 30)
    said |= {"event": newcomer.do(event), "seen": newcomer.do(seen)}
    yield newcomer, said
    newcomer.bridge.close()
    if newcomer.prometheus is not None:
        newcomer.prometheus.close()


def test_who_follows_the_page_has_its_own_gpt_a_key_and_an_event(followed: tuple[Newcomer, dict[str, str]]) -> None:
    newcomer, said = followed
    assert "bien; 1 GPT: mi-gpt" in said["init"]
    assert '"tipo":"consulta"' in said["event"].replace(" ", "")
    assert f'gpt_sessions_total{{gen_ai_agent_id="{GPT}",' in said["seen"] and said["seen"].endswith(" 1.0\n")
    loaded = config.load(str(newcomer.bridge.config), {})
    assert loaded.gpts[GPT].name == "Mi GPT" and loaded.gpts[GPT].closed
    assert "devops-expert" not in newcomer.bridge.config.read_text(encoding="utf-8")


@pytest.mark.skipif(available() is None, reason="needs Debian's prometheus: scripts/ensure-tools")
def test_the_first_event_shows_on_the_board_within_a_scrape(followed: tuple[Newcomer, dict[str, str]]) -> None:
    board = json.loads((ROOT / "grafana" / "dashboards" / "gpt-resumen.json").read_text(encoding="utf-8"))
    panels = {panel["title"]: panel for panel in board["panels"]}
    page = PAGE.read_text(encoding="utf-8")
    assert (
        board["title"] in page and {"Ahora", "Cómo va cada GPT", "Tipos de consultas más frecuentes"} <= panels.keys()
    )
    prometheus = followed[0].prometheus
    assert prometheus is not None

    def shown(panel: str) -> float | None:
        query = panels[panel]["targets"][0]["expr"]
        for name, value in (("job", ".+"), ("instance", ".+"), ("gpt", GPT), ("tipo", ".+")):
            query = query.replace(f"${name}", value)
        return prometheus.value(query)

    wait_for(lambda: shown("Latencia (5 min)") == 1.5, "the event on the board", 10)
    wait_for(lambda: shown("Sesiones activas") == 1, "the session on the board", 30)  # counted every 15 seconds


def test_the_doctor_says_that_it_arrives(followed: tuple[Newcomer, dict[str, str]]) -> None:
    """After the tests above: it posts a session of its own."""
    said = followed[0].do(COMMANDS[-1])
    assert f"el contador de {GPT} subió" in said or "el ejemplar lleva la traza" in said


def test_what_serve_prints_to_paste_is_a_first_event_of_the_configured_gpt(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, '[gpts."mi.gpt"]\n[gpts.otro]\n', OTEL_BRIDGE_LOG_FORMAT="text").start()
    try:
        lines = bridge.output().splitlines()
        begin = lines.index("  un primer evento, desde otra terminal:")
        done = subprocess.run(
            ["bash", "-euc", "\n".join(lines[begin + 1 : begin + 4])], capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, done.stderr
        assert bridge.metric("gpt_slo_events_total", gen_ai_agent_id="mi.gpt", result="good") == 1
    finally:
        bridge.close()


def test_the_page_asks_for_no_program_that_it_does_not_announce() -> None:
    announced = re.findall(r"apt install -y ([\w .-]+)", PAGE.read_text(encoding="utf-8"))
    assert announced[0].split() == ["git", "make", "python3-venv", "curl"]
    assert not any(re.search(r"\bjq\b", text) for text in COMMANDS)


def test_its_pictures_are_there() -> None:
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", PAGE.read_text(encoding="utf-8")):
        assert 10_000 < (DOCS / picture).stat().st_size < 300_000, picture
