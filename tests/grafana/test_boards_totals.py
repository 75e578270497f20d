"""Totals over ranges that begin before Prometheus knew the series: days of samples, made by promtool."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest

from grafana.boards.promql import counted, mean, quantile
from grafana.boards.queries import fill
from otel_bridge import catalog
from tests.harness.bridge import ROOT
from tests.harness.prometheus import Prometheus, available, backfill

pytestmark = pytest.mark.skipif(
    available() is None or shutil.which("promtool") is None, reason="prometheus is not installed"
)

HOUR, DAY = 3600, 86_400
SCRAPE = 60
KNOWN = 2 * DAY
"""How long ago Prometheus came."""
NAME = catalog.SESSIONS.name
DURATION = catalog.OPERATION_DURATION


def samples(now: int) -> Iterator[tuple[str, int, float]]:
    """(series, time, value). Prometheus came two days ago to a bridge that had counted 1,000, and was away from eight
    hours to six hours ago, while 50 came, and for half an hour two hours ago, while 5 came."""
    for at in range(now - KNOWN, now + 1, SCRAPE):
        ago = now - at
        if 6 * HOUR < ago < 8 * HOUR or 2 * HOUR < ago < 2.5 * HOUR:
            continue
        old = 1000.0 + (KNOWN - ago) // HOUR  # one an hour
        if ago <= 6 * HOUR:
            old += 50
        if ago <= 2 * HOUR:
            old += 5
        yield f'{NAME}{{gen_ai_agent_id="viejo"}}', at, old
        yield f'{catalog.BUILD_INFO.name}{{version="1"}}', at, 1
        yield catalog.SERIES.name + "{}", at, 1
        if ago <= 4 * HOUR:  # at 0 first, then 7 at once
            yield f'{NAME}{{gen_ai_agent_id="nuevo"}}', at, 0.0 if ago > 4 * HOUR - SCRAPE else 7.0
        # Three bridges: always there; came twelve hours ago with 5,000; away for three hours a day ago.
        hours = (KNOWN - ago) // HOUR
        for instance, is_there, value in (
            ("uno", True, 1000.0 + hours),
            ("dos", ago <= 12 * HOUR, 5000.0 + hours),
            ("tres", not 22 * HOUR < ago < 25 * HOUR, 3000.0 + 2 * hours),
        ):
            if is_there:
                yield f'{NAME}{{gen_ai_agent_id="ambos",job="j",instance="{instance}"}}', at, value
                yield f'{catalog.BUILD_INFO.name}{{version="1",job="j",instance="{instance}"}}', at, 1
                yield f'{catalog.SERIES.name}{{job="j",instance="{instance}"}}', at, 1
        # 20 answers of 1 s and 10 of 12 s, an hour ago, of a histogram that had 100,000 of 0.2 s.
        done = ago <= HOUR
        for bound in (*DURATION.buckets, float("inf")):
            count = 100_000 * (bound >= 0.2) + done * (20 * (bound >= 1.0) + 10 * (bound >= 12.0))
            yield f'{DURATION.name}_bucket{{gen_ai_agent_id="viejo",event_type="c",le="{bound}"}}', at, count
        yield f'{DURATION.name}_count{{gen_ai_agent_id="viejo",event_type="c"}}', at, 100_000 + done * 30
        yield f'{DURATION.name}_sum{{gen_ai_agent_id="viejo",event_type="c"}}', at, 20_000 + done * 140.0


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, int]]:
    folder = tmp_path_factory.mktemp("totals")
    now = int(time.time()) // SCRAPE * SCRAPE
    prometheus = Prometheus(folder / "prometheus")
    data = prometheus.folder / "tsdb"
    backfill(data, samples(now))
    try:
        prometheus.start()
        run = subprocess.run(
            [
                *("promtool", "tsdb", "create-blocks-from", "rules", "--url", prometheus.url),
                *("--start", str(now - KNOWN), "--end", str(now), "--output-dir", str(data)),
                str(ROOT / "prometheus/rules/boards.first.rules.yml"),
            ],
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        prometheus.stop()
        yield prometheus.start(), now
    finally:
        prometheus.close()


def ask(known: tuple[Prometheus, int], expr: str, seconds: float) -> float | None:
    prometheus, now = known
    filled = fill(expr, {"__range": f"{int(seconds)}s", "job": ".*", "instance": ".*"})
    found = prometheus.get("query", query=filled, time=now)["result"]
    return float(found[0]["value"][1]) if found else None


OLD, NEW = 'gen_ai_agent_id="viejo"', 'gen_ai_agent_id="nuevo"'
TOTALS = {
    "Prometheus came within the range": (OLD, 30 * DAY, 48 + 55),
    "all of the range is known": (OLD, 24 * HOUR, 24 + 55),
    "it begins in the long gap: from the first value after it": (OLD, 7 * HOUR, 6 + 5),
    "an absence in the middle": (OLD, 3 * HOUR, 3 + 5),
    "a label set that is new in the range": (NEW, 24 * HOUR, 7),
    "new, where Prometheus came within the range": (NEW, 30 * DAY, 7),
    "new, where the range begins in the long gap": (NEW, 7 * HOUR, 7),
    "nothing has happened since": (NEW, HOUR, 0),
    "of three bridges, two of them not known at the beginning": ('gen_ai_agent_id="ambos"', 24 * HOUR, 24 + 12 + 44),
    "of three bridges, all known": ('gen_ai_agent_id="ambos"', 10 * HOUR, 10 + 10 + 20),
    "of nobody": ('gen_ai_agent_id="nadie"', DAY, None),
}


@pytest.mark.parametrize("case", TOTALS)
def test_a_total_is_whole(known: tuple[Prometheus, int], case: str) -> None:
    matcher, seconds, expected = TOTALS[case]
    assert ask(known, counted(NAME, matcher, by=("gen_ai_agent_id",)), seconds) == expected
    assert ask(known, counted(NAME, matcher), seconds) == expected


@pytest.mark.parametrize("seconds", [2 * HOUR, DAY, 30 * DAY])
def test_a_mean_and_a_percentile_are_of_the_range(known: tuple[Prometheus, int], seconds: int) -> None:
    average = ask(known, mean(DURATION, OLD), seconds)
    assert average == pytest.approx(140 / 30)
    highest = ask(known, quantile(0.99, DURATION, OLD), seconds)
    assert highest is not None and 10 < highest <= 15
