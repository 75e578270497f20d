"""A bridge and a receiver that the tests of one module share; each test looks only at sessions of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.harness.bridge import Bridge
from tests.harness.otlp import OtlpReceiver, Received
from tests.harness.waiting import wait_for


@dataclass
class Pair:
    bridge: Bridge
    receiver: OtlpReceiver

    def spans(self, session: str, count: int) -> list[Received]:
        """The spans of a session, once there are so many; the root first."""
        trace_id = session.replace("-", "")
        wait_for(lambda: len(self.receiver.find(trace_id=trace_id)) >= count, f"{count} spans of {session}")
        found = self.receiver.find(trace_id=trace_id)
        assert len(found) == count
        return sorted(found, key=lambda one: (one.span.parent_span_id != b"", one.at))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    receiver = OtlpReceiver().start()
    bridge = Bridge(tmp_path_factory.mktemp("shared"), **receiver.environ)
    try:
        yield Pair(bridge.start(), receiver)
        assert bridge.stop() == 0
    finally:
        bridge.close()
        receiver.close()
