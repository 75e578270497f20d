"""What only one of the two languages has: forks here, web pages there."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import HERE, Counts
from tests.harness.bridge import ROOT, Bridge
from tests.harness.waiting import wait_for

FORK = """
import os, sys, time
sys.path.insert(0, "clients/python")
from otel_bridge_client import BridgeClient
client = BridgeClient(sys.argv[1], "devops-expert", flush_interval=60)
session = client.create_session("usuario123")
client.flush(10)  # the thread and its connection are there before the fork
for _ in range(5):
    client.log_event(session, "consulta", "del padre", 100, 1, 1)
child = os.fork()
for _ in range(7):
    client.log_event(session, "consulta", f"de {child == 0}", 100, 1, 1)
if child == 0:
    sys.exit(0 if client.flush(10) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_after_a_fork_each_process_sends_its_own_and_nothing_twice(shared_bridge: Bridge, counts: Counts) -> None:
    done = subprocess.run([sys.executable, "-c", FORK, shared_bridge.api], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0
    assert counts.records() == (1, 5 + 7 + 7)
    assert counts.metric("otel_bridge_records_total", result="duplicate") == 0


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.12", "3.13"])
def test_other_pythons_run_it_too(shared_bridge: Bridge, counts: Counts, version: str) -> None:
    found = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    python = str(found[-1]) if found else shutil.which(f"python{version}")
    if python is None:
        pytest.skip(f"Python {version} is not installed")
    done = subprocess.run([python, "-c", FORK, shared_bridge.api], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0
    assert counts.records() == (1, 19)


@pytest.mark.parametrize("fate", ["hidden", "gone", "hidden-gone"])
def test_a_page_that_is_hidden_or_left_sends_what_is_queued_once(
    shared_bridge: Bridge, counts: Counts, fate: str
) -> None:
    script = str(HERE / "page.mjs")
    done = subprocess.run(["node", script, shared_bridge.api, fate], timeout=60, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert counts.records() == (1, 21)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The origin of a page that has the client in it."""
    folder = tmp_path / "site"
    folder.mkdir()
    client = ROOT / "clients" / "javascript"
    for file in (HERE / "page.html", client / "otel-bridge-client.mjs"):
        shutil.copy(file, folder)
    shutil.copytree(client / "src", folder / "src")

    class Handler(http.server.SimpleHTTPRequestHandler):
        extensions_map = {  # noqa: RUF012
            **http.server.SimpleHTTPRequestHandler.extensions_map,
            ".mjs": "text/javascript",
            ".js": "text/javascript",
        }

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_page_that_is_left_in_a_real_browser_has_sent_what_was_queued(
    make_bridge: Callable[..., Bridge], site: str, tmp_path: Path
) -> None:
    bridge = make_bridge(OTEL_BRIDGE_CORS_ORIGINS=site).start()
    browser = subprocess.Popen(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         f"--user-data-dir={tmp_path / 'profile'}", "--remote-debugging-port=0",
         f"{site}/page.html?api={bridge.api}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        wait_for(lambda: bridge.metric("gen_ai_client_operation_duration_seconds_count") == 21, "21 events", 60)
    finally:
        os.killpg(browser.pid, 9)
        browser.wait()
    assert bridge.metric("gpt_sessions_total") == 1
