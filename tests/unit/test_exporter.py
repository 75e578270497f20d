"""The bridge's side of delivery: when the process is started again, and what it takes to start."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from otel_bridge import config
from otel_bridge.config import Config, Otlp
from otel_bridge.export import exporter as exporting
from otel_bridge.export.exporter import Exporter
from otel_bridge.export.pipe import Report
from otel_bridge.journal import Journal, Store


class Process:
    """Stands for a running delivery process."""

    killed = 0

    def kill(self) -> None:
        self.killed += 1


def loaded() -> Config:
    return config.load(str(config.SHIPPED), {})


def running(configured: Config) -> tuple[Exporter, Process]:
    # Its journal is never asked for more than its address.
    journal = Journal(cast(Store, SimpleNamespace(url=configured.journal)), lambda records, seq: None)
    exporter = Exporter(configured, Otlp("http://127.0.0.1:1", "http/protobuf"), journal, Counter())
    process = Process()
    exporter._process = process  # type: ignore[assignment]
    return exporter, process


@pytest.mark.parametrize(
    ("change", "restarts"),
    [
        ({"name": "Another name"}, 1),
        ({"provider": "anthropic"}, 1),
        ({"model": "another-model"}, 1),
        ({"api_key_hashes": ("0" * 64,)}, 0),
        ({}, 0),
    ],
)
def test_the_process_is_started_again_only_where_spans_show_the_change(
    change: dict[str, object], restarts: int
) -> None:
    before = loaded()
    exporter, process = running(before)
    gpts = {id_: replace(gpt, **change) for id_, gpt in before.gpts.items()}  # type: ignore[arg-type]
    for _ in range(2):  # the same configuration again changes nothing
        exporter.configure(replace(before, gpts=gpts))
    assert process.killed == restarts


def test_what_the_log_says_of_the_endpoint_readyz_says_already(caplog: pytest.LogCaptureFixture) -> None:
    exporter, _ = running(loaded())
    states: list[str] = []

    class Reader(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            states.append(exporter.state)

    reader = Reader()
    caplog.set_level(logging.INFO, exporting.__name__)
    exporting.log.addHandler(reader)
    try:
        for state in ("retry", "ok"):
            exporter._take(Report(state=state, message="HTTP 503"))
    finally:
        exporting.log.removeHandler(reader)
    assert states == ["retry", "ok"]


def test_the_process_imports_no_server() -> None:
    """It starts with the bridge and after every crash, and its memory comes on top of the bridge's."""
    code = "import sys, otel_bridge.export.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = done.stdout.split()
    assert "otel_bridge.export.delivery" in modules
    assert not {"starlette", "uvicorn", "grpc", "opentelemetry.sdk"} & set(modules)


def test_the_process_ends_where_nobody_sets_it_up() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "otel_bridge.export", "json", "info"], stdin=subprocess.DEVNULL, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
