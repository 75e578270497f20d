"""Records on disk, and the identities derived from them."""

from __future__ import annotations

import msgspec
import pytest

from otel_bridge.records import (
    Event,
    Feedback,
    Idle,
    Record,
    Session,
    decode,
    encode,
    event_span_id,
    feedback_span_id,
    part_trace_id,
    session_span_id,
)
from tests.unit.samples import event, feedback, idle, session


@pytest.mark.parametrize(
    "record",
    [
        session(),
        session(link=bytes(24)),
        event(),
        event(content=None, model="gpt-6.2-sol", error="timeout", link=bytes(range(24)), tokens_cached=20),
        idle(),
        feedback(),
        feedback(comment=None, model="gpt-6.2-sol", part=3, link=bytes(24)),
    ],
    ids=["session", "linked session", "event", "event with everything", "idle", "rating", "rating with everything"],
)
def test_a_record_survives_encoding(record: Record) -> None:
    (decoded,) = decode(encode([record]))
    assert decoded == record and type(decoded) is type(record)


def test_records_keep_their_order() -> None:
    records: list[Record] = [session(), event(1), idle(), event(2)]
    assert decode(encode(records)) == records


def test_a_record_is_an_array_whose_fields_are_never_reordered() -> None:
    """What is on disk by position. A change of this test is a change of every journal there is."""
    s, e, i = msgspec.msgpack.decode(encode([session(), event(), idle()]))
    assert s[0] == "s" and e[0] == "e" and i[0] == "i"
    assert Session.__struct_fields__[:6] == ("id", "gpt", "user", "started_us", "arrived_us", "link")
    assert Event.__struct_fields__[:17] == (
        "id", "session", "gpt", "user", "type", "content", "latency_ms", "tokens_in", "tokens_out", "end_us",
        "arrived_us", "model", "error", "link", "tokens_cached", "part", "opens",
    )  # fmt: skip
    assert msgspec.msgpack.decode(encode([feedback()]))[0][0] == "f"
    assert Feedback.__struct_fields__[:11] == (
        "id", "event", "session", "gpt", "user", "value", "comment", "arrived_us", "model", "part", "link",
    )  # fmt: skip
    assert Idle.__struct_fields__[:5] == ("session", "gpt", "duration_s", "events", "arrived_us")


def test_fields_added_later_may_be_missing_from_what_is_read() -> None:
    short = msgspec.msgpack.encode([["s", bytes(16), "g", "u", 1, 2]])
    assert decode(short) == [Session(bytes(16), "g", "u", 1, 2, None)]
    of_0_1_0 = msgspec.msgpack.decode(encode([event()]))[0][:15]
    assert decode(msgspec.msgpack.encode([of_0_1_0])) == [event()]


@pytest.mark.parametrize("cached", [None, 20])
def test_the_release_before_reads_a_record_without_the_fields_it_does_not_know(cached: int | None) -> None:
    fields = [
        (field.name, field.type) if field.required else (field.name, field.type, field.default)
        for field in msgspec.structs.fields(Event)[:14]
    ]
    old = msgspec.defstruct("Event", fields, array_like=True, tag_field="record", tag="e")
    (read,) = msgspec.msgpack.decode(encode([event(model="modelo-x", tokens_cached=cached)]), type=list[old])
    later = ("tokens_cached", "part", "opens", "extras")
    assert msgspec.structs.asdict(read) == {
        name: value for name, value in msgspec.structs.asdict(event(model="modelo-x")).items() if name not in later
    }


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x91\x92\xa1x\x01", b"\x93"])
def test_what_is_no_record_is_a_decode_error(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(body)


def test_a_record_of_the_guide_is_small() -> None:
    assert len(encode([event()])) < 200


def test_span_ids_are_derived_and_never_change() -> None:
    """A repeat of a record is recognised by its ids, across releases too."""
    some = bytes(range(16))
    assert event_span_id(some).hex() == "f49644867b0897ea"
    assert session_span_id(some).hex() == "4c49383453eb3cf7"
    assert len({event_span_id(some), session_span_id(some), event_span_id(bytes(16))}) == 3


def test_a_span_id_is_never_all_zeros() -> None:
    """OTLP has that invalid; the likeliest ids to give it are the ones clients make up."""
    made_up = [bytes(16), b"\xff" * 16, *(n.to_bytes(16, "big") for n in range(1, 1000))]
    assert all(any(derive(id_)) for id_ in made_up for derive in (event_span_id, session_span_id))
    assert len({event_span_id(id_) for id_ in made_up}) == len(made_up)


def test_trace_ids_of_parts_never_change() -> None:
    """They are what a redelivery is recognised by."""
    some = bytes.fromhex("0197bd2e6c007d9a8f3e2a4b6c8d0e1f")
    assert part_trace_id(some, 0) == some
    assert part_trace_id(some, 1).hex() == "ebfc52bbf5aeaca7932b7f4dc76e6d0d"
    assert part_trace_id(some, 2).hex() == "dbc795ebda7e9069f093372f24e50f96"
    assert len({part_trace_id(id_, part) for id_ in (some, bytes(16)) for part in range(50)}) == 100


def test_the_spans_of_an_event_of_a_session_and_of_a_rating_with_one_id_are_three() -> None:
    assert len({event_span_id(bytes(16)), session_span_id(bytes(16)), feedback_span_id(bytes(16))}) == 3
