"""What is read in one turn of the event loop is parsed and taken in at its end, each by itself."""

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
            self._turn.whole(Post(f"behind {self._name}", self._taken))
        if self._name == "broken":
            raise ValueError("secreto")


def test_posts_are_taken_in_together_in_their_order_once_all_are_read() -> None:
    async def scenario() -> None:
        turn, taken = Turn(), list[str]()
        for name in ("a", "b", "c"):
            turn.whole(Post(name, taken))
        assert taken == []
        await asyncio.sleep(0)
        assert taken == ["a", "b", "c"]
        turn.whole(Post("d", taken))
        await asyncio.sleep(0)
        assert taken == ["a", "b", "c", "d"]

    asyncio.run(scenario())


def test_a_post_that_comes_while_others_are_taken_in_has_the_next_turn() -> None:
    async def scenario() -> None:
        turn, taken = Turn(), list[str]()
        turn.whole(Post("a", taken, turn))
        turn.whole(Post("b", taken))
        await asyncio.sleep(0)
        assert taken == ["a", "b"]
        await asyncio.sleep(0)
        assert taken == ["a", "b", "behind a"]

    asyncio.run(scenario())


def test_one_that_fails_keeps_no_other_waiting(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        turn, taken = Turn(), list[str]()
        for name in ("a", "broken", "c"):
            turn.whole(Post(name, taken))
        await asyncio.sleep(0)
        assert taken == ["a", "broken", "c"]

    asyncio.run(scenario())
    assert [record.getMessage() for record in caplog.records] == ["a post could not be taken in: ValueError"]


class Connection:
    def __init__(self, name: str, done: list[str], turn: Turn) -> None:
        self._name, self._done, self._turn = name, done, turn

    def parse(self) -> None:
        self._done.append(f"parsed {self._name}")
        self._turn.whole(Post(self._name, self._done))
        if self._name == "broken":
            raise ValueError("secreto")

    def abort(self) -> None:
        self._done.append(f"aborted {self._name}")


def test_all_is_parsed_before_what_is_whole_is_taken_in(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        turn, done = Turn(), list[str]()
        for name in ("a", "b"):
            turn.read(Connection(name, done, turn))
        assert done == []
        await asyncio.sleep(0)
        assert done == ["parsed a", "parsed b", "a", "b"]

    asyncio.run(scenario())
    assert not caplog.records


def test_a_connection_that_cannot_be_parsed_ends_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        turn, done = Turn(), list[str]()
        for name in ("broken", "b"):
            turn.read(Connection(name, done, turn))
        await asyncio.sleep(0)
        assert done[:3] == ["parsed broken", "aborted broken", "parsed b"]
        assert done[-1] == "b"

    asyncio.run(scenario())
    assert caplog.records[0].getMessage() == "a request could not be parsed: ValueError"
