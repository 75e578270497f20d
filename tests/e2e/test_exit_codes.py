"""The table of exit codes (docs/ordenes.md): each row, provoked; the last one in tests/chaos/test_stop.py."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable

import pytest

from tests.docs.markdown import DOCS
from tests.harness.bridge import Bridge
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

Make = Callable[..., Bridge]
PAGE = (DOCS / "ordenes.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d[^|]*?) \| .* \|$", PAGE, re.M)

REFUSED: dict[str, list[str]] = {
    "an option that is not there": ["serve", "--bogus"],
    "no command": [],
    "a value that is none": ["demo", "--hour", "25"],
    "a configuration that is not there": ["check", "--config", "none.toml"],
    "a journal that is not there": ["journal", "status"],
    "a file that is there": ["init", "otel-bridge.toml"],
}


def test_the_table_has_every_code() -> None:
    assert ROWS == ["0", "1", "2", "130", "128 + n"]


def test_0_what_was_asked_for_was_done(make_bridge: Make) -> None:
    bridge = make_bridge()
    assert bridge.run("check").returncode == 0
    assert bridge.run("--version").returncode == 0
    assert bridge.start().stop() == 0


def test_1_it_failed_on_the_way(make_bridge: Make) -> None:
    bridge = make_bridge()
    away = f"http://127.0.0.1:{free_port()}"
    assert bridge.run("doctor", "--url", away, "--wait", "1").returncode == 1
    assert bridge.run("demo", "--url", away, "--duration", "1").returncode == 1


@pytest.mark.parametrize("case", REFUSED)
def test_2_nothing_was_done(make_bridge: Make, case: str) -> None:
    bridge = make_bridge()
    before = sorted(path.name for path in bridge.folder.iterdir())
    done = bridge.run(*REFUSED[case])
    assert done.returncode == 2 and done.stderr and "Traceback" not in done.stderr
    assert sorted(path.name for path in bridge.folder.iterdir()) == before


def test_130_interrupted(make_bridge: Make) -> None:
    bridge = make_bridge().start()
    away = f"http://127.0.0.1:{free_port()}"
    doctor = subprocess.Popen(
        bridge.command("doctor", "--url", bridge.url, "--prometheus", away, "--wait", "100"),
        cwd=bridge.folder, env=bridge.env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: bridge.metric("otel_bridge_records_total", result="accepted") > 0, "the doctor's session")
    doctor.send_signal(signal.SIGINT)
    assert doctor.wait(30) == 130
    assert bridge.stop() == 0
