"""A Prometheus that takes OTLP. Debian's is too old for that: a newer one is built from its Go module, as go.sum says,
without the discovery of clouds and without its pages. Where this machine lacks what that takes, the tests say so."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.harness.go_program import go_program
from tests.harness.install import lack
from tests.harness.prometheus import Prometheus

HERE = Path(__file__).parent
GO = (1, 25)
"""As go.mod says."""
PACKAGE = "github.com/prometheus/prometheus/cmd/prometheus"
WITH_OTLP = (3, 0)
BUILD_SECONDS = 900

CONFIG = """\
global: {{scrape_interval: {interval}}}
otlp: {{translation_strategy: {strategy}}}
storage: {{tsdb: {{out_of_order_time_window: 0s}}}}
scrape_configs:
  - job_name: scraped
    static_configs: [{{targets: [{targets}]}}]
    metric_relabel_configs: {relabel}
"""
"""What is scraped and what is pushed is told apart by `job`."""


@pytest.fixture(scope="session")
def binary() -> Iterator[str]:
    """The program: an installed one that is new enough, else one that is built, once for each go.sum: 4 minutes of
    processor time where Go has built nothing of it before."""
    installed = os.environ.get("PROMETHEUS", "prometheus")
    if lack(installed, WITH_OTLP, "--version") is None:
        yield str(shutil.which(installed))
        return
    source = HERE / "go"
    yield str(go_program("prometheus", source, GO, package=PACKAGE, tags="remove_all_sd", seconds=BUILD_SECONDS))


Start = Callable[..., Prometheus]


@pytest.fixture
def start(binary: str, tmp_path: Path) -> Iterator[Start]:
    """Starts one that takes OTLP, and maybe scrapes."""
    running: list[Prometheus] = []

    def start(
        *targets: str,
        strategy: str = "UnderscoreEscapingWithSuffixes",
        interval: str = "1s",
        relabel: Sequence[dict[str, Any]] = (),
    ) -> Prometheus:
        config = CONFIG.format(
            targets=", ".join(f'"{one}"' for one in targets),
            strategy=strategy,
            interval=interval,
            relabel=json.dumps(list(relabel)),
        )
        folder = tmp_path / f"prometheus{len(running)}"
        running.append(Prometheus(folder, config, binary=binary, flags=["--web.enable-otlp-receiver"]))
        return running[-1].start()

    yield start
    for one in running:
        one.close()


def pushing(url: str, seconds: float = 0.3) -> dict[str, str]:
    """What has a bridge push to a Prometheus."""
    return {
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_METRIC_EXPORT_INTERVAL": f"{seconds * 1000:g}",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{url}/api/v1/otlp/v1/metrics",
    }
