"""Scenarios that mostly wait, side by side: each with a bridge of its own, and with a test that tells its outcome.

    @side_by_side
    def test_what_is_seen(make_bridge: …, receiver: …) -> None: …

The first test of a module starts all of the module's that have been selected; each waits for its own. What such a test
may ask for is what `Lane` gives, and its parameters. The long form runs one after the other, as any other test.
"""

from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.disks import FailingDisk, SmallDisk, mounted, on_little_room
from tests.harness.bridge import Bridge
from tests.harness.otlp import OtlpReceiver

LONG = os.environ.get("CHAOS") == "long"
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
LANES = int(os.environ.get("CHAOS_LANES", "1" if LONG else "4" if WORKERS == 1 else "2"))


class Lane:
    """What a scenario has for itself, under the names of the fixtures that it would have otherwise."""

    def __init__(self, folder: Path, stack: ExitStack, said: list[str]) -> None:
        self.tmp_path = folder
        self._stack = stack
        self._bridges = 0
        self.say = said.append

    @property
    def receiver(self) -> OtlpReceiver:
        started = OtlpReceiver().start()
        self._stack.callback(started.close)
        return started

    def make_bridge(self, config: str | None = None, **environ: str) -> Bridge:
        folder = self.tmp_path / f"bridge{self._bridges}"
        self._bridges += 1
        folder.mkdir()
        made = Bridge(folder, config, **environ)
        self._stack.callback(made.close)
        return made

    def small_disk(self, size: str) -> SmallDisk:
        return self._stack.enter_context(mounted(self.tmp_path, size))

    def failing_disk(self) -> FailingDisk:
        return self._stack.enter_context(on_little_room(self.tmp_path))


GIVEN = {"tmp_path", "receiver", "make_bridge", "small_disk", "failing_disk", "say"}


def side_by_side(scenario: Callable[..., None]) -> Callable[..., None]:
    @wraps(scenario)
    def test(lanes: Lanes, request: pytest.FixtureRequest, say: Callable[[str], None], **parameters: Any) -> None:
        lanes.outcome(request.node, say)

    own = inspect.signature(scenario).parameters.values()
    asked = [
        one for one in inspect.signature(test, follow_wrapped=False).parameters.values() if one.kind != one.VAR_KEYWORD
    ]
    keyword = [one.replace(kind=one.KEYWORD_ONLY) for one in own if one.name not in GIVEN]
    test.__signature__ = inspect.Signature([*asked, *keyword])  # type: ignore[attr-defined]
    test.scenario = scenario  # type: ignore[attr-defined]
    return test


class Lanes:
    def __init__(self, tests: list[pytest.Function], folder: Path) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(LANES, thread_name_prefix="lane")
        self._under_way: dict[str, Future[list[str]]] = {}
        if LANES > 1:
            self._under_way = {one.nodeid: self._pool.submit(self._run, one) for one in tests}

    def outcome(self, test: pytest.Function, say: Callable[[str], None]) -> None:
        """Raises what the scenario raised; says what it said."""
        under_way = self._under_way.get(test.nodeid)
        for line in self._run(test) if under_way is None else under_way.result():
            say(line)

    def _run(self, test: pytest.Function) -> list[str]:
        scenario: Callable[..., None] = test.function.scenario
        parameters: dict[str, Any] = test.callspec.params if hasattr(test, "callspec") else {}
        said: list[str] = []
        with ExitStack() as stack:
            lane = Lane(Path(tempfile.mkdtemp(dir=self._folder)), stack, said)
            names = inspect.signature(scenario).parameters
            scenario(**{name: getattr(lane, name) if name in GIVEN else parameters[name] for name in names})
        return said

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
