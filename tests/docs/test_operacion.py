"""docs/operacion.md and docs/historia.md: every command is run, and the table of sizes is what its figures come to."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable

from tests.docs.markdown import DOCS, ROOT, blocks
from tests.harness.bridge import Bridge

Make = Callable[..., Bridge]

PAGE = DOCS / "operacion.md"
RESULTS = ROOT.joinpath("benchmarks", "RESULTS.md").read_text(encoding="utf-8")


def follow(bridge: Bridge, commands: str) -> str:
    """What these commands print, one after the other, as they stand; the first that fails ends them."""
    shell = f'otel-bridge() {{ {sys.executable} -m otel_bridge "$@"; }}\nset -e\n'
    done = subprocess.run(
        ["bash", "-c", shell + commands], cwd=bridge.folder, env=bridge.env(), capture_output=True, text=True,
        timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_who_follows_the_page_measures_copies_restores_and_gives_out_keys(make_bridge: Make) -> None:
    bridge = make_bridge()
    environ = {"port": bridge.port, "metrics_port": bridge.metrics_port}
    bridge.environ |= {f"OTEL_BRIDGE_{name.upper()}": str(value) for name, value in environ.items()}
    bridge.start()
    bridge.event(bridge.session())
    said = []
    for block in blocks(PAGE):
        if block.language != "bash":
            continue
        assert block.mark in ("puente en marcha", "puente parado"), f"line {block.line}"
        if block.mark == "puente parado":
            bridge.stop()
        said.append(follow(bridge, block.text))
        if block.mark == "puente parado":
            bridge.start()
            assert bridge.metric("otel_bridge_ledger_gap") == 0
    space, backup, _, table, new = said
    assert "b. pendientes" in space
    assert "hoy.db" in backup and "registros       2" in backup
    assert "1 evento, 0 valoraciones" in table
    first, second = re.findall(r"otb_[\w-]+", new)
    wait = {"X-API-Key": second}
    assert first != second
    bridge.stop()
    bridge.start()
    session = {"gpt_id": "devops-expert", "usuario_id": "a", "timestamp_inicio": "2026-01-15T20:00:00Z"}
    assert [bridge.post("/sessions", session, headers=one).status_code for one in ({}, wait)] == [401, 201]


def _bytes(text: str) -> float:
    number, unit = text.replace("\N{NO-BREAK SPACE}", " ").split()
    return float(number.replace(".", "").replace(",", ".")) * {"MB": 1e6, "GB": 1e9}[unit]


def test_the_table_of_sizes_is_what_the_measured_bytes_come_to() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    measured = {row[0]: row for row in rows if len(row) == 4}
    of = {name: [int(row[column]) for column in (1, 2)] for name, row in measured.items() if row[1].isdecimal()}
    event, content, session, key = (
        of[name]
        for name in ("un evento, enviado solo", "de ellos, el contenido", "una sesión", "lo que reconoce un reintento")
    )
    per_day = []
    for backend, days in ((0, 35), (1, 2)):
        for kept in (event[backend], event[backend] - content[backend]):
            per_day.append(kept * days + session[backend] / 10 * 35 + key[backend] * 2)
    sizes = [row for row in rows if len(row) == 5 and re.fullmatch(r"[\d.]+", row[0])]
    assert len(sizes) == 5
    for events, *cells in sizes:
        for cell, size in zip(cells, per_day, strict=True):
            owed = int(events.replace(".", "")) * size
            assert abs(_bytes(cell) - owed) <= 0.02 * owed, f"{events}: {cell}, owed {owed / 1e6:.1f} MB"


def test_what_a_bridge_takes_is_what_was_measured() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## Cuánto aguanta")[2].partition("\n\nCon lotes")[0]
    cells = [line.split("|")[2] for line in text.splitlines() if line.count("|") == 3]
    figures = [found for cell in cells for found in re.findall(r"([\d.,]*\d)(/s| ms| s| MiB)", cell)]
    assert len(figures) == 8
    for number, unit in figures:
        figure = number.translate(str.maketrans(".,", ",.")) + unit.removeprefix("/s")
        assert f"| {figure} |" in RESULTS, figure


def test_who_follows_the_page_of_history_brings_it_and_takes_it_out(make_bridge: Make) -> None:
    bridge = make_bridge()
    bridge.environ["OTEL_BRIDGE_PORT"] = str(bridge.port)
    bridge.start()
    format_, *commands = [block for block in blocks(DOCS / "historia.md") if block.language in ("json", "bash")]
    (bridge.folder / "historia.jsonl").write_text(format_.text, encoding="utf-8")
    brought, given = (follow(bridge, block.text) for block in commands)
    assert "3 líneas: 3 nuevas, 0 ya estaban, 0 rechazadas" in brought
    assert "1 sesión, 1 evento, 0 valoraciones" in given  # January's: a rating is of when it came
    lines = [json.loads(line) for line in (bridge.folder / "semana.jsonl").read_text().splitlines()]
    assert [line["valor"] for line in lines] == [1.0]
