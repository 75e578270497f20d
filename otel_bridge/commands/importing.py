"""`otel-bridge import`: a file of history, posted to a running bridge.

Over HTTP, since that is the one door: what is checked, redacted, hashed, limited and recognised as a repeat there is so
here, whoever runs the command and wherever (docs/decisions/0019-history.md).

    file ──lines──▶ a chunk: sessions ──several connections──▶ events, one batch ──▶ ratings ──▶ progress is noted
                                                                           └──▶ report: what was refused

A chunk is done when all of it is answered. Whatever was answered before a kill and not noted is sent again, and is a
repeat by its id or its content. A key that does not open a GPT, or a GPT that is not registered, is no fault of a line:
it ends the import before the chunk is noted.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import msgspec

from otel_bridge import contract, errors
from otel_bridge.commands.api import Answered, Api, PostFailed
from otel_bridge.commands.backup import told_to_end
from otel_bridge.commands.client import target
from otel_bridge.commands.import_file import Line, Source
from otel_bridge.commands.import_notes import Notes, Refused
from otel_bridge.commands.spanish import number
from otel_bridge.contract import MAX_OBJECT_BYTES, EventIn, SessionIn
from otel_bridge.errors import FieldError, Problem, StartRefused
from otel_bridge.logs import one_line

HISTORY = {"Otel-Bridge-Historial": "1"}
CHUNK_BYTES = 4 << 20
"""Of lines that are in hand together: half of what a batch may have."""
SHOWN = 20
"""Refused lines that are told on the terminal; `--report` has all of them."""
CONFLICTS_REMEMBERED = 10_000
"""Sessions that are another's already: past so many the file is not for this bridge."""
EVENTS_REMEMBERED = 100_000
"""Events that such sessions have in the file, and those that are another's already: nothing that rates them counts."""
PLAIN_SECONDS = 10.0
BAR_SECONDS = 0.2
BAR = 24
_OTHER_SESSION = (
    "«sesion_id» es de una sesión de este archivo que se rechazó con 409: el puente ya la tenía, y era otra."
)
_OTHER_EVENT = "«evento_id» es de un evento de este archivo que se rechazó con 409: el que el puente tiene es otro."


class _Ids(msgspec.Struct):
    """What tells the lines apart. Whatever is of another type is for the bridge to refuse."""

    gpt_id: Any = None
    sesion_id: Any = None
    evento_id: Any = None
    id: Any = None
    timestamp: Any = None


_ids = msgspec.json.Decoder(_Ids)


def run(arguments: argparse.Namespace) -> int:
    """0; 1 where something was refused, the bridge does not answer or the file ends in the middle."""
    arguments.gpt = None
    bridge = target(arguments)
    source = Source(arguments.file)
    notes = Notes(arguments, bridge.url)
    api = Api(bridge.url, bridge.key, arguments.patience, arguments.connections, bridge.verify)
    importer = _Import(api, notes, arguments)
    code, advice = 0, "Repite la misma orden: {}."
    try:
        with told_to_end(), ThreadPoolExecutor(arguments.connections) as pool:
            importer.run(source, pool)
    except PostFailed as failure:
        print(f"\notel-bridge: {failure}", file=sys.stderr)
        code = 1
    except _Damaged:
        print(
            f"\notel-bridge: {arguments.file}: el gzip está cortado o dañado tras la línea {notes.lines}. "
            "Lo anterior está enviado; falta lo que sigue.",
            file=sys.stderr,
        )
        code, advice = 1, "Consigue el archivo entero e impórtalo con la misma orden: {}."
    except KeyboardInterrupt:
        print("\ninterrumpido", file=sys.stderr)
        code = 130
    finally:
        source.close()
        notes.close()
    if code:
        print(advice.format(notes.resumes), file=sys.stderr)
    importer.summary(arguments.file)
    return code or (1 if notes.refused else 0)


class _Damaged(Exception):
    """The file ends in the middle, or what follows cannot be unpacked."""


class _Chunk:
    """Lines that are sent together."""

    def __init__(self) -> None:
        self.sessions: list[Line] = []
        self.events: list[Line] = []
        self.ratings: list[tuple[Line, str]] = []
        self.refused: list[Refused] = []
        self.size = 0

    def __len__(self) -> int:
        return len(self.sessions) + len(self.events) + len(self.ratings) + len(self.refused)


class _Import:
    def __init__(self, api: Api, notes: Notes, arguments: argparse.Namespace) -> None:
        self._api = api
        self._notes = notes
        self._batch: int = arguments.batch
        self._taken: Counter[str] = Counter()
        """Of the chunk in hand: it counts when the chunk is done."""
        self._shown = 0
        self._began = time.monotonic()
        self._next_line = 0.0
        self._begun_at = 0

    def run(self, source: Source, pool: ThreadPoolExecutor) -> None:
        """Raises PostFailed, _Damaged."""
        lines = source.lines()
        digest = hashlib.blake2b(digest_size=16)
        if self._notes.lines:
            self._skip(lines, digest)
            if not self._notes.fits(digest.hexdigest()):
                raise StartRefused(
                    "el archivo no es el que estaba a medias: sus primeras líneas son otras. Añade --restart para "
                    "empezar por la primera línea."
                )
            print(f"sigue tras la línea {self._notes.lines}", file=sys.stderr)
        self._begun_at = self._notes.lines
        chunk, last = _Chunk(), self._notes.lines
        for line in lines:
            digest.update(line.text)
            last = line.number
            self._sort(line, chunk)
            if len(chunk) >= self._batch or chunk.size >= CHUNK_BYTES:
                self._send(chunk, pool)
                self._notes.done(last, digest.hexdigest())
                self._tell(source)
                chunk = _Chunk()
        self._send(chunk, pool)
        self._notes.done(last, digest.hexdigest())
        self._tell(source, last=True)
        if source.damaged:
            raise _Damaged

    def _skip(self, lines: Iterator[Line], digest: Any) -> None:
        for line in lines:
            digest.update(line.text)
            if line.number == self._notes.lines:
                return

    # --- lines --------------------------------------------------------------------------------------------------------

    def _sort(self, line: Line, chunk: _Chunk) -> None:
        """Puts a line where it is sent from, or says what is wrong with it that no bridge need be asked."""
        text = line.text.strip(b" \t\r\n\xef\xbb\xbf" if line.number == 1 else b" \t\r\n")
        if not text:
            return
        line = Line(line.number, text)
        chunk.size += len(text)
        if len(text) > MAX_OBJECT_BYTES:
            chunk.refused.append(_refused(line, Problem(errors.BODY_TOO_LARGE, "La línea supera 1 MiB.")))
            return
        try:
            ids = _ids.decode(text)
        except contract.BROKEN:
            chunk.refused.append(_refused(line, _diagnosed(text)))
            return
        if ids.sesion_id is not None:
            if ids.timestamp is None:
                chunk.refused.append(_refused(line, _NO_TIME))
            else:
                chunk.events.append(line)
        elif ids.evento_id is not None:
            if _is_uuid(ids.evento_id):
                chunk.ratings.append((line, ids.evento_id))
            else:
                chunk.refused.append(_refused(line, _NO_EVENT))
        else:
            chunk.sessions.append(line)

    # --- sending ------------------------------------------------------------------------------------------------------

    def _send(self, chunk: _Chunk, pool: ThreadPoolExecutor) -> None:
        """Raises PostFailed."""
        found = list(chunk.refused)
        for line, answer in zip(chunk.sessions, pool.map(self._session, chunk.sessions), strict=True):
            self._took(line, answer, found)
            if answer.status == 409:
                self._remember_conflict(line)
        events = chunk.events
        if self._notes.conflicts:
            events = [line for line in events if not self._is_conflicts(line, found)]
        for start in range(0, len(events), self._batch):
            self._events(events[start : start + self._batch], found)
        ratings = [rating for rating in chunk.ratings if not self._is_of_conflict(rating, found)]
        for (line, _), answer in zip(ratings, pool.map(self._rating, ratings), strict=True):
            self._took(line, answer, found)
        self._notes.counts.update(self._taken)
        self._taken.clear()
        for refused in sorted(found, key=lambda one: one.number):
            self._notes.refuse(refused)
            self._show(refused)

    def _session(self, line: Line) -> Answered:
        headers = dict(HISTORY)
        if _ids.decode(line.text).id is None:  # the line is what a repeat of it is recognised by
            headers["Idempotency-Key"] = f"import-{hashlib.blake2b(line.text, digest_size=16).hexdigest()}"
        return self._api.send("/sessions", line.text, headers)

    def _rating(self, rating: tuple[Line, str]) -> Answered:
        return self._api.send(f"/events/{rating[1]}/valoracion", rating[0].text, HISTORY)

    def _events(self, lines: Sequence[Line], found: list[Refused]) -> None:
        """One batch. Where a limit is smaller than it, in parts. Raises PostFailed."""
        body = b"[" + b",\n".join(line.text for line in lines) + b"]"
        answer = self._api.send("/events", body, HISTORY, len(lines))
        if answer.status == 429 and answer.limit is not None:
            for start in range(0, len(lines), answer.limit):
                self._events(lines[start : start + answer.limit], found)
            return
        if answer.status in (200, 201, 207):
            results = answer.document["resultados"]
            for line, result in zip(lines, results, strict=True):
                if "error" in result:
                    self._raise_if_of_all(line, result["error"])
                    if result["error"]["type"] == errors.ID_CONFLICT.type:
                        self._remember_event(line)
                    found.append(Refused(line.number, result["error"]))
                else:
                    self._taken["nuevas" if result["estado"] == 201 else "repetidas"] += 1
            return
        self._raise_if_of_all(lines[0], answer.document)
        found += [Refused(line.number, answer.document) for line in lines]

    def _took(self, line: Line, answer: Answered, found: list[Refused]) -> None:
        if answer.status in (200, 201):
            self._taken["nuevas" if answer.status == 201 else "repetidas"] += 1
        else:
            self._raise_if_of_all(line, answer.document)
            found.append(Refused(line.number, answer.document))

    def _raise_if_of_all(self, line: Line, problem: dict[str, Any]) -> None:
        """A refusal that says nothing of the line: every other of this GPT would get it. Raises PostFailed."""
        gpt = _ids.decode(line.text).gpt_id
        of_gpt = f" (GPT «{one_line(gpt)}»)" if isinstance(gpt, str) else ""
        if problem.get("status") in (401, 403):
            todo = "Pon la clave de ese GPT en GPT_API_KEY"
        elif problem.get("type") == errors.GPT_NOT_FOUND.type:
            todo = "Registra ese GPT en la configuración del puente ([gpts.…])"
        else:
            return
        raise PostFailed(
            f"línea {line.number}{of_gpt}: {_words(problem)} La importación se detiene aquí. {todo}, o aparta sus "
            "líneas en otro archivo."
        )

    def _remember_conflict(self, line: Line) -> None:
        self._notes.conflicts.add(str(_ids.decode(line.text).id).lower())
        if len(self._notes.conflicts) > CONFLICTS_REMEMBERED:
            raise PostFailed(
                f"más de {CONFLICTS_REMEMBERED} sesiones del archivo ya están en el puente y son otras. ¿Salió el "
                "archivo de este mismo puente?"
            )

    def _is_conflicts(self, line: Line, found: list[Refused]) -> bool:
        if str(_ids.decode(line.text).sesion_id).lower() not in self._notes.conflicts:
            return False
        self._remember_event(line)
        found.append(_refused(line, Problem(errors.ID_CONFLICT, _OTHER_SESSION)))
        return True

    def _remember_event(self, line: Line) -> None:
        id_ = _ids.decode(line.text).id
        if id_ is None:
            return
        self._notes.events.add(str(id_).lower())
        if len(self._notes.events) > EVENTS_REMEMBERED:
            raise PostFailed(
                f"más de {EVENTS_REMEMBERED} eventos del archivo son de sesiones que ya están en el puente y son "
                "otras. ¿Salió el archivo de este mismo puente?"
            )

    def _is_of_conflict(self, rating: tuple[Line, str], found: list[Refused]) -> bool:
        line, event = rating
        if event.lower() not in self._notes.events:
            return False
        found.append(_refused(line, Problem(errors.ID_CONFLICT, _OTHER_EVENT)))
        return True

    # --- telling ------------------------------------------------------------------------------------------------------

    def _show(self, refused: Refused) -> None:
        self._shown += 1
        if self._shown > SHOWN:
            return
        clear = "\r\x1b[K" if sys.stderr.isatty() else ""
        print(f"{clear}línea {refused.number}: {_words(refused.problem)}", file=sys.stderr)
        if self._shown == SHOWN:
            print("Las demás rechazadas no se muestran: --report las escribe todas.", file=sys.stderr)

    def _tell(self, source: Source, last: bool = False) -> None:
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if now < self._next_line and not (last and terminal):
            return
        self._next_line = now + (BAR_SECONDS if terminal else PLAIN_SECONDS)
        lines, seconds = self._notes.lines, max(1e-3, now - self._began)
        rate = (lines - self._begun_at) / seconds
        said = f"{number(lines)} líneas, {number(round(rate))}/s"
        if self._api.retries:
            said += f", {self._api.retries} esperas"
        share = source.share
        if share is not None:
            bar = "█" * round(BAR * share) + "░" * (BAR - round(BAR * share))
            said = f"{bar} {share:4.0%}  {said}" if terminal else f"{share:.0%}, {said}"
        if terminal:
            print(f"\r\x1b[K{said}", end="\n" if last else "", file=sys.stderr, flush=True)
        else:
            print(said, file=sys.stderr, flush=True)

    def summary(self, name: str) -> None:
        counts = self._notes.counts
        before = f" ({number(self._begun_at)} de ellas, antes)" if self._begun_at else ""
        print(
            f"{name}: {number(self._notes.lines)} líneas{before}: {number(counts['nuevas'])} nuevas, "
            f"{number(counts['repetidas'])} ya estaban, {number(counts['rechazadas'])} rechazadas"
        )
        loose = self._taken.total()
        if loose:
            print(f"  sin anotar, al menos {number(loose)} más que llegaron: al repetir la orden, «ya estaban»")
        for reason, count in self._notes.reasons.most_common():
            print(f"  {number(count)}  {reason}")


_NO_TIME = Problem(
    errors.INVALID_DATA,
    "Revisa: «timestamp».",
    [
        FieldError(
            "timestamp",
            "falta este campo; en la historia dice cuándo pasó, y es lo que hace reconocible la línea",
            "falta",
            "2025-06-29T20:00:00.000Z",
        )
    ],
)
_NO_EVENT = Problem(
    errors.INVALID_DATA,
    "Revisa: «evento_id».",
    [FieldError("evento_id", "se espera un UUID", "valor", "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f")],
)


def _is_uuid(value: object) -> bool:
    try:
        msgspec.convert(value, UUID)
    except msgspec.ValidationError:
        return False
    return True


def _refused(line: Line, problem: Problem) -> Refused:
    return Refused(line.number, msgspec.to_builtins(problem.document()))


def _diagnosed(text: bytes) -> Problem:
    """Why a line is no record, by the words of the API."""
    if b'"sesion_id"' in text:
        return contract.diagnose(text, EventIn)
    return contract.diagnose(text, SessionIn)


def _words(problem: dict[str, Any]) -> str:
    fields = "; ".join(f"{error['campo']}: {error['mensaje']}" for error in problem.get("errors", ()))
    return f"{problem['title']}. {fields or problem.get('detail', '')}"
