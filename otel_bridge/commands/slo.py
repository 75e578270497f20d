"""`otel-bridge slo suggest`: what the answers in the journal say about each GPT's objective."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property

import msgspec

from otel_bridge import catalog, clock, journal
from otel_bridge.commands.configuration import load, registered_gpt, table_of
from otel_bridge.commands.spanish import number
from otel_bridge.config import Config, Gpt
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.ids import DAY_US
from otel_bridge.objectives import rules
from otel_bridge.objectives.minutes import MINUTE_US, NICE, Minutes
from otel_bridge.objectives.suggestion import FEWEST_ANSWERS, Suggestion, reachable, suggest
from otel_bridge.records import UNMEASURED_LATENCY, Event, decode

SEGMENTS = 500
"""That are read at once."""
PROGRESS_SECONDS = 1.0
SHORT_DAYS = 7
"""Fewer days than a week say little: weekends are missing."""

ALERTS = "GPTLatencyBudgetBurn (1h, 6h: páginas; 1d, 3d: tickets) y GPTLatencyHigh (ticket)"


class Answers:
    """What is counted of one GPT, and what follows from it."""

    def __init__(self, gpt: Gpt, target: float | None) -> None:
        """`target`: that is asked about; None: the GPT's own."""
        self.gpt = gpt
        self.target = gpt.slo_target if target is None else target
        self.latency = Minutes((*NICE, *catalog.OPERATION_DURATION.buckets, gpt.latency_objective_seconds))
        first_token = gpt.ttft_objective_seconds
        self.first_token = Minutes((*NICE, *(() if first_token is None else (first_token,))))
        self.unmeasured = 0
        self.historic = 0
        """Answers that were brought as history and are left out."""

    def add(self, event: Event, history: bool) -> None:
        """`history`: what was brought as such counts, too. No alert has ever seen it."""
        extras = event.extras
        if extras is not None and extras.historic and not history:
            self.historic += 1
            return
        if extras is not None and extras.ttft_ms is not None:
            self.first_token.add(event.end_us, extras.ttft_ms / 1000)
        if extras is not None and extras.unmeasured & UNMEASURED_LATENCY:
            self.unmeasured += 1
        else:
            self.latency.add(event.end_us, event.latency_ms / 1000, event.error is not None)

    @cached_property
    def of_latency(self) -> Suggestion | None:
        """None: there are no answers."""
        if not self.latency.answers:
            return None
        return suggest(self.latency, rules.latency, self.target, self.gpt.latency_objective_seconds)

    @cached_property
    def of_first_token(self) -> Suggestion | None:
        """None: too few answers tell it."""
        if self.first_token.answers < FEWEST_ANSWERS:
            return None
        return suggest(self.first_token, rules.first_token, self.gpt.ttft_target, self.gpt.ttft_objective_seconds)


def run(arguments: argparse.Namespace) -> int:
    loaded = load(arguments)
    asked = [registered_gpt(loaded, arguments.gpt)] if arguments.gpt else list(loaded.gpts.values())
    answers = {gpt.id: Answers(gpt, arguments.target) for gpt in asked}
    unread = 0
    for event in _events(loaded, clock.now_us() - int(arguments.weeks * 7 * DAY_US)):
        if event is None:
            unread += 1
        elif event.gpt in answers:
            answers[event.gpt].add(event, arguments.history)
    if unread:
        print(f"No se han podido leer {unread} tramos del diario: están dañados.", file=sys.stderr)
    if not arguments.toml:
        for one in answers.values():
            print(*_told(one), sep="\n", end="\n\n")
    pasted = ["\n".join(lines) for one in answers.values() if (lines := _pasted(one))]
    if arguments.toml:
        print("\n\n".join(pasted) if pasted else "# Nada que proponer: sin --toml se dice por qué.")
    elif pasted:
        print("Para otel-bridge.toml:", *pasted, sep="\n\n")
    return 1 if unread else 0


def _events(loaded: Config, since_us: int) -> Iterator[Event | None]:
    """Events that ended since then; None for a segment that cannot be read."""
    read, tell_at = 0, time.monotonic() + PROGRESS_SECONDS
    for reader in journal.readers(loaded.journal, CONSUMER):
        after = 0
        while segments := reader.segments(after, SEGMENTS):
            after = segments[-1].last
            for segment in segments:
                read += segment.size
                if segment.arrived_us >= since_us - DAY_US:  # nothing ends more than a day after it arrived
                    yield from _events_of(segment, since_us)
            if sys.stderr.isatty() and time.monotonic() >= tell_at:
                print(f"\r{number(read, 0)} registros leídos", end="", file=sys.stderr, flush=True)
                tell_at = time.monotonic() + PROGRESS_SECONDS
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _events_of(segment: journal.Segment, since_us: int) -> Iterator[Event | None]:
    try:
        records = [] if segment.damaged else decode(segment.body)
    except msgspec.DecodeError:
        records = []
    if not records:
        yield None
    for record in records:
        if isinstance(record, Event) and record.end_us >= since_us:
            yield record


def _told(one: Answers) -> list[str]:
    gpt, minutes, found = one.gpt, one.latency, one.of_latency
    lines = [f"{gpt.id} ({gpt.name})"]
    if one.unmeasured:
        lines.append(f"  {number(one.unmeasured, 0)} respuestas sin latencia medida: ningún objetivo las juzga.")
    if one.historic:
        lines.append(
            f"  {number(one.historic, 0)} respuestas son historia traída y no se cuentan (--history las cuenta)."
        )
    if found is None:
        return [*lines, "  Ninguna respuesta con latencia en el diario: nada que decir."]
    asked = "." if one.target == gpt.slo_target else f"; aquí se juzga con {_percent(one.target)}."
    lines += [
        f"  {_period(minutes)}; {_percent(minutes.failed / minutes.answers)} con error.",
        f"  Objetivo de hoy: {_seconds(gpt.latency_objective_seconds)} o menos y sin error en el "
        f"{_percent(gpt.slo_target)}{asked}",
        "",
        *_table(found, tuple(burn.window for burn in rules.BURNS), "lento", gpt.latency_objective_seconds),
        "",
        *_verdict(found, minutes),
    ]
    if one.of_first_token is not None:
        told = number(one.first_token.answers, 0)
        lines += [
            "",
            f"  Primer token, con meta {_percent(gpt.ttft_target)} ({told} respuestas lo dicen):",
            "",
            *_table(one.of_first_token, (), "GPTFirstTokenSlow", gpt.ttft_objective_seconds),
        ]
    return lines


def _verdict(found: Suggestion, minutes: Minutes) -> list[str]:
    lines = [f"  Cada columna dice cuántas veces habría avisado {ALERTS}."]
    if minutes.answers < FEWEST_ANSWERS:
        return [*lines, f"  Con menos de {FEWEST_ANSWERS} respuestas no se propone nada."]
    if found.proposed is None:
        if not found.only_errors:
            return [*lines, f"  Ninguno se habría cumplido con meta {_percent(found.target)}."]
        lines.append(
            f"  Los errores solos gastan más que el presupuesto: con meta {_percent(found.target)} no se cumple ningún "
            "objetivo de latencia."
        )
        if (reached := reachable(minutes)) is not None:
            lines.append(f"  Con ellos, la meta puede llegar a {_percent(reached)}: --target {reached}")
        return lines
    seconds, _, budget, fired = found.proposed
    pages = "sin ninguna página"
    if fired.pages:
        loosest = _seconds(found.rows[-1].seconds)
        pages = f"con {_times(fired.pages, 'página')}, tantas como con {loosest}: son incidentes"
    lines.append(f"  Propuesto: {_seconds(seconds)}, el más estricto que se habría cumplido, {pages}.")
    if found.tighter is not None:
        seconds, _, budget, fired = found.tighter
        lines.append(
            f"  Uno más estricto, {_seconds(seconds)}, habría gastado el {_percent(budget)} del presupuesto, con "
            f"{_times(fired.pages, 'página')} y {_times(fired.tickets, 'ticket')}."
        )
    if _days(minutes) < SHORT_DAYS:
        lines.append(f"  Son menos de {SHORT_DAYS} días: repítelo cuando haya una semana entera.")
    return lines


def _pasted(one: Answers) -> list[str]:
    gpt, lines = one.gpt, []
    found, first_token = one.of_latency, one.of_first_token
    if found is not None and found.proposed is not None:
        lines += [
            f"latency_objective_seconds = {found.proposed.seconds}  # era {gpt.latency_objective_seconds}",
            f"slo_target = {found.target}",
        ]
    # Where there is none today, one of the first token would switch an alert on: it is shown in the table alone.
    if gpt.ttft_objective_seconds is not None and first_token is not None and first_token.proposed is not None:
        lines.append(f"ttft_objective_seconds = {first_token.proposed.seconds}  # era {gpt.ttft_objective_seconds}")
    if not lines:
        return []
    # A comment and no header: the table is there already, and has more in it.
    return [f"# {_period(one.latency)}. En su tabla, en lugar de esas líneas: {table_of(gpt.id)}", *lines]


def _table(found: Suggestion, windows: tuple[str, ...], slow: str, today: float | None) -> list[str]:
    rows = [("objetivo", "cumplido", "presupuesto", *windows, slow, "")]
    for row in found.rows:
        marks = [*(["hoy"] if row.seconds == today else []), *(["propuesto"] if row is found.proposed else [])]
        rows.append(
            (
                _seconds(row.seconds), _percent(row.kept), _percent(row.budget),
                *map(str, row.fired.burns), str(row.fired.slow), f"← {', '.join(marks)}" if marks else "",
            )
        )  # fmt: skip
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    return [
        "  ".join(["", *(cell.rjust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]


def _days(minutes: Minutes) -> float:
    return (minutes.last - minutes.first + 1) / 1440


def _period(minutes: Minutes) -> str:
    first, last = (
        datetime.fromtimestamp(minute * MINUTE_US / 1e6, UTC).date() for minute in (minutes.first, minutes.last)
    )
    when = f"el {first}" if first == last else f"del {first} al {last}"
    return f"{number(minutes.answers, 0)} respuestas {when} (UTC)"


def _seconds(seconds: float) -> str:
    return f"{seconds:g} s".replace(".", ",")


def _percent(share: float) -> str:
    """As many digits as tell a target from 100 %; rounded down, so that what was missed does not look kept."""
    percent = 100 * share
    digits = 0 if percent >= 100 else 1 if percent < 90 else 2 if percent < 99.9 else 3
    whole = math.floor(percent * 10**digits + 1e-6)
    return f"{number(whole / 10**digits, digits)} %"


def _times(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
