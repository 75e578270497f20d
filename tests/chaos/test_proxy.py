"""The HTTP proxy on the way to the endpoint is in trouble: that delays, loses nothing and parks nothing."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.conftest import long_form
from tests.chaos.lanes import LONG, side_by_side
from tests.chaos.ledger import Load, Say, account
from tests.harness.bridge import Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.ports import free_port
from tests.harness.proxy import Proxy
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

NOWHERE = "http://collector.invalid:4318"
"""Only the proxy knows where that is."""
TROUBLE = {"502": 502, "407": 407, "no answer": 0, **({"503": 503, "403": 403} if LONG else {})}
FAILURES = 3 if LONG else 1
"""That are waited for under each."""
CONFIG = {"407", "403"}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@side_by_side
def test_a_proxy_in_trouble_delays_and_loses_nothing(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, say: Say, protocol: str
) -> None:
    proxy = Proxy(receiver, "puente:s3cr3t")
    bridge = make_bridge(
        OTEL_EXPORTER_OTLP_ENDPOINT=NOWHERE,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
        HTTP_PROXY=f"http://puente:s3cr3t@{proxy.address}",
    ).start()
    session, accepted = bridge.session(), 1
    settle(bridge)
    for name, status in TROUBLE.items():
        kind = "config" if name in CONFIG else "retry"
        before = bridge.metric("otel_bridge_export_attempts_total", result=kind)
        proxy.trouble = status
        proxy.break_off()
        for _ in range(5):
            bridge.event(session, latency_ms=accepted)
            accepted += 1
        wait_for(
            lambda kind=kind, before=before: (
                bridge.metric("otel_bridge_export_attempts_total", result=kind) >= before + FAILURES
            ),
            f"failures ({kind}) under {name}",
        )
        assert bridge.metric("otel_bridge_parked_records") == 0
        wait_for(lambda: bridge.metric("otel_bridge_pending_records") > 0, f"a ledger that counts them under {name}")
        proxy.trouble = None
        settle(bridge)
    # Away, and there again.
    port = int(proxy.address.rpartition(":")[2])
    proxy.close()
    bridge.event(session, latency_ms=accepted)
    wait_for(lambda: bridge.metric("otel_bridge_export_lag_seconds") > 1, "backlog")
    proxy = Proxy(receiver, "puente:s3cr3t", port=port)
    settle(bridge)
    assert len(receiver.times) == accepted + 1 and bridge.metric("otel_bridge_parked_records") == 0
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    assert "s3cr3t" not in bridge.output()
    proxy.close()


@long_form
@pytest.mark.skipif(shutil.which("tinyproxy") is None, reason="needs tinyproxy: make chaos installs it")
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@side_by_side
def test_tinyproxy_is_gone_and_comes_back_under_load(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, tmp_path: Path, say: Say, protocol: str
) -> None:
    """A proxy that others wrote, with a login."""
    port = free_port()
    config = tmp_path / "tinyproxy.conf"
    config.write_text(f"Port {port}\nListen 127.0.0.1\nBasicAuth puente s3cr3t\nTimeout 600\nMaxClients 50\n")

    def run() -> subprocess.Popen[bytes]:
        started = subprocess.Popen(["tinyproxy", "-d", "-c", str(config)], stdout=subprocess.DEVNULL)
        wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close() or True, "listening proxy")
        return started

    environ = receiver.grpc_environ if protocol == "grpc" else receiver.environ
    proxy = run()
    bridge = make_bridge(
        **environ, HTTP_PROXY=f"http://puente:s3cr3t@127.0.0.1:{port}", NO_PROXY="other.example"
    ).start()
    try:
        with Load(bridge, clients=2, pause=0.005) as load:
            for _ in range(5):
                time.sleep(2)
                proxy.kill()
                proxy.wait()
                wait_for(lambda: bridge.metric("otel_bridge_export_lag_seconds") > 1, "backlog")
                proxy = run()
                wait_for(lambda: bridge.metric("otel_bridge_export_lag_seconds") < 1, "delivery that keeps up", 60)
        settle(bridge)
    finally:
        proxy.kill()
        proxy.wait()
    found = account(bridge, load.ledger, receiver)
    say(f"{protocol}: {found}")
    found.check()
    assert found.parked == 0 and bridge.metric("otel_bridge_export_attempts_total", result="retry") > 0
    if protocol != "grpc":
        assert "via" in receiver.headers[-1], "it went through the proxy"
