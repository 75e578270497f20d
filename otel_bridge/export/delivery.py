"""Delivery: from the journal's cursor to the OTLP endpoint, in a process of its own.

                     ┌──────────────────────── ok ───────────────────────────┐
                     ▼                                                       │
    read after cursor ──▶ project ──▶ send once ──▶ ok ───────▶ report, cursor moves
                     ▲                    │───────▶ partial ──▶ park the request, report; smaller ones for a while
                     │                    │───────▶ poison ───▶ halve until it is alone, park it, report
                     │◀── wait ───────────┤───────▶ retry       (nothing moves; Retry-After or back-off)
                     │◀── wait, say so ───┴───────▶ config      (nothing moves)

Nothing is parked on the endpoint's bad days: a record is set aside only where it is refused while another record,
one that was taken before, is taken again right after it. An endpoint that refuses everything is waited for.
Requests go one after the other, so that a session's root never follows its events; while one is answered, the next
is encoded. A request that fails takes back the one behind it.

The process only reads the journal. What it has done it reports to the bridge, whose one writer moves the cursor
with its next commit; a report that is lost with the process means a second delivery, never a lost record. It has a
process of its own so that encoding 60,000 spans a second does not take the interpreter from the answers.
The bridge's side of it is `exporter.py`; what the two say to each other, `pipe.py`.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from otel_bridge.config import Otlp
from otel_bridge.export.otlp import Answer, Transport, connect
from otel_bridge.export.pipe import SINK, Report, Setup, Stop, read_frame, write_frame
from otel_bridge.export.spans import SpanProjection
from otel_bridge.journal.sqlite import SqliteReader
from otel_bridge.journal.store import Parked, Reader, Segment
from otel_bridge.records import Idle, Record, decode, encode

BATCH_SPANS = 2_000
BATCH_BYTES = 2 << 20
"""Of journal; the request is about twice that, and stays under the 4 MiB that gRPC receivers take by default."""
READ_SEGMENTS = 512
"""Segments read at once, where their bytes do not bound that first; single events make small ones."""
IN_FLIGHT = 2
"""Requests under way at once while all goes well: one is encoded while the other is answered."""
POLL_SECONDS = 0.1
LINGER_SECONDS = 0.05
"""Pause after a small batch, so that records which come one by one share requests."""
LINGER_BELOW_SPANS = 256
REPLAY_POLL_SECONDS = 1.0
BACKOFF_SECONDS = (0.25, 15.0)
CONFIG_BACKOFF_SECONDS = (1.0, 30.0)
SUSPECT_AFTER = 4
"""Failures in a row, each of which a bad record could be the cause of, before the batch is halved to find it."""
CONFIRMATIONS = 3
"""Times that a record alone meets a server's error, and a good one is taken after it, before it is parked."""
SMALL_SPANS = 32
"""Spans a request while the endpoint refuses parts of them without saying which."""


class _Ahead:
    """Segments that have been read: what one batch has no room for is where the next one begins."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._cursor = 0
        self._segments: deque[Segment] = deque()

    def after(self, cursor: int) -> Segment | None:
        """The first segment behind a cursor; None where the journal ends there."""
        segments = self._segments
        if segments and segments[0].last == cursor:
            segments.popleft()
        elif self._cursor != cursor:  # a request failed, and it goes on from where that began
            segments.clear()
        if not segments:
            segments.extend(self._reader.segments(cursor, READ_SEGMENTS))
        self._cursor = cursor
        return segments[0] if segments else None


class _Part:
    """Some consecutive records of a batch, and what was said to them if they have been sent."""

    __slots__ = ("high", "low", "refusals", "said")

    def __init__(self, low: int, high: int, said: Answer | None = None, refusals: int = 0) -> None:
        self.low = low
        self.high = high
        self.said = said
        self.refusals = refusals

    def unsent(self) -> _Part:
        return _Part(self.low, self.high, None, self.refusals)


class _Batch:
    """Consecutive segments as one request."""

    __slots__ = ("cursor", "records", "seqs", "unusable")

    def __init__(self) -> None:
        self.cursor = 0
        self.records: list[Record] = []
        self.seqs: list[int] = []
        self.unusable: list[Parked] = []
        """What can never be sent: parked when the rest of the batch is through."""

    def add(self, segment: Segment) -> None:
        self.cursor = segment.last
        records = None if segment.damaged else _decoded(segment.body)
        if records is None:
            words = f"{segment.spans} registros: el segmento no coincide con su suma de comprobación"
            self.unusable.append(
                Parked(segment.last, segment.body, "damaged", words, time.time_ns() // 1000, segment.spans)
            )
            return
        first = segment.last - segment.size + 1
        for i, record in enumerate(records):
            if record.__class__ is not Idle:
                self.records.append(record)
                self.seqs.append(first + i)


def _decoded(body: bytes) -> list[Record] | None:
    try:
        return decode(body)
    except msgspec.DecodeError:
        return None


def _parked(seq: int, record: Record, reason: str, words: str) -> Parked:
    return Parked(seq, encode([record]), reason, words, time.time_ns() // 1000, 1)


_HELD = Answer("retry", "not sent: the request before it failed")


class Delivery:
    """The loop that the picture above draws. One thread; a second one sends while the first encodes."""

    def __init__(
        self,
        reader: Reader,
        projection: SpanProjection,
        transport: Transport,
        report: Callable[[Report], None],
    ) -> None:
        self._reader = reader
        self._ahead = _Ahead(reader)
        self._projection = projection
        self._transport = transport
        self._report = report
        self._cursor = reader.cursor(SINK)
        self._limit = BATCH_SPANS
        self._attempts: Counter[str] = Counter()
        self._failures = 0
        self._suspicions = 0
        self._good: Record | None = None
        """A record that the endpoint has taken: what its health is tried with."""
        self._next_replay = 0.0
        self._trickle = False
        self._hold = False
        """Set by a request that failed: the one that is queued behind it stays here."""
        self._stopping = threading.Event()
        self._deadline = float("inf")
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="otlp-send")

    def stop(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._stopping.set()

    def run(self) -> None:
        """Until stopped: then what waits is delivered, until the deadline or the first failure."""
        while True:
            moved = self._stream()
            if time.monotonic() >= self._next_replay:
                self._replay()
                self._next_replay = time.monotonic() + REPLAY_POLL_SECONDS
            if self._stopping.is_set() and (not moved or time.monotonic() > self._deadline):
                break
            if not moved or self._trickle:
                self._stopping.wait(LINGER_SECONDS if moved else POLL_SECONDS)
        self._sender.shutdown(wait=False, cancel_futures=True)

    # --- reading ----------------------------------------------------------------------------------------------------

    def _read(self, after: int) -> _Batch | None:
        batch, size, spans = _Batch(), 0, 0
        while (segment := self._ahead.after(batch.cursor or after)) is not None:
            if batch.cursor and (spans + segment.spans > self._limit or size + len(segment.body) > BATCH_BYTES):
                return batch
            batch.add(segment)
            spans += segment.spans
            size += len(segment.body)
        return batch if batch.cursor else None

    # --- sending, while all goes well -------------------------------------------------------------------------------

    def _stream(self) -> bool:
        """Delivers with a request encoded while another is answered. False: nothing waits, or it has to wait."""
        flying: list[tuple[_Batch, Future[Answer]]] = []
        after, moved, self._trickle, self._hold = self._cursor, False, False, False
        while True:
            batch = None if self._trickle or time.monotonic() > self._deadline else self._read(after)
            if batch is not None:
                after = batch.cursor
                body = self._project(batch)
                self._trickle = len(batch.records) < min(LINGER_BELOW_SPANS, self._limit)
                if len(batch.records) > self._limit:
                    # One segment, and the endpoint wants less at once. What flies ahead of it comes first.
                    moved = self._land(flying) or moved
                    return (not flying and self._deliver(batch, self._pieces(batch))) or moved
                flying.append((batch, self._sender.submit(self._send_body, body)))
                if len(flying) < IN_FLIGHT:
                    continue
            if not flying:
                return moved
            oldest, future = flying.pop(0)
            answer = self._counted(future.result())
            if answer.kind == "ok":
                self._succeed(oldest, len(oldest.records))
                moved = True
                continue
            for _, behind in flying:  # they were not sent, or not taken; they are read again
                self._counted(behind.result())
            return self._resolve(oldest, answer) or moved

    def _land(self, flying: list[tuple[_Batch, Future[Answer]]]) -> bool:
        """Takes the answers to what flies; what is left in `flying` failed and is read again."""
        moved = False
        while flying:
            answer = self._counted(flying[0][1].result())
            if answer.kind != "ok":
                for _, behind in flying[1:]:
                    self._counted(behind.result())
                self._resolve(flying[0][0], answer)
                return moved
            self._succeed(flying[0][0], len(flying[0][0].records))
            flying.pop(0)
            moved = True
        return moved

    def _pieces(self, batch: _Batch) -> list[_Part]:
        starts = range(0, len(batch.records), self._limit)
        return [_Part(low, min(low + self._limit, len(batch.records))) for low in reversed(starts)]

    def _project(self, batch: _Batch) -> bytes:
        """The request's bytes. A record that cannot be encoded is ours to set aside: it must not stop the rest."""
        try:
            return self._projection.request(batch.records) if batch.records else b""
        except Exception:
            records, seqs = batch.records, batch.seqs
            batch.records, batch.seqs = [], []
            for seq, record in zip(seqs, records, strict=True):
                try:
                    self._projection.request([record])
                except Exception as error:
                    words = f"no se puede codificar: {type(error).__name__}"
                    batch.unusable.append(_parked(seq, record, "unencodable", words))
                else:
                    batch.records.append(record)
                    batch.seqs.append(seq)
            return self._projection.request(batch.records) if batch.records else b""

    def _send_body(self, body: bytes) -> Answer:
        if self._hold:
            return _HELD
        answer = self._transport.send(body) if body else Answer("ok")
        self._hold = answer.kind != "ok"
        return answer

    def _counted(self, answer: Answer) -> Answer:
        if answer is not _HELD:
            self._attempts[answer.kind] += 1
        return answer

    def _send(self, records: Sequence[Record]) -> Answer:
        """One request, now."""
        return self._counted(self._transport.send(self._projection.request(records)) if records else Answer("ok"))

    def _succeed(self, batch: _Batch, exported: int, parked: Sequence[Parked] = (), words: str = "") -> None:
        self._cursor = batch.cursor
        self._failures = self._suspicions = 0
        if exported and not parked:
            self._good = batch.records[-1]
            if self._limit < BATCH_SPANS:
                self._limit = min(BATCH_SPANS, self._limit + max(1, self._limit // 16))
        self._tell(cursor=batch.cursor, exported=exported, parked=[*batch.unusable, *parked], words=words)

    def _tell(self, **what: Any) -> None:
        attempts, self._attempts = dict(self._attempts), Counter()
        self._report(Report(attempts=attempts, **what))

    # --- when it does not ------------------------------------------------------------------------------------------

    def _resolve(self, batch: _Batch, answer: Answer) -> bool:
        """What to do about a batch that was not simply taken. True: the cursor moved."""
        whole = _Part(0, len(batch.records), answer)
        if answer.kind in ("partial", "poison"):
            return self._deliver(batch, [whole])
        if answer.suspicious:
            self._suspicions += 1
            if self._suspicions >= SUSPECT_AFTER:
                return self._deliver(batch, [whole])
        self._wait(answer)
        return False

    def _deliver(self, batch: _Batch, parts: list[_Part]) -> bool:
        """Delivers a batch part by part (the last first), halving those that are refused, until each record is taken
        or parked. What has been taken is not sent again when the endpoint goes away in between.
        False: it refuses everything, or the bridge stops; the batch is read again."""
        exported, parked, words, halved, known = 0, [], "", False, False
        while parts:
            if time.monotonic() > self._deadline:
                return False
            part = parts.pop()
            said = part.said or self._send(batch.records[part.low : part.high])
            words = said.words or words
            if said.kind == "ok":
                exported += part.high - part.low
                self._good = batch.records[part.high - 1]
                self._failures = 0
                continue
            if said.kind == "partial":
                parked += self._part(batch, part, said)
                continue
            well = False
            if said.kind == "poison" or said.suspicious:
                probe = self._probe(batch)
                well = probe.kind == "ok"
                known = known or well  # to take good records: from now on, what fails is tried again where it stands
            if well:
                part.refusals += 1
                if part.high - part.low > 1:
                    halved = True
                    middle = (part.low + part.high) // 2
                    parts += [_Part(middle, part.high), _Part(part.low, middle)]
                    continue
                if said.kind == "poison" or part.refusals >= CONFIRMATIONS:
                    reason = "refused" if said.kind == "poison" else "server-error"
                    parked.append(_parked(batch.seqs[part.low], batch.records[part.low], reason, said.words))
                    continue
            elif said.kind == "poison" or said.suspicious:
                if probe.kind in ("retry", "config") and not probe.suspicious:
                    said = probe
                else:
                    said = Answer("config", f"no acepta ningún registro: {said.words}")
            self._wait(said)
            if self._stopping.is_set() or not (known or exported or parked):
                return False
            parts.append(part.unsent())
        if halved and not parked:
            # Only too large together (413): the next ones start smaller.
            self._limit = max(1, min(self._limit, len(batch.records)) // 2)
        self._succeed(batch, exported, parked, words if parked else "")
        return True

    def _part(self, batch: _Batch, part: _Part, said: Answer) -> list[Parked]:
        """Some were refused, nobody says which, and the specification forbids to ask again: the operator may.

        The next requests are small, so that the next such answer sets fewer aside.
        """
        self._limit = SMALL_SPANS
        words = f"{said.rejected} de {part.high - part.low} rechazados: {said.words}"
        return [_parked(batch.seqs[i], batch.records[i], "partial", words) for i in range(part.low, part.high)]

    def _probe(self, batch: _Batch) -> Answer:
        """Sends a record that is known to be good: unless it is taken now, a refusal says nothing of the refused."""
        said = Answer("poison")
        for candidate in [self._good] if self._good is not None else self._candidates(batch):
            said = self._send([candidate])
            if said.kind == "ok":
                self._good = candidate
                self._failures = 0
                break
            if said.kind in ("retry", "config") and not said.suspicious:
                break
        return said

    def _candidates(self, batch: _Batch) -> list[Record]:
        """What may be good: the last that was delivered before this process, and some of the batch."""
        found: list[Record] = []
        for segment in self._reader.segments(self._cursor - 1, 1) if self._cursor else []:
            if segment.last == self._cursor and not segment.damaged:
                found += [one for one in _decoded(segment.body) or [] if one.__class__ is not Idle][-1:]
        count = len(batch.records)
        if count > 1:
            found += [batch.records[i] for i in sorted({0, count // 3, 2 * count // 3, count - 1})]
        return found

    def _wait(self, answer: Answer) -> None:
        """Nothing moves now: says so, and waits as long as the endpoint asked or the failures so far suggest."""
        low, high = CONFIG_BACKOFF_SECONDS if answer.kind == "config" else BACKOFF_SECONDS
        delay = min(high, low * 2 ** min(self._failures, 16)) * random.uniform(0.75, 1.0)  # noqa: S311
        if answer.retry_after_seconds is not None:
            delay = max(delay, min(answer.retry_after_seconds, 300.0))
        self._failures += 1
        self._tell(state=answer.kind, words=answer.words)
        if self._stopping.is_set():
            self._deadline = 0.0  # a stop does not wait for an endpoint in trouble
        self._stopping.wait(delay)

    # --- what an operator asked to send again -----------------------------------------------------------------------

    def _replay(self) -> None:
        """Sends parked records again, each alone: one that is still refused is parked with its new words."""
        done: list[int] = []
        again: list[Parked] = []
        state, words = "ok", ""
        for parked in self._reader.parked(200, replay_only=True):
            if self._stopping.is_set() and time.monotonic() > self._deadline:
                break
            records = _decoded(parked.body)
            try:
                body = (
                    None if not records else self._projection.request([r for r in records if not isinstance(r, Idle)])
                )
            except Exception:
                body = None
            if body is None:
                again.append(parked._replace(words=parked.words[:400] + " (sigue sin poder leerse)"))
                continue
            answer = self._counted(self._transport.send(body))
            if answer.kind == "ok":
                done.append(parked.seq)
            elif answer.kind in ("poison", "partial") or (
                answer.suspicious and self._good is not None and self._send([self._good]).kind == "ok"
            ):
                again.append(parked._replace(words=answer.words, parked_us=time.time_ns() // 1000))
            else:
                state, words = answer.kind, answer.words
                break
        if done or again or self._attempts:
            self._tell(replayed=done, reparked=again, state=state, words=words)


def run_process() -> int:
    """Entry of the process: set-up on standard input, reports on standard output, logs on standard error."""
    stdin, stdout = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not break the frames
    # A service manager signals every process of its group. When to stop is the bridge's to say: it wants a last flush.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first = read_frame(stdin)
    if first is None:
        return 0
    setup = msgspec.msgpack.decode(first, type=Setup)
    otlp = msgspec.convert(setup.otlp, Otlp)
    delivery = Delivery(
        SqliteReader(Path(setup.journal)),
        SpanProjection(setup.gpts, setup.resource),
        connect(otlp),
        lambda report: write_frame(stdout, report),
    )

    def listen() -> None:
        while (frame := read_frame(stdin)) is not None:
            delivery.stop(msgspec.msgpack.decode(frame, type=Stop).seconds)
        os._exit(0)  # the bridge is gone; its next process goes on from the journal's cursor

    threading.Thread(target=listen, name="bridge", daemon=True).start()
    code = 0
    try:
        delivery.run()
    except BrokenPipeError:
        pass
    except sqlite3.DatabaseError as error:
        print(f"otel-bridge exporter: the journal cannot be read: {error}", file=sys.stderr)  # noqa: T201
        code = 1
    # Reports are flushed one by one. The interpreter's own end would trip over the thread that still listens.
    sys.stderr.flush()
    os._exit(code)
