"""The page on backups is followed: every bash block of it, in order, with the bridge up or down as the block says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from tests.docs.markdown import DOCS, blocks
from tests.harness.bridge import Bridge

PAGE = DOCS / "respaldo.md"
SERVES = {"puente en marcha": True, "puente parado": False}


def test_every_step_does_what_the_page_says(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge().start()
    session = bridge.session()
    tools = bridge.folder / "bin"
    tools.mkdir()
    command = tools / "otel-bridge"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m otel_bridge "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    environ = {**bridge.env(), "PATH": f"{tools}:{os.environ['PATH']}"}
    up, outputs = True, []
    steps = [block for block in blocks(PAGE) if block.language == "bash"]
    assert {block.mark for block in steps} == set(SERVES)
    for block in steps:
        serves = SERVES[block.mark or ""]
        if serves and not up:
            bridge.start()
        elif up and not serves:
            assert bridge.event(session).status_code == 201  # what the backup lacks
            assert bridge.stop() == 0
        up = serves
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text],
            cwd=bridge.folder, env=environ, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{PAGE.name}:{block.line}: {done.stderr}"
        outputs.append(done.stdout)
    assert "WENT BACK  a backup stands in its place: it ends with record 1; record 2 was here" in bridge.output()
    assert "went back       2" in outputs[-1] and bridge.metric("otel_bridge_ledger_gap") == 0


def test_what_the_page_quotes_is_what_a_start_says() -> None:
    from otel_bridge.ops.going_back import _SEEN

    text = PAGE.read_text(encoding="utf-8")
    for seen in _SEEN.values():
        assert f"`{seen.removeprefix('it is ') if seen.startswith('it is a copy') else seen}`" in text, seen
