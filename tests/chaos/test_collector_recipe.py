"""deploy/recipes/otel-collector.yaml as it stands, in a real Collector: what a bridge is told arrives behind it, its
spans and every number of its /metrics; and both again after the Collector was killed."""

from __future__ import annotations

import gzip
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_bridge import catalog
from tests.chaos.lanes import LONG
from tests.harness.bridge import ROOT, Bridge
from tests.harness.collector import collector_program
from tests.harness.otlp import plain
from tests.harness.ports import free_port
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

RECIPE = ROOT / "deploy" / "recipes" / "otel-collector.yaml"
AUTHORIZATION = "Basic dXN1YXJpbzpjbGF2ZQ=="
pytestmark = pytest.mark.timeout(600)

Series = tuple[str, tuple[tuple[str, str], ...]]


class Backend:
    """An OTLP endpoint that keeps the newest number of every series, and the ids of spans."""

    def __init__(self) -> None:
        self.spans: set[str] = set()
        self.numbers: dict[Series, float] = {}
        self.resources: set[tuple[str, str]] = set()
        self.authorizations: set[str | None] = set()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                backend.authorizations.add(self.headers.get("Authorization"))
                {"/v1/traces": backend.take_spans, "/v1/metrics": backend.take_numbers}[self.path](body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def take_spans(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for of_resource in request.resource_spans:
            for of_scope in of_resource.scope_spans:
                self.spans |= {span.span_id.hex() for span in of_scope.spans}

    def take_numbers(self, body: bytes) -> None:
        request = ExportMetricsServiceRequest.FromString(body)
        for of_resource in request.resource_metrics:
            said = plain(of_resource.resource.attributes)
            self.resources.add((said["service.name"], said["service.instance.id"]))
            for of_scope in of_resource.scope_metrics:
                for metric in of_scope.metrics:
                    for point in (*metric.sum.data_points, *metric.gauge.data_points):
                        value = point.as_double if point.HasField("as_double") else point.as_int
                        self.numbers[_series(metric.name, plain(point.attributes))] = float(value)
                    for counted in metric.histogram.data_points:
                        labels = plain(counted.attributes)
                        self.numbers[_series(f"{metric.name}_count", labels)] = float(counted.count)
                        self.numbers[_series(f"{metric.name}_sum", labels)] = counted.sum

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _series(name: str, labels: dict[str, str]) -> Series:
    """To Prometheus, and to the Collector's receiver, a label without a value is none."""
    return name, tuple(sorted((key, value) for key, value in labels.items() if value))


def _shown(bridge: Bridge) -> dict[Series, float]:
    """What /metrics shows of what is counted, which does not move by itself; not what each process shows of itself."""
    return {
        _series(name, dict(labels)): value
        for (name, labels), value in bridge.scrape().items()
        if not name.endswith(("_bucket", "_created")) and name not in catalog.OF_EACH_PROCESS
    }


@pytest.fixture
def backend() -> Iterator[Backend]:
    made = Backend()
    yield made
    made.close()


class Recipe:
    """The Collector with the recipe's file; only what the file takes from its environment is ours."""

    def __init__(self, program: Path, folder: Path, backend: str, metrics: int, port: int) -> None:
        self._program, self._folder = program, folder
        self.port = port
        self._environ = {
            "OTLP_BACKEND": backend,
            "OTLP_BACKEND_AUTH": AUTHORIZATION,
            "BRIDGE_METRICS": f"127.0.0.1:{metrics}",
            "OTLP_LISTEN": f"127.0.0.1:{self.port}",
            "QUEUE_DIR": str(folder / "queue"),
        }
        self._process: subprocess.Popen[bytes] | None = None
        # A test waits a second for a scrape and not fifteen, and port 8888, where it shows itself, may be taken.
        self._quiet = folder / "quiet.yaml"
        self._quiet.write_text("service: {telemetry: {metrics: {level: none}}}\n", "utf-8")
        self._file = folder / "otel-collector.yaml"
        text = RECIPE.read_text("utf-8")
        assert text.count("scrape_interval: 15s\n          scrape_timeout: 10s") == 1
        self._file.write_text(text.replace("15s", "1s").replace("10s", "1s"), "utf-8")

    def run(self, *arguments: str, file: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(self._program), *arguments, "--config", str(file or self._file)]
        environ = {**os.environ, **self._environ}
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)

    def start(self) -> None:
        with (self._folder / "collector.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._program), "--config", str(self._file), "--config", str(self._quiet)],
                env={**os.environ, **self._environ},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

        def listens() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                raise SystemExit((self._folder / "collector.log").read_text(errors="replace")[-2000:])
            requests.get(f"http://127.0.0.1:{self.port}/", timeout=1)
            return True

        wait_for(listens, "listening Collector", 60)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def test_spans_and_every_number_arrive_behind_the_recipes_collector(
    make_bridge: Callable[..., Bridge], backend: Backend, tmp_path: Path
) -> None:
    program = collector_program(build=LONG)
    folder = tmp_path / "collector"
    folder.mkdir()
    port = free_port()
    bridge = make_bridge(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}").start()
    collector = Recipe(program, folder, backend.url, bridge.metrics_port, port)
    assert (valid := collector.run("validate", file=RECIPE)).returncode == 0, valid.stderr
    try:
        collector.start()
        posted = 0
        for round_ in range(2):
            session = bridge.session(usuario_id=f"u{round_}")
            for number in range(20):
                error = {"error": "timeout"} if number % 5 == 0 else {}
                assert bridge.event(session, latency_ms=100 * (number + 1), **error).status_code == 201
            posted += 21
            settle(bridge)
            wait_for(lambda posted=posted: len(backend.spans) >= posted, "every span", 60)

            def the_same() -> bool:
                shown = _shown(bridge)
                assert len(shown) > 100
                different = [(*pair, backend.numbers.get(pair[0])) for pair in shown.items()]
                different = [one for one in different if one[1] != one[2]]
                assert not different, different[:10]
                return True

            wait_for(the_same, "every number", 60)
            collector.kill()
            collector.start()
        assert backend.authorizations == {AUTHORIZATION}
        assert {name for name, _ in backend.resources} == {"otel-bridge"}
    finally:
        collector.kill()
