"""What one event costs, in calls: of Python functions and of those in C, counted and not timed.

A count is the same on a busy machine and on a quiet one, so a stage that grows fails here, before anybody measures. It
says nothing of what a call costs: that is `make bench`. A count that has fallen fails, too: write the new one down.
"""

from __future__ import annotations

import http.client
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.stages import stages
from tests.harness.bridge import GUIDE_EVENT, ROOT, Bridge
from tests.harness.calls import calls
from tests.harness.waiting import wait_for

EVENTS = 500
BAND = 0.05
"""Of a count, with the Python that they were counted with (3.11): both ways."""
OTHER_PYTHON = 0.25
"""With another one: upwards only. 3.12 and later call no function for a comprehension."""

STAGES = {
    "decode JSON and check types": 0.01,
    "check time and text": 3.0,
    "redact (clean text)": 6.0,
    "redact (e-mail, card, address)": 284.0,
    "redact (realistic: a tenth holds something)": 21.9,
    "prepare (time, redact, identity, record)": 26.0,
    "journal: serialise": 0.01,
    "journal: write and fsync": 6.25,
    "count (metrics)": 6.0,
    "answer": 1.0,
    "export: read record": 0.01,
    "export: encode span": 14.0,
    "(a receiver parses it)": 0.01,
}
"""Calls an event, of a batch; 0.01 stands for «a handful a batch»."""

POST = {"MainThread": (167.0, BAND), "journal-writer": (110.0, 0.15)}
"""Calls a post of one event that waits for its answer, and their band: on the event loop, and in the writer, which
commits each. What is done once a second is among them: more a post where posts are slow."""


def within(counted: float, expected: float, band: float = BAND) -> bool:
    if sys.version_info[:2] != (3, 11):
        return counted <= expected * (1 + OTHER_PYTHON) + 0.05
    return expected * (1 - band) - 0.05 <= counted <= expected * (1 + band) + 0.05


def test_a_stage_of_a_batch_makes_as_many_calls_as_are_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with stages(EVENTS, 3, 20) as all_of_them:
        counted = {
            # The first batch meets empty caches.
            stage.name: min(calls(lambda stage=stage, i=i: stage.step(i)) for i in range(stage.rounds)) / EVENTS
            for stage in all_of_them
        }
    assert counted.keys() == STAGES.keys()
    assert {name: count for name, count in counted.items() if not within(count, STAGES[name])} == {}


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[Bridge]:
    """A bridge whose threads count their calls."""
    bridge = Bridge(
        tmp_path, PYTHONPATH=f"{ROOT}:{Path(__file__).parent / 'counted'}", COUNTED=str(tmp_path / "counted.json"),
        OTEL_BRIDGE_RATE_LIMIT="off",
    )  # fmt: skip
    yield bridge.start()
    bridge.close()


def test_a_post_makes_as_many_calls_as_are_written_down(counting: Bridge) -> None:
    file = Path(counting.environ["COUNTED"])

    def told() -> dict[str, int]:
        file.unlink(missing_ok=True)
        assert counting.process is not None
        counting.process.send_signal(signal.SIGUSR2)
        wait_for(file.exists, "the counts")
        counts: dict[str, int] = json.loads(file.read_text())
        return counts

    def posted(client: http.client.HTTPConnection) -> dict[str, float]:
        body = json.dumps({**GUIDE_EVENT, "sesion_id": counting.session()})  # one of 1,024 events begins a new part
        told()
        for _ in range(EVENTS):
            client.request("POST", "/api/events", body, {"Content-Type": "application/json"})
            answer = client.getresponse()
            answer.read()
            assert answer.status == 201
        counts = told()
        return {name: counts[name] / EVENTS for name in POST}

    with closing(http.client.HTTPConnection("127.0.0.1", counting.port)) as client:
        rounds = [posted(client) for _ in range(4)]
    counted = {name: min(one[name] for one in rounds) for name in POST}
    assert {name: count for name, count in counted.items() if not within(count, *POST[name])} == {}, rounds
