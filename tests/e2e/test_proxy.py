"""An HTTP proxy on the way to the endpoint: the same variables mean the same over HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.harness.bridge import Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.ports import free_port
from tests.harness.proxy import Proxy
from tests.harness.waiting import wait_for

Make = Callable[..., Bridge]
PROTOCOLS = ["http/protobuf", "grpc"]
NOWHERE = "http://collector.invalid:4318"
"""No name server knows it: only through the proxy does anything arrive."""
LOGIN = "puente:s3cr3t-Zx9"


def exporting(protocol: str, endpoint: str = NOWHERE) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY"])
def test_spans_go_through_the_proxy_and_its_login_is_never_shown(
    make_bridge: Make, receiver: OtlpReceiver, protocol: str, variable: str
) -> None:
    proxy = Proxy(receiver, LOGIN)
    bridge = make_bridge(
        **exporting(protocol),
        **{variable: f"http://{LOGIN}@{proxy.address}", "no_proxy": "other.example"},
        OTEL_BRIDGE_REQUEST_SPANS="all",
        OTEL_BSP_SCHEDULE_DELAY="200",
    ).start()
    session = bridge.session()
    wait_for(lambda: len(receiver.find(trace_id=session.replace("-", ""))) == 1, "the session's root")
    wait_for(lambda: receiver.find(name="POST /api/sessions"), "the request's own span")
    method, target = proxy.asked[0]
    assert (method, target.rstrip("/")) == {
        "http/protobuf": ("POST", f"{NOWHERE}/v1/traces"),
        "grpc": ("CONNECT", NOWHERE.removeprefix("http://")),
    }[protocol]
    assert bridge.stop() == 0
    proxy.close()
    shown = bridge.output() + bridge.run("check").stdout
    assert LOGIN not in shown and "s3cr3t" not in shown


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "excepted", [{"http_proxy": "dead", "no_proxy": "127.0.0.0/8"}, {"HTTP_PROXY": "dead", "NO_PROXY": "127.0.0.1"},
                 {"https_proxy": "dead", "HTTPS_PROXY": "dead", "ALL_PROXY": "dead", "all_proxy": "dead"}],
)  # fmt: skip
def test_what_the_variables_except_goes_directly(
    make_bridge: Make, receiver: OtlpReceiver, protocol: str, excepted: dict[str, str]
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    environ = receiver.environ if protocol != "grpc" else receiver.grpc_environ
    bridge = make_bridge(**environ, **{k: v.replace("dead", dead) for k, v in excepted.items()}).start()
    session = bridge.session()
    wait_for(lambda: len(receiver.find(trace_id=session.replace("-", ""))) == 1, "the session's root")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_proxy_that_nobody_answers_at_delays_and_says_so(
    make_bridge: Make, receiver: OtlpReceiver, protocol: str
) -> None:
    environ = receiver.environ if protocol != "grpc" else receiver.grpc_environ
    bridge = make_bridge(**environ, http_proxy=f"http://{LOGIN}@127.0.0.1:{free_port()}", no_proxy="").start()
    bridge.session()
    wait_for(lambda: bridge.metric("otel_bridge_export_attempts_total", result="retry") > 0, "a failed attempt")
    assert bridge.metric("otel_bridge_pending_records") == 1 and not receiver.spans
    assert "s3cr3t" not in bridge.output() + bridge.http.get(f"{bridge.url}/readyz", timeout=5).text
