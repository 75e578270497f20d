"""The password of a journal's URL is shown nowhere, whatever goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from otel_bridge.commands import cli
from tests.harness.bridge import GUIDE_EVENT, Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.postgres import Cluster
from tests.harness.waiting import wait_for

SECRET = "s3cr3t-word"


def test_it_is_in_no_log_answer_page_or_command_line(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, cluster: Cluster, url: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    name = url.rpartition("/")[2]
    bridge = make_bridge(
        **receiver.environ,
        OTEL_BRIDGE_JOURNAL=url.replace("postgres@", f"postgres:{SECRET}@"),
        OTEL_BRIDGE_LOG_LEVEL="debug",
    ).start()
    assert bridge.process is not None
    session = bridge.session()
    wait_for(lambda: receiver.spans, "a span")
    threads = Path(f"/proc/{bridge.process.pid}/task").glob("*/children")
    children = [pid for thread in threads for pid in thread.read_text().split()]
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (bridge.process.pid, *children)]
    assert children and not any(SECRET.encode() in line for line in lines)
    shown = [bridge.http.get(bridge.metrics_url, timeout=10).text]
    monkeypatch.chdir(bridge.folder)
    monkeypatch.setenv("OTEL_BRIDGE_JOURNAL", bridge.environ["OTEL_BRIDGE_JOURNAL"])
    for command in (["journal", "status"], ["journal", "parked"], ["journal", "replay"], ["check"]):
        cli.main(command)
        shown += capsys.readouterr()
    cluster.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")  # from here on the server refuses
    cluster.terminate(name)
    # The first is held: what became of its commit cannot be learnt. The next ones are refused.
    event = {**GUIDE_EVENT, "sesion_id": session}

    def refused() -> str:
        answer = bridge.http.post(f"{bridge.api}/events", json=event, timeout=3)
        return answer.text if answer.status_code == 503 else ""

    shown.append(wait_for(refused, "a refusal"))
    ready = wait_for(
        lambda: (answer := bridge.http.get(f"{bridge.url}/readyz", timeout=10)).status_code == 503 and answer.text,
        "a bridge that is not ready",
    )
    shown += [ready, bridge.http.get(bridge.metrics_url, timeout=10).text]
    for command in (["journal", "status"], ["check"], ["journal", "backup", "b.db"], ["journal", "migrate"]):
        assert cli.main(command) == 2
        shown += capsys.readouterr()
    bridge.kill()
    again = bridge.run("serve", "--port", "0", "--metrics-port", "0", timeout=60)
    assert again.returncode != 0
    shown += [again.stdout, again.stderr, bridge.output()]
    assert "not currently accepting connections" in "".join(shown), "what failed was told"
    assert not any(SECRET in text for text in shown)
