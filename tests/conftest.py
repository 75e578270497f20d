"""Fixtures every suite shares: a bridge factory and an OTLP receiver, both real."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.harness.bridge import Bridge
from tests.harness.otlp import OtlpReceiver

# A slow machine is no failure, and a failure found once is found again, here and from what another machine has printed.
settings.register_profile(
    "suite", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("suite")
# State machines: the short form draws the same steps in every run, the long one others each time. Which lines only a
# failure runs (`explain`) would take as long again to find.
settings.register_profile(
    "machine",
    settings.get_profile("suite"),
    derandomize=os.environ.get("CHAOS") != "long",
    phases=set(Phase) - {Phase.explain},
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)

SAID = "said"
"""A property of a report: a line for whoever watches the run."""


LONGEST = (
    "grafana/test_boards_truth.py",
    "stack/test_demo.py",
    "prometheus/",
    "stack/",
    "packaging/",
    "chaos/",
    "grafana/",
    "e2e/",
)
"""What takes longest goes first, so that no worker is left alone with it in the end."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        name = item.path.relative_to(here).as_posix()
        return next((i for i, head in enumerate(LONGEST) if name.startswith(head)), len(LONGEST))

    if hasattr(config, "workerinput"):
        items.sort(key=place)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Prints what a test in a worker said."""
    if report.when == "call" and not os.environ.get("PYTEST_XDIST_WORKER"):
        for name, text in report.user_properties:
            if name == SAID:
                print(f"\n  {report.nodeid.rpartition('::')[2]}: {text}", flush=True)


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    started = OtlpReceiver().start()
    yield started
    started.close()


@pytest.fixture
def make_bridge(tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    """`make_bridge(**environ)` → a bridge that has not been started; each call its own folder."""
    made: list[Bridge] = []

    def make(config: str | None = None, **environ: str) -> Bridge:
        folder = tmp_path / f"bridge{len(made)}"
        folder.mkdir()
        made.append(Bridge(folder, config, **environ))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def bridge(make_bridge: Callable[..., Bridge], receiver: OtlpReceiver) -> Bridge:
    """A started bridge that exports to `receiver`."""
    return make_bridge(**receiver.environ).start()
