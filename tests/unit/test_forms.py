"""A snapshot in its two forms: what one bridge saves, and what replicas save in two places."""

from __future__ import annotations

import msgspec
import pytest

from otel_bridge.metrics.own import SelfMetrics, dump
from otel_bridge.ops.forms import SnapshotForms
from otel_bridge.ops.snapshot import own_of

FORMS = SnapshotForms()


def own(redactions: int, seconds: float) -> bytes:
    counted = SelfMetrics((), ("clave",))
    counted.redactions["clave"] = redactions
    counted.observe("/api/events", "POST", 201, seconds)
    return dump(counted.counts())


def document(**changes: object) -> dict[str, object]:
    whole = {"state": b"state", "own": own(3, 0.25), "scrapers": {"a": 1}, "clock": 7, "held": [1, 2]}
    return {**whole, **changes}


def test_what_is_parted_and_joined_is_as_before() -> None:
    shared, mine = FORMS.parted(msgspec.msgpack.encode(document()))
    assert msgspec.msgpack.decode(shared) == {"state": b"state", "scrapers": {"a": 1}, "clock": 7}
    assert msgspec.msgpack.decode(mine)["held"] == [1, 2] and own_of(mine).redactions == {"clave": 3}
    assert msgspec.msgpack.decode(FORMS.joined(shared, [mine])) == document()


def test_of_several_replicas_the_own_counters_are_added_and_the_latest_clock_is_believed() -> None:
    shared, mine = FORMS.parted(msgspec.msgpack.encode(document()))
    other = msgspec.msgpack.encode({"own": own(4, 0.5), "clock": 9, "held": None})
    joined = msgspec.msgpack.decode(FORMS.joined(shared, [other, mine]))
    total = own_of(msgspec.msgpack.encode(joined))
    assert total.redactions == {"clave": 7} and joined["clock"] == 9 and joined["held"] == [1, 2]
    ((_, row),) = total.durations.items()
    assert 0.75 in row, "seconds are added, too"
    assert msgspec.msgpack.decode(FORMS.joined(shared, []))["clock"] == 7


@pytest.mark.parametrize("snapshot", [b"\xc1", msgspec.msgpack.encode([1]), msgspec.msgpack.encode({"state": b""})])
def test_a_snapshot_of_another_release_is_named_so(snapshot: bytes) -> None:
    with pytest.raises(ValueError, match="arranca una vez con él el puente de esta versión"):
        FORMS.parted(snapshot)
