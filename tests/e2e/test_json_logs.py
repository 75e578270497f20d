"""With `log_format = "json"` each line of `serve`, from the first to the last, is an object: whatever happens to it."""

from __future__ import annotations

import json
import signal
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from otel_bridge import __version__
from tests.harness.bridge import Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.waiting import wait_for

Make = Callable[..., Bridge]


def lines(said: str) -> list[dict[str, Any]]:
    """Each line as what it says; a line that is no log fails."""
    found = []
    for line in said.splitlines():
        entry = json.loads(line)
        assert {"timestamp", "level", "logger", "message"} <= entry.keys(), line
        found.append(entry)
    assert found
    return found


def messages(bridge: Bridge) -> list[str]:
    return [entry["message"] for entry in lines(bridge.output())]


def exporters(bridge: Bridge) -> list[psutil.Process]:
    assert bridge.process is not None
    children = psutil.Process(bridge.process.pid).children()
    return [child for child in children if "otel_bridge.export" in child.cmdline()]


def test_from_the_first_line_to_the_last(make_bridge: Make, receiver: OtlpReceiver) -> None:
    bridge = make_bridge(**receiver.environ).start()
    assert bridge.process is not None
    assert f"otel-bridge {__version__}" in messages(bridge)
    assert f"http://127.0.0.1:{bridge.port}/api/sessions" in " ".join(messages(bridge))

    # The delivery process is killed; another one is started.
    (exporter,) = wait_for(lambda: exporters(bridge), "the delivery process")
    exporter.kill()
    wait_for(lambda: any("worker exporter died" in said for said in messages(bridge)), "a word of it")
    wait_for(lambda: [one for one in exporters(bridge) if one.pid != exporter.pid], "another one")

    # A reload that takes, and one that is refused.
    good = bridge.config.read_text(encoding="utf-8")
    for text in (good + "\n", "prot = 1\n" + good):
        told = len(messages(bridge))
        bridge.config.write_text(text, encoding="utf-8")
        bridge.process.send_signal(signal.SIGHUP)
        wait_for(lambda told=told: len(messages(bridge)) > told, "a word of the reload")

    # What is no HTTP, and what is refused.
    bridge.http.post(f"{bridge.url}/api/events", data=b"{", timeout=10)
    assert bridge.event(bridge.session()).status_code == 201
    assert bridge.stop() == 0
    assert messages(bridge)[-1] != ""


def test_an_endpoint_that_is_away_over_grpc_writes_no_line_of_its_own(make_bridge: Make) -> None:
    bridge = make_bridge(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_EXPORTER_OTLP_PROTOCOL="grpc").start()
    bridge.event(bridge.session())
    wait_for(lambda: any("delivery waits" in said for said in messages(bridge)), "a word of the endpoint")
    assert bridge.stop() == 0
    lines(bridge.output())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "70000"], "--port: "),
        (["--workers", "0"], "--workers"),
        (["--bogus"], "--bogus"),
        (["--port", "0", "--metrics-port", "0", "--journal", "sqlite:////proc/none/journal.db"], "/proc/none"),
        (["--workers", "2"], "--workers: "),
        (["--config", "/dev/null"], "/dev/null"),
        (["--config", "none.toml"], "none.toml"),
    ],
)
def test_a_start_that_is_refused(make_bridge: Make, arguments: list[str], said: str) -> None:
    done = make_bridge().run("serve", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    refused = [entry["message"] for entry in lines(done.stderr) if entry["level"] == "error"]
    assert refused and said in " ".join(refused)


def test_the_files_own_word_is_taken_where_the_rest_is_wrong(make_bridge: Make) -> None:
    bridge = make_bridge()
    del bridge.environ["OTEL_BRIDGE_LOG_FORMAT"]
    for style, is_json in (("json", True), ("text", False)):
        bridge.config.write_text(f'log_format = "{style}"\nprot = 1\n', encoding="utf-8")
        done = bridge.run("serve", "--config", str(bridge.config))
        assert done.returncode == 2 and done.stderr.startswith("{") == is_json, done.stderr
    assert done.stderr.startswith("otel-bridge: ")


FAULTS = {
    "the start raises": """
        import otel_bridge.server
        def raises(*_): raise KeyError("s3cr" + "3t")
        otel_bridge.server.Bridge.start = raises
    """,
    "a thread raises": """
        import threading
        from otel_bridge import server
        def raises(): raise ValueError("s3cr" + "3t")
        start = server.Bridge.start
        def begun(self):
            threading.Thread(target=raises, name="one").start()
            start(self)
        server.Bridge.start = begun
    """,
    "a warning is given": """
        import warnings
        from otel_bridge import server
        start = server.Bridge.start
        def begun(self):
            warnings.warn("not for long", DeprecationWarning, stacklevel=1)
            start(self)
        server.Bridge.start = begun
    """,
    "a coroutine is forgotten": """
        from otel_bridge import server
        start = server.Bridge.start
        async def forgotten(): pass
        def begun(self):
            forgotten()
            start(self)
        server.Bridge.start = begun
    """,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_python_would_write_by_itself(make_bridge: Make, fault: str, tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(
        "import sys\nfrom otel_bridge import __main__\nfrom otel_bridge.commands import serve\n"
        + textwrap.dedent(FAULTS[fault])
        + "\nsys.exit(__main__.main())\n",
        encoding="utf-8",
    )
    # Where the process crashes, the interpreter's own end warns of what is left open, after all else has gone.
    environ = {} if fault == "the start raises" else {"PYTHONWARNINGS": "always"}
    bridge = make_bridge(**environ)
    ordinary = bridge.command()
    bridge.command = lambda *arguments: [ordinary[0], str(tmp_path / "faulty.py"), *arguments]  # type: ignore[method-assign]
    bridge.start(wait=False)
    assert bridge.process is not None
    if fault == "the start raises":
        assert bridge.process.wait(30) == 1
        assert any(
            entry["message"] == "crashed" and "KeyError" in entry["exception"] for entry in lines(bridge.output())
        )
    else:
        bridge.wait_ready()
        assert bridge.stop() == 0
        words = {"a thread raises": "thread one crashed", "a warning is given": "not for long"}
        assert words.get(fault, "never awaited") in " ".join(messages(bridge))
    assert "s3cr3t" not in bridge.output()
