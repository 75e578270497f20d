"""Ids of MCP sessions: told from any other id by themselves."""

from __future__ import annotations

import re

import pytest

from otel_bridge.mcp.session_ids import SessionIds

IDS = SessionIds(b"key")


def test_an_id_is_known_by_whoever_has_the_key_and_by_nobody_else() -> None:
    given = IDS.new()
    name = IDS.name_of(given)
    assert name and SessionIds(b"key").name_of(given) == name
    assert SessionIds(b"other").name_of(given) is None


def test_ids_and_names_differ_and_a_name_does_not_tell_the_id() -> None:
    given = [IDS.new() for _ in range(200)]
    names = {IDS.name_of(one) for one in given}
    assert len(set(given)) == len(names) == 200 and None not in names
    assert not any(str(name).encode() in one for name in names for one in given)


def test_an_id_is_what_the_protocol_allows_in_a_header() -> None:
    assert all(re.fullmatch(rb"[\x21-\x7e]{32,64}", IDS.new()) for _ in range(50))


@pytest.mark.parametrize(
    "made_up",
    [b"", b"x", b"=", b"====", b"A" * 43, b"A" * 44, b"A" * 10_000, b"\xff\x00", b"a b", b"\xc3\xb1", b"-_" * 21],
    ids=range(11),
)  # fmt: skip
def test_an_id_that_is_made_up_is_none(made_up: bytes) -> None:
    assert IDS.name_of(made_up) is None


def test_an_id_with_one_bit_changed_is_none() -> None:
    given = IDS.new()
    for place in range(len(given) - 1):  # of the last character two bits mean nothing
        other = given[:place] + (b"A" if given[place : place + 1] != b"A" else b"B") + given[place + 1 :]
        assert IDS.name_of(other) is None, place
