"""Times as the contract has them: text → microseconds since the Unix epoch (UTC), and back. No I/O.

The grammar is our own: libraries differ in what else they take, and take `T21.5` or `+00000000` for another moment than
was meant. It is RFC 3339, and of ISO 8601 what Python, JavaScript and people write:

date   2025-06-29 or 20250629
       T, t or one space
time   20:00:00, 20:00 or 20; 200000 or 2000; a fraction, after a point or a comma, follows seconds only
zone   Z, z, +02:00, +0200 or +02 (seconds of an offset, which Python writes of old zones, too); none means UTC.
       `+00:00Z` is UTC: the guide's Python class writes it once `utcnow()` is replaced by `now(UTC)`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from otel_bridge.clock import CLOCK
from otel_bridge.ids import DAY_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_US = int(datetime(2015, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
"""Earlier is no time of an assistant: it is a clock that was not set, or seconds taken for milliseconds."""
AHEAD_US = DAY_US
"""How far ahead of its arrival a time may lie: a zone left out (14 hours at the most) and a clock that is fast. Where
the machine's own clock has stepped ahead (clock.py), its time is as good as the bridge's."""

_DATE = re.compile(r"(\d{4})(-?)(\d\d)\2(\d\d)", re.ASCII)
_CLOCK = re.compile(r"(\d\d)(?:(:?)(\d\d)(?:\2(\d\d)(?:[.,](\d+))?)?)?", re.ASCII)
_ZONE = re.compile(r"([Zz])?|([+-])(\d\d)(?::?(\d\d)(?::?(\d\d))?)?([Zz])?", re.ASCII)

_UNITS = {f"{number:03d}": number for number in range(1000)}
_THOUSANDS = {digits: 1000 * number for digits, number in _UNITS.items()}
_SECONDS = {f"{second:02d}": 1_000_000 * second for second in range(60)}


class TimeError(ValueError):
    """Why a text is no time of the contract, for its sender (Spanish)."""

    def __init__(self, words: str, instead: str | None = None) -> None:
        super().__init__(words)
        self.words = words
        self.instead = instead
        """The text as it probably was meant, where that can be told."""


def parse_time(text: str, now_us: int) -> int:
    """The moment that a text names, in microseconds. `now_us`: when it arrived. Raises TimeError for what the grammar
    does not have, for a moment before 2015, and for one that is more than a day ahead."""
    # The two forms that the guide's clients send (…:00.123Z of JavaScript, …:00.123456Z of Python). Times of the
    # same minute share the parsed minute (there are 1,440 in a day, in whatever order they come), and digits are looked
    # up: 0.45 µs instead of 3.
    size = len(text)
    if (size == 24 or size == 27) and text[10:20:3] == "T::." and text[-1] == "Z":
        try:
            micros = _parse_minute(text[:16]) + _SECONDS[text[17:19]] + _THOUSANDS[text[20:23]]
            if size == 27:
                micros += _UNITS[text[23:26]]
        except KeyError:
            micros = _read(text)
    else:
        micros = _read(text)
    return micros if EARLIEST_US <= micros <= now_us + AHEAD_US else _within(micros, now_us)


def explain(text: str, now_us: int) -> TimeError | None:
    """Why a text is refused, with the text that was probably meant only where that would be taken. None: it is not."""
    try:
        _within(_read(text), now_us)  # the whole of it: `parse_time` may have seen the second alone
    except TimeError as error:
        if error.instead is not None and explain(error.instead, now_us) is not None:
            error.instead = None
        return error
    return None


@lru_cache(maxsize=4096)
def _parse_minute(text: str) -> int:
    return _read(text)


def _within(micros: int, now_us: int) -> int:
    if EARLIEST_US <= micros <= now_us + AHEAD_US + CLOCK.ahead_us():
        return micros
    now = format_time(now_us)
    if micros < EARLIEST_US:
        raise TimeError("es anterior a 2015: revisa el reloj y si son segundos o milisegundos", now)
    raise TimeError(f"está más de un día por delante de su llegada ({now}): revisa el reloj y el desfase", now)


# --- the grammar, from left to right ----------------------------------------------------------------------------------


def _read(text: str) -> int:
    """Raises TimeError."""
    date = _DATE.match(text)
    if date is None:
        raise _no_date(text)
    try:
        midnight = datetime(int(date[1]), int(date[3]), int(date[4]), tzinfo=UTC)
    except ValueError:
        raise _no_day(text, int(date[3])) from None
    at = date.end()
    if text[at : at + 1] not in ("T", "t", " "):
        raise _no_separator(text, at, midnight)
    clock = _CLOCK.match(text, at + 1)
    if clock is None:
        raise _no_clock(text, at, midnight)
    second_s = int(clock[1]) * 3_600 + int(clock[3] or 0) * 60 + int(clock[4] or 0)
    if clock[1] > "23" or (clock[3] or "") > "59" or (clock[4] or "") > "59":
        raise _no_hour(midnight, clock, text[clock.end() :])
    zone = _ZONE.fullmatch(text, clock.end())
    if zone is None:
        raise _no_zone(text, clock, midnight + timedelta(seconds=second_s))
    micros = int(clock[5][:6].ljust(6, "0")) if clock[5] else 0
    days = (midnight - _EPOCH).days  # whole numbers: a float is a microsecond off after 2106
    return (days * 86_400 + second_s - _offset(text, zone)) * 1_000_000 + micros


def _no_date(text: str) -> TimeError:
    if text.strip() != text:
        return TimeError("sobran espacios al principio o al final", text.strip())
    return _unix(text) or TimeError("la fecha se escribe AAAA-MM-DD")


def _no_day(text: str, month: int) -> TimeError:
    words = "ese día no existe" if 1 <= month <= 12 else "el mes va de 01 a 12"
    return _unix(text) or TimeError(words)


def _no_separator(text: str, at: int, midnight: datetime) -> TimeError:
    day, rest = midnight.date().isoformat(), text[at:]
    if _ZONE.fullmatch(rest):  # a date alone, as XML and Java write it with its zone
        return TimeError("falta la hora: una fecha sola no es un momento", f"{day}T00:00:00{rest or 'Z'}")
    instead = f"{day}T{re.sub(r'^[^0-9]+', '', rest)}"
    return _unix(text) or TimeError("entre la fecha y la hora va una «T»", instead)


def _no_clock(text: str, at: int, midnight: datetime) -> TimeError:
    rest = text[at + 1 :]
    clock = rest.lstrip(" Tt")
    if clock != rest and clock[:1].isdecimal():
        instead = f"{midnight.date().isoformat()}T{clock}"
        return TimeError("entre la fecha y la hora va una sola «T»", instead)
    return TimeError("la hora se escribe HH:MM:SS, con dos cifras cada parte")


def _unix(text: str) -> TimeError | None:
    """Of seconds, with a fraction or without, milliseconds, microseconds or nanoseconds since 1970."""
    if re.fullmatch(r"\d{10}(\.\d+)?|\d{13}|\d{16}|\d{19}", text, re.ASCII) is None:
        return None
    micros = int(text.replace(".", "").ljust(16, "0")[:16])
    return TimeError("parece una hora Unix, no una fecha y hora", format_time(micros))


def _no_hour(midnight: datetime, clock: re.Match[str], tail: str) -> TimeError:
    hour, minute, second = clock[1], clock[3] or "00", clock[4] or "00"
    midnight_comes = hour == "24" and minute == second == "00" and not int(clock[5] or 0) and _ZONE.fullmatch(tail)
    if midnight_comes and midnight.year < 9999:
        next_day = (midnight + timedelta(days=1)).date().isoformat()
        return TimeError("la hora va de 00 a 23; 24:00 es 00:00 del día siguiente", f"{next_day}T00:00:00{tail}")
    if hour > "23":
        return TimeError("la hora va de 00 a 23")
    if minute > "59":
        return TimeError("los minutos van de 00 a 59")
    if second == "60":
        instead = f"{midnight.date().isoformat()}T{hour}:{minute}:59{tail}"
        return TimeError("los segundos van de 00 a 59; un segundo intercalar (60) se escribe como 59", instead)
    return TimeError("los segundos van de 00 a 59")


def _offset(text: str, zone: re.Match[str]) -> int:
    """The offset from UTC, in seconds. Raises TimeError."""
    sign, hours, minutes, seconds, z = zone.group(2, 3, 4, 5, 6)
    if sign is None:
        return 0
    if int(hours) > 23 or int(minutes or 0) > 59 or int(seconds or 0) > 59:
        raise TimeError("el desfase va de -23:59 a +23:59")
    offset_s = int(hours) * 3_600 + int(minutes or 0) * 60 + int(seconds or 0)
    if z and offset_s:
        raise TimeError("dice dos zonas, un desfase y «Z»: quita una", text[:-1])
    return -offset_s if sign == "-" else offset_s


def _no_zone(text: str, clock: re.Match[str], moment: datetime) -> TimeError:
    tail = text[clock.end() :]
    if text.rstrip() != text:
        return TimeError("sobran espacios al principio o al final", text.rstrip())
    fraction = re.match(r"[.,](\d+)(?=[Zz+-]|$)", tail, re.ASCII)
    if fraction is not None and clock[4] is None:
        # Of an hour or a minute, as ISO 8601 allows and nobody reads alike.
        share = float(f"0.{fraction[1]}") * (3_600 if clock[3] is None else 60)
        meant = (moment + timedelta(seconds=share)).replace(tzinfo=None)
        instead = meant.isoformat() + (tail[fraction.end() :] or "Z")
        return TimeError("una fracción solo puede seguir a los segundos", instead)
    if tail[0] in ".,":
        if clock[4] is None:
            return TimeError("la hora se escribe HH:MM:SS, con dos puntos")
        once = "la fracción de los segundos va una sola vez"
        return TimeError("la fracción de los segundos lleva cifras" if clock[5] is None else once)
    if tail[0].isdecimal() or tail[0] == ":":
        return TimeError("la hora se escribe HH:MM:SS, con dos cifras cada parte, o HHMMSS")
    if tail[:2] in ("ZZ", "Zz", "zZ", "zz"):
        return TimeError("dice la zona dos veces", text[:-1])
    if tail[0] == " " and _ZONE.fullmatch(tail.lstrip()):
        return TimeError("la zona sigue a la hora sin espacio", text[: clock.end()] + tail.lstrip())
    return TimeError("la zona se escribe Z o como +02:00")


# --- and back ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _format_minute(minute: int) -> str:
    return datetime.fromtimestamp(60 * minute, UTC).strftime("%Y-%m-%dT%H:%M:")


_SECOND_TEXTS = [f"{second:02d}" for second in range(60)]
_MILLI_TEXTS = [f".{milli:03d}Z" for milli in range(1000)]


def format_time(micros: int) -> str:
    """Microseconds since the Unix epoch → ISO 8601 in UTC with milliseconds and `Z`."""
    # Answers of the same minute share its text, as `parse_time` shares what it parsed: 0.4 µs instead of 4.
    second = micros // 1_000_000
    return _format_minute(second // 60) + _SECOND_TEXTS[second % 60] + _MILLI_TEXTS[micros // 1000 % 1000]
