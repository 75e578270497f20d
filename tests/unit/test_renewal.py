"""Connections that are made anew before they grow old."""

from __future__ import annotations

import itertools

import pytest

from otel_bridge.export import renewal
from otel_bridge.export.renewal import Renewed


class Maker:
    def __init__(self) -> None:
        self.closed: list[int] = []
        self.failure: OSError | None = None
        self._numbers = itertools.count(1)

    def make(self) -> int:
        if self.failure is not None:
            raise self.failure
        return next(self._numbers)


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def renewed(maker: Maker) -> Renewed[int]:
    return Renewed(maker.make, maker.closed.append)


def test_it_stays_the_same_while_it_is_young(renewed: Renewed[int], maker: Maker) -> None:
    with renewed.use() as first, renewed.use() as second:
        assert first == second == 1
    with renewed.use() as third:
        assert third == 1
    assert maker.closed == []


def test_one_that_is_old_is_made_anew_and_closed(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "MAX_AGE_SECONDS", -1.0)
    renewed = Renewed(maker.make, maker.closed.append)
    with renewed.use() as value:
        assert value == 2 and maker.closed == [1]


def test_the_old_one_is_closed_once_when_its_last_user_is_done(renewed: Renewed[int], maker: Maker) -> None:
    with renewed.use():
        with renewed.use():
            renewed.renew()
            with renewed.use() as fresh:
                assert fresh == 2
        assert maker.closed == []
    assert maker.closed == [1]
    renewed.close()
    assert maker.closed == [1, 2]
    renewed.close()
    assert maker.closed == [1, 2]


def test_what_cannot_be_made_is_tried_again(renewed: Renewed[int], maker: Maker) -> None:
    renewed.renew()
    maker.failure = OSError("no such certificate")
    with pytest.raises(OSError), renewed.use():
        pass
    maker.failure = None
    with renewed.use() as value:
        assert value == 2
