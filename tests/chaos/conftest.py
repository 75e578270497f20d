"""What the chaos suite shares: its length, its voice, its lanes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.lanes import LONG, Lanes
from tests.chaos.ledger import Say
from tests.conftest import SAID

long_form = pytest.mark.skipif(not LONG, reason="of the long form: make chaos")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Say:
    """Prints a line of figures whatever pytest captures: at once, or from the process that runs the workers."""

    def line(text: str) -> None:
        if hasattr(request.config, "workerinput"):
            request.node.user_properties.append((SAID, text))
            return
        with capsys.disabled():
            print(f"\n  {request.node.name}: {text}", flush=True)

    return line


@pytest.fixture(scope="module")
def lanes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lanes]:
    """Starts the scenarios of this module that were selected and are not to be skipped."""
    here = [
        item
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and hasattr(item.function, "scenario")
    ]
    started = Lanes(
        [item for item in here if LONG or not item.get_closest_marker("skipif")], tmp_path_factory.mktemp("lanes")
    )
    yield started
    started.close()
