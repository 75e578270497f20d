"""A real OpenTelemetry Collector, of the parts that `tests/chaos/collector/main.go` names: built once, from Go's index
of modules, into the user's cache folder. It hands on what it gets to another receiver, over gRPC."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.harness.go_program import go_program
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

SOURCE = Path(__file__).parents[1] / "chaos" / "collector"
GO = (1, 26)
"""As go.mod says."""


def collector_program(*, build: bool = True, optimised: bool = False) -> Path:
    """Skips the test where it is neither there nor to be built."""
    # Without the clouds in which its Prometheus could find targets: three minutes on two cores.
    return go_program("collector", SOURCE, GO, tags="remove_all_sd", build=build, optimised=optimised)


class Collector:
    """Start it, kill it, start it again: its queue stays where it has one on disk."""

    def __init__(self, program: Path, folder: Path, downstream: str) -> None:
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port, self.grpc_port = free_port(), free_port()
        self.receiver: dict[str, Any] = {
            "http": {"endpoint": f"127.0.0.1:{self.port}"},
            "grpc": {"endpoint": f"127.0.0.1:{self.grpc_port}"},
        }
        self.exporter: dict[str, Any] = {
            "endpoint": downstream,
            "tls": {"insecure": True},
            "timeout": "2s",
            "retry_on_failure": {"initial_interval": "100ms", "max_interval": "500ms", "max_elapsed_time": 0},
        }
        self.processors: dict[str, Any] = {}
        self.extensions: dict[str, Any] = {}

    def keep_queue(self) -> None:
        """Its sending queue is on disk, with an fsync for each request that it takes."""
        directory = self._folder / "queue"
        directory.mkdir()
        self.extensions["file_storage"] = {"directory": str(directory), "fsync": True}
        self.exporter["sending_queue"] = {"storage": "file_storage", "queue_size": 100_000}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def environ(self, protocol: str) -> dict[str, str]:
        port = self.grpc_port if protocol == "grpc" else self.port
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }

    def start(self) -> Collector:
        config = self._folder / "collector.yaml"  # JSON is YAML
        pipeline = {"receivers": ["otlp"], "processors": list(self.processors), "exporters": ["otlp"]}
        service = {
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn", "sampling": {"enabled": False}}},
            "extensions": list(self.extensions),
            "pipelines": {"traces": pipeline},
        }
        whole = {
            "receivers": {"otlp": {"protocols": self.receiver}},
            "processors": self.processors,
            "exporters": {"otlp": self.exporter},
            "extensions": self.extensions,
            "service": service,
        }
        config.write_text(json.dumps(whole))
        with (self._folder / "collector.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._program), "--config", str(config)], stdout=log, stderr=subprocess.STDOUT
            )
        wait_for(self._listens, "listening Collector")
        return self

    def _listens(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise SystemExit(f"the Collector ended:\n{self.output()[-2000:]}")
        for port in (self.port, self.grpc_port):
            with socket.create_connection(("127.0.0.1", port), 1):
                pass
        return True

    def output(self) -> str:
        return (self._folder / "collector.log").read_text(errors="replace")

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder / "queue", ignore_errors=True)
