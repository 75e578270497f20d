"""What is read in one turn of the event loop is taken in at its end, each post by itself."""

from __future__ import annotations

import asyncio

import pytest

from otel_bridge.http.turn import Turn


class Post:
    def __init__(self, name: str, taken: list[str], turn: Turn | None = None) -> None:
        self._name, self._taken, self._turn = name, taken, turn

    def take_in(self) -> None:
        self._taken.append(self._name)
        if self._turn is not None:
            self._turn.add(Post(f"behind {self._name}", self._taken))
        if self._name == "broken":
            raise ValueError("secreto")


def test_posts_are_taken_in_together_in_their_order_once_all_are_read() -> None:
    async def scenario() -> None:
        turn, taken = Turn(), list[str]()
        for name in ("a", "b", "c"):
            turn.add(Post(name, taken))
        assert taken == []
        await asyncio.sleep(0)
        assert taken == ["a", "b", "c"]
        turn.add(Post("d", taken))
        await asyncio.sleep(0)
        assert taken == ["a", "b", "c", "d"]

    asyncio.run(scenario())


def test_a_post_that_comes_while_others_are_taken_in_has_the_next_turn() -> None:
    async def scenario() -> None:
        turn, taken = Turn(), list[str]()
        turn.add(Post("a", taken, turn))
        turn.add(Post("b", taken))
        await asyncio.sleep(0)
        assert taken == ["a", "b"]
        await asyncio.sleep(0)
        assert taken == ["a", "b", "behind a"]

    asyncio.run(scenario())


def test_one_that_fails_keeps_no_other_waiting(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        turn, taken = Turn(), list[str]()
        for name in ("a", "broken", "c"):
            turn.add(Post(name, taken))
        await asyncio.sleep(0)
        assert taken == ["a", "broken", "c"]

    asyncio.run(scenario())
    assert [record.getMessage() for record in caplog.records] == ["a post could not be taken in: ValueError"]
