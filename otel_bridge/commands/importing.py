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
import gzip
import hashlib
import io
import json
import os
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from uuid import UUID

import msgspec

from otel_bridge import contract, errors
from otel_bridge.commands.api import Answered, Api, PostFailed, shown_url
from otel_bridge.commands.backup import told_to_end
from otel_bridge.commands.client import target
from otel_bridge.contract import MAX_OBJECT_BYTES, EventIn, SessionIn
from otel_bridge.errors import FieldError, Problem, StartRefused, of_system
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


class Line(NamedTuple):
    number: int
    text: bytes


class Refused(NamedTuple):
    number: int
    problem: dict[str, Any]
    """`application/problem+json`: it repeats nothing that the line says."""


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
    source = _Source(arguments.file)
    notes = _Notes(arguments, bridge.url)
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


class _Source:
    """The lines of a file or of standard input, numbered from 1; gzip is recognised by how it begins."""

    def __init__(self, name: str) -> None:
        """Raises StartRefused."""
        self.size: int | None = None
        try:
            self._raw = io.BufferedReader(io.FileIO(0 if name == "-" else name, closefd=name != "-"))
            packed = self._raw.peek(2)[:2] == b"\x1f\x8b"
            if name != "-":
                self.size = os.fstat(self._raw.fileno()).st_size or None
        except OSError as error:
            raise StartRefused(f"{name}: no se puede leer{of_system(error)}") from None
        self._lines = gzip.GzipFile(fileobj=self._raw) if packed else self._raw
        self.read = 0
        """Bytes of what was read, unpacked."""
        self.damaged = False
        self._packed = packed

    def lines(self) -> Iterator[Line]:
        """Whole ones, up to the end or to where the file is `damaged`. Of a line that is longer than any record may be,
        the beginning alone."""
        number = 0
        while text := self._part():
            number += 1
            rest = text
            while not rest.endswith(b"\n") and len(rest) > MAX_OBJECT_BYTES:
                rest = self._part()
            if self.damaged:
                return
            yield Line(number, text)

    def _part(self) -> bytes:
        try:
            text = self._lines.readline(MAX_OBJECT_BYTES + 2)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            self.damaged = True
            return b""
        self.read += len(text)
        return text

    @property
    def share(self) -> float | None:
        """How much of it is read; None: nobody knows."""
        if self.size is None:
            return None
        return min(1.0, (self._raw.tell() if self._packed else self.read) / self.size)

    def close(self) -> None:
        self._raw.close()


class _Notes:
    """How far an import has come, in a file beside what is imported: the lines that are done, what they hash to, and
    what became of them. Also the report, which is as far."""

    def __init__(self, arguments: argparse.Namespace, url: str) -> None:
        """Raises StartRefused."""
        name = arguments.progress or (None if arguments.file == "-" else f"{arguments.file}.progreso")
        self._path = None if name is None else Path(name)
        self._url = shown_url(url)  # a login stays out of the file
        self.lines = 0
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.conflicts: set[str] = set()
        """Sessions that the bridge has otherwise: what names them here is not theirs."""
        self.events: set[str] = set()
        """Events that are refused for that, or that the bridge has otherwise."""
        self._digest = ""
        report_bytes = 0
        if self._path is not None and not arguments.restart:
            report_bytes = self._load()
        self._report: BinaryIO | None = None
        if arguments.report is not None:
            try:
                self._report = os.fdopen(os.open(arguments.report, os.O_CREAT | os.O_RDWR, 0o600), "r+b")
                self._report.truncate(min(report_bytes, os.fstat(self._report.fileno()).st_size))
                self._report.seek(0, os.SEEK_END)
            except OSError as error:
                raise StartRefused(f"--report {arguments.report}: no se puede escribir: {error.strerror}") from None

    def _load(self) -> int:
        """Bytes of the report that stand. Raises StartRefused."""
        assert self._path is not None
        try:
            noted = json.loads(self._path.read_bytes())
            url, report_bytes = str(noted["url"]), int(noted["informe"])
            self.lines, self._digest = int(noted["lineas"]), str(noted["resumen"])
            self.counts.update(noted["cuentas"])
            self.reasons.update(noted["motivos"])
            self.conflicts.update(noted["conflictos"])
            self.events.update(noted["eventos"])
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError):
            raise StartRefused(
                f"{self._path}: no es lo que anota una importación. Añade --restart para empezar por la primera línea, "
                "o nombra otro con --progress."
            ) from None
        if url != self._url:
            raise StartRefused(
                f"{self._path}: lo anotado es de otro puente ({url}), y este es {self._url}. Nombra otro archivo con "
                "--progress para no perderlo, o añade --restart para empezar por la primera línea."
            )
        return report_bytes

    @property
    def refused(self) -> int:
        return self.counts["rechazadas"]

    @property
    def resumes(self) -> str:
        if self._path is None:
            return "lo que ya se tomó se reconoce durante 24 horas y no cuenta dos veces"
        if not self.lines:
            return "empieza por la primera línea, y lo que ya se tomó se reconoce"
        return f"sigue tras la línea {self.lines}, que anota {self._path}"

    def fits(self, digest: str) -> bool:
        """Whether the lines that are done are those that were."""
        return digest == self._digest

    def refuse(self, refused: Refused) -> None:
        problem = refused.problem
        self.counts["rechazadas"] += 1
        self.reasons[reason_of(problem)] += 1
        if self._report is not None:
            self._report.write(msgspec.json.encode({"linea": refused.number, **problem}) + b"\n")

    def done(self, lines: int, digest: str) -> None:
        """A chunk is done up to this line. Raises OSError."""
        self.lines, self._digest = lines, digest
        size = 0
        if self._report is not None:
            self._report.flush()
            size = self._report.tell()
        if self._path is None:
            return
        noted = {
            "url": self._url,
            "lineas": lines,
            "resumen": digest,
            "cuentas": self.counts,
            "motivos": self.reasons,
            "conflictos": sorted(self.conflicts),
            "eventos": sorted(self.events),
            "informe": size,
        }
        part = self._path.with_name(f"{self._path.name}.part")
        part.write_bytes(json.dumps(noted, ensure_ascii=False).encode())
        part.replace(self._path)

    def close(self) -> None:
        if self._report is not None:
            self._report.close()


def reason_of(problem: dict[str, Any]) -> str:
    """A problem's id, and the fields that are wrong."""
    fields = ", ".join(error["campo"] for error in problem.get("errors", ()) if error["campo"])
    slug = str(problem["type"]).rpartition(":")[2]
    return f"{slug} ({fields})" if fields else slug


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
    def __init__(self, api: Api, notes: _Notes, arguments: argparse.Namespace) -> None:
        self._api = api
        self._notes = notes
        self._batch: int = arguments.batch
        self._taken: Counter[str] = Counter()
        """Of the chunk in hand: it counts when the chunk is done."""
        self._shown = 0
        self._began = time.monotonic()
        self._next_line = 0.0
        self._begun_at = 0

    def run(self, source: _Source, pool: ThreadPoolExecutor) -> None:
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
        chunk, number = _Chunk(), self._notes.lines
        for line in lines:
            digest.update(line.text)
            number = line.number
            self._sort(line, chunk)
            if len(chunk) >= self._batch or chunk.size >= CHUNK_BYTES:
                self._send(chunk, pool)
                self._notes.done(number, digest.hexdigest())
                self._tell(source)
                chunk = _Chunk()
        self._send(chunk, pool)
        self._notes.done(number, digest.hexdigest())
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

    def _tell(self, source: _Source, last: bool = False) -> None:
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if now < self._next_line and not (last and terminal):
            return
        self._next_line = now + (BAR_SECONDS if terminal else PLAIN_SECONDS)
        lines, seconds = self._notes.lines, max(1e-3, now - self._began)
        rate = (lines - self._begun_at) / seconds
        said = f"{_number(lines)} líneas, {_number(round(rate))}/s"
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
        before = f" ({_number(self._begun_at)} de ellas, antes)" if self._begun_at else ""
        print(
            f"{name}: {_number(self._notes.lines)} líneas{before}: {_number(counts['nuevas'])} nuevas, "
            f"{_number(counts['repetidas'])} ya estaban, {_number(counts['rechazadas'])} rechazadas"
        )
        loose = self._taken.total()
        if loose:
            print(f"  sin anotar, al menos {_number(loose)} más que llegaron: al repetir la orden, «ya estaban»")
        for reason, count in self._notes.reasons.most_common():
            print(f"  {_number(count)}  {reason}")


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


def _number(value: int) -> str:
    return f"{value:,}".replace(",", ".")
