"""Times as clients write them: read as the moment that was meant, or refused with the text as it should be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from otel_bridge import times
from otel_bridge.clock import Clock
from otel_bridge.ids import DAY_US
from otel_bridge.times import AHEAD_US, EARLIEST_US, TimeError, explain, format_time, parse_time

NOW_US = int(datetime(2026, 11, 27, 7, tzinfo=UTC).timestamp()) * 1_000_000
LATEST_US = NOW_US + AHEAD_US


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2025-06-29T20:00:00.000Z", "2025-06-29T20:00:00.000Z"),
        ("2025-06-29T20:00:00Z", "2025-06-29T20:00:00.000Z"),
        ("2025-06-29t20:00:00z", "2025-06-29T20:00:00.000Z"),
        ("2025-06-29T20:00:00", "2025-06-29T20:00:00.000Z"),
        ("2025-06-29 20:00:00", "2025-06-29T20:00:00.000Z"),
        ("2025-06-29 20:00:00+02:00", "2025-06-29T18:00:00.000Z"),
        ("2025-06-29T20:00", "2025-06-29T20:00:00.000Z"),
        ("2025-06-29T20:00-05:00", "2025-06-30T01:00:00.000Z"),
        ("2025-06-29T20", "2025-06-29T20:00:00.000Z"),
        ("2025-06-29T20+02", "2025-06-29T18:00:00.000Z"),
        ("2025-06-29T20:00:00.5Z", "2025-06-29T20:00:00.500Z"),
        ("2025-06-29T20:00:00,5Z", "2025-06-29T20:00:00.500Z"),
        ("2025-06-29T20:00:00.12Z", "2025-06-29T20:00:00.120Z"),
        ("2025-06-29T20:00:00.123456Z", "2025-06-29T20:00:00.123Z"),
        ("2025-06-29T20:00:00.123456789Z", "2025-06-29T20:00:00.123Z"),
        ("2025-06-29T20:00:00.999999999999Z", "2025-06-29T20:00:00.999Z"),
        ("2025-06-29T20:00:00.123+02:00", "2025-06-29T18:00:00.123Z"),
        ("2025-06-29T15:00:00-05:00", "2025-06-29T20:00:00.000Z"),
        ("2025-06-30T01:30:00+0530", "2025-06-29T20:00:00.000Z"),
        ("2025-06-29T22:00:00+02", "2025-06-29T20:00:00.000Z"),
        ("2025-06-29T20:00:00-00:00", "2025-06-29T20:00:00.000Z"),
        ("2025-06-29T19:57:56-00:02:04", "2025-06-29T20:00:00.000Z"),
        ("20250629T200000Z", "2025-06-29T20:00:00.000Z"),
        ("20250629T200000.123Z", "2025-06-29T20:00:00.123Z"),
        ("20250629T2000+0200", "2025-06-29T18:00:00.000Z"),
        ("2025-06-29T200000Z", "2025-06-29T20:00:00.000Z"),
        # The guide's Python class with `now(UTC)` in place of `utcnow()`, and its relatives.
        ("2025-06-29T20:00:00.123456+00:00Z", "2025-06-29T20:00:00.123Z"),
        ("2025-06-29T20:00:00+00:00Z", "2025-06-29T20:00:00.000Z"),
        ("2025-06-29T20:00:00-00:00Z", "2025-06-29T20:00:00.000Z"),
        ("2025-06-29T20:00:00+0000Z", "2025-06-29T20:00:00.000Z"),
        ("2025-06-29T20:00:00+00z", "2025-06-29T20:00:00.000Z"),
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59.000Z"),
        ("2015-01-01T00:00:00Z", "2015-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_is_iso_8601_in_utc_where_nothing_else_is_said(text: str, same: str) -> None:
    assert format_time(parse_time(text, NOW_US)) == same
    assert explain(text, NOW_US) is None


def test_microseconds_are_kept() -> None:
    start_us = parse_time("2025-06-29T20:00:00Z", NOW_US)
    assert parse_time("2025-06-29T20:00:00.123456Z", NOW_US) == start_us + 123_456
    assert parse_time("2025-06-29T20:00:00.000007+00:00", NOW_US) == start_us + 7


@pytest.mark.parametrize(
    ("text", "part", "instead"),
    [
        # A fraction of an hour or a minute.
        ("2025-06-29T21.5Z", "fracción", "2025-06-29T21:30:00Z"),
        ("2025-06-29T21,25Z", "fracción", "2025-06-29T21:15:00Z"),
        ("2025-06-29T21:30,5Z", "fracción", "2025-06-29T21:30:30Z"),
        ("2025-06-29T2130.5+0200", "fracción", "2025-06-29T21:30:30+0200"),
        ("2025-06-29T23.99999Z", "fracción", "2025-06-29T23:59:59.964000Z"),
        ("2025-06-29T21:30:00.Z", "fracción", None),
        ("2025-06-29T21:30:00.", "fracción", None),
        ("2025-06-29T20:00:00.12³Z", "zona", None),
        ("2025-06-29T20:00:00.-12Z", "fracción", None),
        ("2025-06-29T21:30.123Z", "fracción", "2025-06-29T21:30:07.380000Z"),
        ("2025-06-29T23.9999Z", "fracción", "2025-06-29T23:59:59.640000Z"),
        ("2025-06-29T21.5000000000Z", "fracción", "2025-06-29T21:30:00Z"),
        ("2025-06-29T21.333333333333332Z", "fracción", "2025-06-29T21:20:00Z"),
        ("2025-06-29T20:00:00.123.456Z", "una sola vez", None),
        ("2025-06-29T20.00.00Z", "dos puntos", None),
        # Digits that run on.
        ("2025-06-29T12345678", "hora", None),
        ("2025-06-29T1234567Z", "hora", None),
        ("2025-06-29T20:00:00+00000000", "zona", None),
        ("2025-06-29T20:00:00+0000000", "zona", None),
        ("2025-06-29T2000:00Z", "hora", None),
        ("2025-06-29T20:0000Z", "hora", None),
        ("2025-06-29T8:00:00Z", "hora", None),
        ("2025-06-29T20:0:00Z", "hora", None),
        ("2025-06-29T", "hora", None),
        ("20250629T2000+05:00.123Z", "zona", None),
        # What stands between date and time.
        ("2025-06-29😀20:00:00Z", "«T»", "2025-06-29T20:00:00Z"),
        ("2025-06-29_20:00:00Z", "«T»", "2025-06-29T20:00:00Z"),
        ("2025-06-29\t20:00:00Z", "«T»", "2025-06-29T20:00:00Z"),
        ("2025-06-29 T 20:00:00Z", "una sola «T»", "2025-06-29T20:00:00Z"),
        ("2025-06-29  20:00:00Z", "una sola «T»", "2025-06-29T20:00:00Z"),
        ("2025-06-2920:00:00Z", "«T»", "2025-06-29T20:00:00Z"),
        ("2025-06-29\N{NO-BREAK SPACE}20:00:00Z", "«T»", "2025-06-29T20:00:00Z"),
        # A date alone.
        ("2025-06-29", "falta la hora", "2025-06-29T00:00:00Z"),
        ("20250629", "falta la hora", "2025-06-29T00:00:00Z"),
        ("2025-06-29Z", "falta la hora", "2025-06-29T00:00:00Z"),
        ("2025-06-29+02:00", "falta la hora", "2025-06-29T00:00:00+02:00"),
        ("2025-06-29-05:00", "falta la hora", "2025-06-29T00:00:00-05:00"),
        # Zones.
        ("2025-06-29T20:00:00+02:00Z", "dos zonas", "2025-06-29T20:00:00+02:00"),
        ("2025-06-29T20:00:00.5-0500Z", "dos zonas", "2025-06-29T20:00:00.5-0500"),
        ("2025-06-29T20:00:00ZZ", "dos veces", "2025-06-29T20:00:00Z"),
        ("2025-06-29T20:00:00Z+00:00", "zona", None),
        ("2025-06-29T20:00:00 +02:00", "sin espacio", "2025-06-29T20:00:00+02:00"),
        ("2025-06-29T20:00:00 UTC", "zona", None),
        ("2025-06-29T20:00:00[Europe/Madrid]", "zona", None),
        ("2025-06-29T20:00:00+2:00", "zona", None),
        ("2025-06-29T20:00:00+24:00", "desfase", None),
        ("2025-06-29T20:00:00+02:60", "desfase", None),
        ("2025-06-29T20:00:00\N{MINUS SIGN}05:00", "zona", None),
        ("2025-06-29T20:00:00Z; DROP TABLE", "zona", None),
        # Numbers that no clock and no calendar shows.
        ("2025-06-29T23:59:60Z", "intercalar", "2025-06-29T23:59:59Z"),
        ("2025-06-29T23:59:60.5+01:00", "intercalar", "2025-06-29T23:59:59+01:00"),
        ("2025-06-29T24:00:00Z", "24:00", "2025-06-30T00:00:00Z"),
        ("2025-06-29T24:00:00.000Z", "24:00", "2025-06-30T00:00:00Z"),
        ("2025-06-29T24:00:00.500Z", "la hora va de 00 a 23", None),
        ("2025-06-29T24.5Z", "la hora va de 00 a 23", None),
        ("2025-06-29T24:00:01Z", "la hora va de 00 a 23", None),
        ("2025-06-29T25:00:00Z", "la hora va de 00 a 23", None),
        ("2025-06-29T20:60:00Z", "minutos", None),
        ("2025-06-29T20:00:61Z", "segundos", None),
        ("2025-13-29T20:00:00Z", "mes", None),
        ("2025-00-29T20:00:00Z", "mes", None),
        ("2025-02-30T20:00:00Z", "día", None),
        ("2025-06-00T20:00:00Z", "día", None),
        ("2023-02-29T20:00:00Z", "día", None),
        # Other forms.
        ("1751227200", "Unix", "2025-06-29T20:00:00.000Z"),
        ("1751227200000", "Unix", "2025-06-29T20:00:00.000Z"),
        ("1751227200000000", "Unix", "2025-06-29T20:00:00.000Z"),
        ("1751227200000000000", "Unix", "2025-06-29T20:00:00.000Z"),
        ("1751227200.123", "Unix", "2025-06-29T20:00:00.123Z"),
        ("1751227200.0", "Unix", "2025-06-29T20:00:00.000Z"),
        ("2025-W26-7T20:00:00Z", "fecha", None),
        ("2025-180T20:00:00Z", "fecha", None),
        ("29/06/2025 20:00:00", "fecha", None),
        ("Sun Jun 29 2025 20:00:00 GMT+0000", "fecha", None),
        ("+2025-06-29T20:00:00Z", "fecha", None),
        ("25-06-29T20:00:00Z", "fecha", None),
        ("２０２５-06-29T20:00:00Z", "fecha", None),
        ("2025-06-29T٢٠:00:00Z", "hora", None),
        ("", "fecha", None),
        (" 2025-06-29T20:00:00Z", "espacios", "2025-06-29T20:00:00Z"),
        ("2025-06-29T20:00:00Z\n", "espacios", "2025-06-29T20:00:00Z"),
        # Moments that are none of an assistant's.
        ("1970-01-01T00:00:00Z", "2015", format_time(NOW_US)),
        ("1970-01-20T06:27:07.200Z", "2015", format_time(NOW_US)),
        ("2014-12-31T23:59:59.999Z", "2015", format_time(NOW_US)),
        ("0001-01-01T00:00:00+23:59", "2015", format_time(NOW_US)),
        ("2199-12-31T23:59:59Z", "por delante", format_time(NOW_US)),
        ("9999-12-31T23:59:59-23:59", "por delante", format_time(NOW_US)),
        ("2026-11-28T07:00:00.001Z", "por delante", format_time(NOW_US)),
    ],
)
def test_a_time_that_is_none_is_refused_with_the_part_that_is_wrong(text: str, part: str, instead: str | None) -> None:
    with pytest.raises(TimeError):
        parse_time(text, NOW_US)
    error = explain(text, NOW_US)
    assert error is not None
    assert part in error.words
    assert error.instead == instead


def test_what_is_shown_instead_is_taken_or_nothing_is_shown() -> None:
    for text in ("1970-01-01", "2199-06-29T21.5Z", "4102444800", "2025-06-29T24:00:00+99", "2014-01-01😀10:00Z"):
        error = explain(text, NOW_US)
        assert error is not None and error.instead is None, text


def test_a_day_ahead_is_the_limit() -> None:
    assert parse_time(format_time(LATEST_US), NOW_US) == LATEST_US
    with pytest.raises(TimeError, match="por delante"):
        parse_time(format_time(LATEST_US + 1000), NOW_US)
    with pytest.raises(TimeError, match="2015"):
        parse_time(format_time(EARLIEST_US - 1000), NOW_US)


def test_another_second_of_the_same_text_is_judged_by_its_own_arrival() -> None:
    text = format_time(LATEST_US + 1000)
    with pytest.raises(TimeError):
        parse_time(text, NOW_US)
    assert parse_time(text, NOW_US + 1000) == LATEST_US + 1000


moments = st.datetimes(datetime(2015, 1, 2), datetime(2026, 11, 26))
offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(moments, offsets)
def test_a_moment_is_the_same_in_every_zone(moment: datetime, zone: timezone) -> None:
    utc = moment.replace(tzinfo=UTC)
    expected = (utc - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    for text in (utc.isoformat(), utc.astimezone(zone).isoformat(), moment.isoformat(), moment.isoformat() + "Z"):
        assert parse_time(text, NOW_US) == expected
        assert parse_time(text.replace("T", " "), NOW_US) == expected
    assert parse_time(utc.isoformat() + "Z", NOW_US) == expected
    if zone.utcoffset(None):
        with pytest.raises(TimeError, match="dos zonas"):
            parse_time(utc.astimezone(zone).isoformat() + "Z", NOW_US)


@given(st.integers(EARLIEST_US // 1000, LATEST_US // 1000))
def test_a_millisecond_survives_being_written_and_read(millis: int) -> None:
    text = format_time(millis * 1000)
    assert len(text) == 24 and text.endswith("Z")
    assert parse_time(text, NOW_US) == millis * 1000


@given(st.integers(EARLIEST_US, LATEST_US))
def test_what_is_shown_is_never_later_than_what_was(micros: int) -> None:
    assert 0 <= micros - parse_time(format_time(micros), NOW_US) < 1000


pieces = st.sampled_from(
    [
        "2025",
        "-06",
        "-29",
        "0629",
        "T",
        "t",
        " ",
        "20",
        ":00",
        "00",
        ":60",
        ".5",
        ",",
        "Z",
        "z",
        "+",
        "-",
        "02",
        "😀",
        "٢",
        "\0",
    ]
)


@given(st.text(max_size=40) | st.lists(pieces, max_size=12).map("".join))
@settings(max_examples=500)
def test_any_text_is_a_time_or_has_an_explanation(text: str) -> None:
    error = explain(text, NOW_US)
    if error is None:
        assert EARLIEST_US <= parse_time(text, NOW_US) <= LATEST_US
    else:
        assert error.words
        assert error.instead is None or explain(error.instead, NOW_US) is None


@given(moments.map(datetime.isoformat), st.integers(0, 30), st.characters())
@settings(max_examples=500)
def test_a_text_with_another_character_is_never_another_time_unless_that_is_a_digit_or_a_sign(
    text: str, at: int, character: str
) -> None:
    assume(character not in "0123456789+-.,:TtZz ")
    with pytest.raises(TimeError):
        parse_time(text[:at] + character + text[at:], NOW_US)


@pytest.mark.parametrize("days", [3, 400])
def test_a_time_is_too_late_only_where_it_is_too_late_for_both_clocks(
    monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """Of a machine whose wall clock has just stepped ahead: nobody knows yet which of the two is right."""
    wall_us = NOW_US
    clock = Clock(lambda: wall_us * 1000, lambda: 0)
    monkeypatch.setattr(times, "CLOCK", clock)
    by_wall = format_time(NOW_US + days * DAY_US)
    assert explain(by_wall, NOW_US) is not None
    wall_us += days * DAY_US
    assert parse_time(by_wall, NOW_US) == NOW_US // 1000 * 1000 + days * DAY_US
    assert explain(by_wall, NOW_US) is None
    assert explain(format_time(NOW_US + (days + 2) * DAY_US), NOW_US) is not None
    wall_us = NOW_US - days * DAY_US
    assert parse_time(format_time(NOW_US + DAY_US - 1_000_000), NOW_US) and explain(by_wall, NOW_US) is not None
