"""Hour × weekday at a real Prometheus: every event is in the matrix once, whatever was killed in between."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus_files import PROMETHEUS as FOLDER

from tests.harness.ports import free_port
from tests.harness.prometheus import Prometheus
from tests.harness.waiting import wait_for

MATRIX = "sum(sum_over_time(gpt:gen_ai_client_operation_duration:increase1m[1h]))"
SEEN = "sum(bridge:gen_ai_client_operation_duration_seconds_count:seen)"
NAME = "gen_ai_client_operation_duration_seconds"


class Page:
    """What a bridge with a journal shows: the counts outlive its process (`up`, `down`)."""

    def __init__(self) -> None:
        self.port = free_port()
        self.counts: dict[str, int] = {"": 0}
        self._server: ThreadingHTTPServer | None = None

    def post(self, count: int, error: str = "") -> None:
        self.counts[error] += count

    def up(self) -> None:
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                labels = 'gen_ai_agent_id="devops-expert",event_type="consulta"'
                lines = [f'{NAME}_count{{{labels},error_type="{e}"}} {n}' for e, n in page.counts.items()]
                body = "\n".join([f"# TYPE {NAME} histogram", *lines, "# EOF", ""]).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def down(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture
def page() -> Iterator[Page]:
    page = Page()
    page.up()
    yield page
    page.down()


@pytest.fixture
def prometheus(tmp_path: Path, page: Page) -> Iterator[Prometheus]:
    """The rules as shipped, but evaluated every second."""
    text = (FOLDER / "rules" / "boards.bars.rules.yml").read_text(encoding="utf-8")
    rules = tmp_path / "boards.bars.rules.yml"
    rules.write_text(re.sub(r"^(    interval:) \w+$", r"\1 1s", text, flags=re.MULTILINE), encoding="utf-8")
    prometheus = Prometheus(tmp_path / "p", targets=[f"127.0.0.1:{page.port}"], rules=[rules], job="ai-observability")
    yield prometheus.start()
    prometheus.close()


@pytest.mark.slow
def test_the_matrix_holds_every_event_once(page: Page, prometheus: Prometheus) -> None:
    prometheus.wait_value(SEEN, 0)

    page.post(1)
    prometheus.wait_value(MATRIX, 1)

    page.counts["timeout"] = 0  # a new label set stands at 0 on its first page
    prometheus.wait_value(f'count({NAME}_count{{error_type="timeout"}})', 1)
    page.post(24, "timeout")
    prometheus.wait_value(MATRIX, 25)

    page.down()
    prometheus.wait_value("sum(up)", 0)
    page.post(5)  # its journal took them before the kill
    page.up()
    prometheus.wait_value(MATRIX, 30)

    prometheus.stop()
    page.post(7)
    prometheus.start()
    wait_for(lambda: (prometheus.value(SEEN) or 0) == 37, "the counter at 37", 30)
    prometheus.wait_value(MATRIX, 37)
