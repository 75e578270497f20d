"""A session, its events and their retries, over hours, restarts, kills and outages, against a model of the promises.

In one process and in simulated time (tests/promises/desk.py); tests/chaos/test_promises.py does the same to a real
bridge.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.chaos.lanes import LONG
from tests.journal.backends import Backend
from tests.journal.conftest import BACKENDS
from tests.promises.desk import Clock, Desk
from tests.promises.rules import Clients

MEMORY = Path("/dev/shm")
"""A new journal costs 15 ms on a disk: a kill of what runs in this process tells nothing of fsync."""
EXAMPLES = {
    name: int(os.environ.get("PROMISES_EXAMPLES", "1000" if LONG else count))
    for name, count in {"sqlite": "60", "postgresql": "12"}.items()
}
"""A new database and its connections cost five times a new file."""
STEPS = 60 if LONG else 30


class InOneProcess(Clients):
    backend: type[Backend]
    folder: Path

    def __init__(self) -> None:
        self._stack = ExitStack()
        place = Path(self._stack.enter_context(tempfile.TemporaryDirectory(dir=self.folder)))
        backend = self.backend(place)
        clock = self._stack.enter_context(Clock().set())
        self.served = Desk(backend.url, place, clock)
        super().__init__()

    def teardown(self) -> None:
        with self._stack:
            try:
                if sys.exc_info()[0] is None:  # else a rule has failed, which tells more
                    self.end_well()
            finally:
                self.served.close()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.timeout(3_600 if LONG else 600)
def test_whatever_happens_in_any_order_every_promise_is_kept(backend: str, tmp_path: Path) -> None:
    class Machine(InOneProcess):
        pass

    Machine.backend, Machine.folder = BACKENDS[backend], MEMORY if MEMORY.is_dir() else tmp_path
    profile = settings.get_profile("machine")
    run_state_machine_as_test(
        Machine, settings=settings(profile, max_examples=EXAMPLES[backend], stateful_step_count=STEPS)
    )
