"""`otel-bridge export`: what the journal still has, as files that others read, and that `import` takes back."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from otel_bridge import clock, journal
from otel_bridge.commands.backup import PROGRESS_SECONDS, told_to_end
from otel_bridge.commands.configuration import load
from otel_bridge.commands.export_files import Csv, JsonLines, Parquet, Rows
from otel_bridge.commands.history import event_line, exact_time, rating_line, session_line
from otel_bridge.errors import StartRefused
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.ids import uuid_text
from otel_bridge.journal import Reader, Segment, StoreDamaged, StoreError
from otel_bridge.records import Event, Feedback, Record, Session, decode, part_trace_id
from otel_bridge.times import AHEAD_US, TimeError, parse_time

AT_ONCE = 100
"""Segments that are read at once, at the most."""
SESSIONS_REMEMBERED = 100_000
"""Of which it is known that their line is written. What comes again behind so many others is written again, which an
import takes for the repeat that it is."""
FORMATS: dict[str, Callable[[BinaryIO], Rows]] = {"jsonl": JsonLines, "csv": Csv, "parquet": Parquet}
_AGO = re.compile(r"(\d{1,6})\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class Asked(NamedTuple):
    """Which records: those of a time (from, to before then), and of a GPT (None: of all)."""

    since_us: int
    until_us: int
    gpt: str | None

    def holds(self, at_us: int, gpt: str) -> bool:
        return self.since_us <= at_us < self.until_us and self.gpt in (None, gpt)


def run(arguments: argparse.Namespace) -> int:
    """0; 1 where something could not be read or written."""
    loaded = load(arguments)
    asked = _asked(arguments)
    readers = journal.readers(loaded.journal, CONSUMER)
    counts = {"sesion": 0, "evento": 0, "valoracion": 0}
    damaged = 0
    try:
        with told_to_end(), contextlib.closing(readers), _opened(arguments) as file:
            rows = FORMATS[arguments.format](file)
            lines = _Lines(rows, asked, counts, arguments.format == "jsonl")
            tell = _progress(counts)
            for reader in readers:
                for segment in _segments(reader):
                    if segment.damaged:
                        damaged += segment.size
                        _say_damaged(segment)
                    else:
                        lines.take(reader, segment)
                        tell()
            rows.end()
    except BrokenPipeError:
        raise
    except StoreError as error:
        print(f"otel-bridge: {error.advice}", file=sys.stderr)
        return 1
    except OSError as error:
        place = arguments.output or "la salida estándar"
        print(
            f"otel-bridge: {place}: no se puede escribir: {error.strerror or type(error).__name__}."
            + (" No queda ningún archivo a medias." if arguments.output else ""),
            file=sys.stderr,
        )
        return 1
    said = ", ".join(
        f"{count:,} {one if count == 1 else many}".replace(",", ".")
        for (one, many), count in zip(_NAMES, counts.values(), strict=True)
    )
    print(f"{arguments.output or 'exportado'}: {said}", file=sys.stdout if arguments.output else sys.stderr)
    if damaged:
        print(
            f"{damaged} registros del diario no se pueden leer y faltan (runbook BridgeRecordsParked).", file=sys.stderr
        )
    return 1 if damaged else 0


_NAMES = (("sesión", "sesiones"), ("evento", "eventos"), ("valoración", "valoraciones"))


# --- what is asked for ------------------------------------------------------------------------------------------------


def _asked(arguments: argparse.Namespace) -> Asked:
    """Raises StartRefused."""
    now_us = clock.now_us()
    since_us = _moment("--since", arguments.since, now_us)
    until_us = now_us + AHEAD_US if arguments.until is None else _moment("--until", arguments.until, now_us)
    if since_us >= until_us:
        raise StartRefused(
            f"--since {exact_time(since_us)} no es anterior a --until {exact_time(until_us)}: no pide nada."
        )
    if arguments.format == "parquet" and arguments.output is None:
        raise StartRefused("--format parquet: es un formato binario; di en qué archivo, con --output.")
    return Asked(since_us, until_us, arguments.gpt)


def _moment(option: str, text: str, now_us: int) -> int:
    """Raises StartRefused."""
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return now_us - int(ago[1]) * _SECONDS[ago[2]] * 1_000_000
    with contextlib.suppress(ValueError):
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)  # a day begins somewhere: here in UTC
        return (day - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    try:
        return parse_time(text, now_us)
    except TimeError as error:
        raise StartRefused(
            f"{option}: {error.words}. Se espera una fecha y hora RFC 3339 (2026-01-15T20:00:00Z), un día (2026-01-15, "
            "en UTC) o cuánto hace (7d, 24h, 30m)."
        ) from None


# --- what is read -----------------------------------------------------------------------------------------------------


def _segments(reader: Reader) -> Iterator[Segment]:
    """All segments of a log, in order. Where the rest cannot be read at all, says so and ends."""
    position = 0
    while True:
        try:
            segments = reader.segments(position, AT_ONCE)
        except StoreDamaged as error:
            print(f"otel-bridge: {error.advice}", file=sys.stderr)
            yield Segment(position, 0, 0, 0, b"", damaged=True)
            return
        if not segments:
            return
        yield from segments
        position = segments[-1].last


def _say_damaged(segment: Segment) -> None:
    if segment.size:
        first = segment.last - segment.size + 1
        print(f"registros {first} a {segment.last}: dañados, se saltan", file=sys.stderr)


class _Lines:
    """Makes rows of records. A history file has the session of each of its events, wherever that began: an import needs
    it."""

    def __init__(self, rows: Rows, asked: Asked, counts: dict[str, int], history: bool) -> None:
        self._rows = rows
        self._asked = asked
        self._counts = counts
        self._history = history
        self._written: OrderedDict[bytes, None] = OrderedDict()

    def take(self, reader: Reader, segment: Segment) -> None:
        if segment.arrived_us < self._asked.since_us - AHEAD_US:
            return  # nothing tells of a time that is so far ahead
        for record in decode(segment.body):
            self._record(reader, record)

    def _record(self, reader: Reader, record: Record) -> None:
        asked = self._asked
        if isinstance(record, Session):
            if asked.holds(record.started_us, record.gpt):
                self._session(record.id, record.gpt, record.user, record.started_us)
        elif isinstance(record, Event):
            if asked.holds(record.end_us, record.gpt):
                self._event(reader, record)
        elif isinstance(record, Feedback) and asked.holds(record.arrived_us, record.gpt):
            line = rating_line(record)
            if not self._history:
                line |= _place(record.gpt, record.user, record.session, record.part)
                line |= {"registro": "valoracion", "momento": self._time(record.arrived_us)}
            self._write("valoracion", line)

    def _session(self, session: bytes, gpt: str, user: str, started_us: int) -> None:
        if self._history:
            if session in self._written:
                return
            if len(self._written) >= SESSIONS_REMEMBERED:
                self._written.popitem(last=False)
            self._written[session] = None
            self._write("sesion", session_line(session, gpt, user, started_us))
        else:
            place = _place(gpt, user, session, 0)
            self._write("sesion", {**place, "registro": "sesion", "momento": self._time(started_us)})

    def _event(self, reader: Reader, event: Event) -> None:
        if not self._history:
            line = event_line(event)
            if "herramientas" in line:
                line["herramientas"] = json.dumps(line["herramientas"], ensure_ascii=False)
            line |= _place(event.gpt, event.user, event.session, event.part)
            line |= {"registro": "evento", "momento": self._time(event.end_us)}
            del line["timestamp"]
            self._write("evento", line)
            return
        if event.session in self._written:
            self._written.move_to_end(event.session)
        else:
            row = reader.session(event.session)
            started_us = event.end_us if row is None else row.started_us
            self._session(event.session, event.gpt, event.user, started_us)
        self._write("evento", event_line(event))

    def _time(self, micros: int) -> Any:
        if isinstance(self._rows, Parquet):
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
        return exact_time(micros)

    def _write(self, kind: str, line: dict[str, Any]) -> None:
        self._rows.write(line)
        self._counts[kind] += 1


def _place(gpt: str, user: str, session: bytes, part: int) -> dict[str, str]:
    trace = part_trace_id(session, part).hex()
    return {"gpt_id": gpt, "usuario_hash": user, "sesion_id": uuid_text(session), "trace_id": trace}


# --- where it goes ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(arguments: argparse.Namespace) -> Iterator[BinaryIO]:
    """Standard output, or a file that gets its name when it is whole. Raises StartRefused, OSError."""
    if arguments.output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    file = Path(arguments.output)
    if file.exists() and not file.is_file():
        raise StartRefused(f"{file}: no es un archivo. Nombra uno, o deja que salga por la salida estándar.")
    if os.path.lexists(file) and not arguments.replace:
        raise StartRefused(f"{file}: ya existe; no se ha cambiado nada. Nombra otro, o añade --replace.")
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        # For its owner alone: it is as secret as the journal.
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as written:
            yield written
            written.flush()
            os.fsync(written.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _progress(counts: dict[str, int]) -> Callable[[], None]:
    """Tells somebody who waits at a terminal how far it is."""
    next_line = time.monotonic() + PROGRESS_SECONDS

    def tell() -> None:
        nonlocal next_line
        if sys.stderr.isatty() and time.monotonic() >= next_line:
            next_line = time.monotonic() + PROGRESS_SECONDS
            print(f"{sum(counts.values()):,} registros".replace(",", "."), file=sys.stderr, flush=True)

    return tell
