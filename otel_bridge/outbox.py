"""Delivery: from the journal's cursor to the OTLP endpoint, in a process of its own.

                     ┌──────────────────────── ok ───────────────────────────┐
                     ▼                                                       │
    read after cursor ──▶ project ──▶ send once ──▶ ok ───────▶ report, cursor moves
                     ▲                    │───────▶ partial ──▶ park the batch, report; smaller batches for a while
                     │                    │───────▶ poison ───▶ halve until it is alone, park it, report
                     │◀── wait ───────────┤───────▶ retry       (nothing moves; Retry-After or back-off)
                     │◀── wait, say so ───┴───────▶ config      (nothing moves)

The process only reads the journal. What it has done it reports to the bridge, whose one writer moves the cursor
with its next commit; a report that is lost with the process means a second delivery, never a lost record. It has a
process of its own so that encoding 60,000 spans a second does not take the interpreter from the answers.
`Exporter` is the bridge's side of it: starts it, restarts it, knows its state.
"""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import msgspec

from otel_bridge.config import Gpt, Otlp
from otel_bridge.journal.sqlite import SqliteReader
from otel_bridge.journal.store import Parked, Reader, Segment
from otel_bridge.otlp import Answer, Transport, connect
from otel_bridge.projections.spans import SpanProjection
from otel_bridge.records import Idle, Record, decode, encode

log = logging.getLogger(__name__)

SINK = "otlp"
BATCH_SPANS = 2_000
BATCH_BYTES = 2 << 20
"""Of journal; the request is about twice that, and stays under the 4 MiB that gRPC receivers take by default."""
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


class Setup(msgspec.Struct):
    """What the process is told when it starts."""

    journal: str
    otlp: dict[str, Any]
    gpts: dict[str, Gpt]
    resource: list[tuple[str, str]]


class Report(msgspec.Struct, omit_defaults=True):
    """What the process has done since its last report."""

    cursor: int = 0
    exported: int = 0
    parked: list[Parked] = []
    replayed: list[int] = []
    reparked: list[Parked] = []
    attempts: dict[str, int] = {}
    state: str = "ok"
    words: str = ""


class Stop(msgspec.Struct):
    """Deliver what can be delivered within `seconds`, then end."""

    seconds: float


def _write_frame(stream: IO[bytes], value: Any) -> None:
    body = msgspec.msgpack.encode(value)
    stream.write(struct.pack("<I", len(body)) + body)
    stream.flush()


def _read_frame(stream: IO[bytes]) -> bytes | None:
    head = stream.read(4)
    if len(head) < 4:
        return None
    size = struct.unpack("<I", head)[0]
    body = stream.read(size)
    return body if len(body) == size else None


# --- the process --------------------------------------------------------------------------------------------------


class _Batch:
    """Consecutive segments as one request."""

    __slots__ = ("cursor", "damaged", "records", "seqs")

    def __init__(self) -> None:
        self.cursor = 0
        self.records: list[Record] = []
        self.seqs: list[int] = []
        self.damaged: list[Parked] = []

    def add(self, segment: Segment) -> None:
        self.cursor = segment.last
        records = None if segment.damaged else _decoded(segment.body)
        if records is None:
            words = f"{segment.spans} registros: el segmento no coincide con su suma de comprobación"
            self.damaged.append(
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


class Delivery:
    """The loop that the picture above draws. One thread; `send` may be called from a few more."""

    def __init__(
        self,
        reader: Reader,
        projection: SpanProjection,
        transport: Transport,
        report: Callable[[Report], None],
    ) -> None:
        self._reader = reader
        self._projection = projection
        self._transport = transport
        self._report = report
        self._cursor = reader.cursor(SINK)
        self._limit = BATCH_SPANS
        self._attempts: Counter[str] = Counter()
        self._failures = 0
        self._suspicions = 0
        self._next_replay = 0.0
        self._trickle = False
        self._stopping = threading.Event()
        self._deadline = float("inf")
        self._senders = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="otlp-send")

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
        self._senders.shutdown(wait=False, cancel_futures=True)

    # --- reading ----------------------------------------------------------------------------------------------------

    def _read(self, after: int) -> _Batch | None:
        batch, size, spans = _Batch(), 0, 0
        segments = self._reader.segments(after, 64)
        while segments:
            for segment in segments:
                if batch.cursor and (spans + segment.spans > self._limit or size + len(segment.body) > BATCH_BYTES):
                    return batch
                batch.add(segment)
                spans += segment.spans
                size += len(segment.body)
            segments = self._reader.segments(batch.cursor, 512)
        return batch if batch.cursor else None

    # --- sending ----------------------------------------------------------------------------------------------------

    def _send(self, records: list[Record]) -> Answer:
        if not records:
            return Answer("ok")
        answer = self._transport.send(self._projection.request(records))
        self._attempts[answer.kind] += 1
        return answer

    def _stream(self) -> bool:
        """Delivers while all goes well, with a request encoded while another is answered. False: nothing waits,
        or it has to wait."""
        flying: list[tuple[_Batch, Future[Answer]]] = []
        after, moved, self._trickle = self._cursor, False, False
        while True:
            batch = None if self._trickle or time.monotonic() > self._deadline else self._read(after)
            if batch is not None:
                after = batch.cursor
                self._trickle = len(batch.records) < min(LINGER_BELOW_SPANS, self._limit)
                body = self._projection.request(batch.records) if batch.records else b""
                flying.append((batch, self._senders.submit(self._send_body, body)))
                if len(flying) < IN_FLIGHT:
                    continue
            if not flying:
                return moved
            oldest, future = flying.pop(0)
            answer = self._counted(future.result(), oldest)
            if answer.kind == "ok" and not oldest.damaged:
                self._succeed(oldest, len(oldest.records))
                moved = True
                continue
            # What follows is in flight already; a repeat of it is recognised by its ids.
            for other, other_future in flying:
                self._counted(other_future.result(), other)
            return self._resolve(oldest, answer) or moved

    def _send_body(self, body: bytes) -> Answer:
        return self._transport.send(body) if body else Answer("ok")

    def _counted(self, answer: Answer, batch: _Batch) -> Answer:
        if batch.records:
            self._attempts[answer.kind] += 1
        return answer

    def _succeed(self, batch: _Batch, exported: int, parked: list[Parked] | None = None, words: str = "") -> None:
        self._cursor = batch.cursor
        self._failures = self._suspicions = 0
        if self._limit < BATCH_SPANS and not parked:
            self._limit = min(BATCH_SPANS, self._limit + max(1, self._limit // 16))
        self._tell(cursor=batch.cursor, exported=exported, parked=[*batch.damaged, *(parked or [])], words=words)

    def _tell(self, **what: Any) -> None:
        attempts, self._attempts = dict(self._attempts), Counter()
        self._report(Report(attempts=attempts, **what))

    def _resolve(self, batch: _Batch, answer: Answer) -> bool:
        """What to do about a batch that was not simply taken. True: the cursor moved."""
        if answer.kind == "ok":
            self._succeed(batch, len(batch.records))
            return True
        if answer.kind == "partial":
            return self._part(batch, answer)
        if answer.kind == "poison":
            return self._halve(batch, answer, suspects=False)
        if answer.suspicious:
            self._suspicions += 1
            if self._suspicions >= SUSPECT_AFTER and len(batch.records) > 1:
                return self._halve(batch, answer, suspects=True)
        self._wait(answer)
        return False

    def _part(self, batch: _Batch, answer: Answer) -> bool:
        """Some were refused, nobody says which, and the specification forbids to ask again: the operator may.

        The next batches are small, so that the next such answer sets fewer aside.
        """
        words = f"{answer.rejected} de {len(batch.records)} rechazados: {answer.words}"
        parked = [
            self._park(seq, record, "partial", words) for seq, record in zip(batch.seqs, batch.records, strict=True)
        ]
        self._limit = 32
        self._succeed(batch, 0, parked, words)
        return True

    def _halve(self, batch: _Batch, answer: Answer, suspects: bool) -> bool:
        """Finds the records that are refused, parks them and delivers the rest. False: the endpoint stopped answering.

        With `suspects`, a failure is taken for a refusal only while other parts of the same batch succeed: an
        endpoint that fails for everything is in trouble itself, and nothing is parked for that.
        """
        exported, parked, alone = 0, [], []
        parts = [(0, len(batch.records), answer)]
        while parts:
            start, end, said = parts.pop()
            if end - start == 1:
                alone.append((start, said))
                continue
            middle = (start + end) // 2
            for low, high in ((middle, end), (start, middle)):
                said = self._send(batch.records[low:high])
                if said.kind == "ok":
                    exported += high - low
                elif said.kind == "partial":
                    words = f"{said.rejected} de {high - low} rechazados: {said.words}"
                    parked += [self._park(batch.seqs[i], batch.records[i], "partial", words) for i in range(low, high)]
                elif said.kind == "poison" or (suspects and said.suspicious):
                    parts.append((low, high, said))
                else:
                    self._wait(said)
                    return False
        if suspects and not exported and not parked:
            self._suspicions = 0
            self._wait(answer)
            return False
        for i, said in alone:
            reason = "refused" if said.kind == "poison" else "server-error"
            parked.append(self._park(batch.seqs[i], batch.records[i], reason, said.words))
        if not alone:
            # Only too large together (413): the next ones start smaller.
            self._limit = max(1, min(self._limit, len(batch.records)) // 2)
        self._succeed(batch, exported, parked, answer.words)
        return True

    def _park(self, seq: int, record: Record, reason: str, words: str) -> Parked:
        return Parked(seq, encode([record]), reason, words, time.time_ns() // 1000, 1)

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
        for parked in self._reader.parked(200, replay_only=True):
            records = _decoded(parked.body)
            if not records:
                again.append(parked._replace(words=f"ilegible: {parked.words}"))
                continue
            answer = self._send([record for record in records if record.__class__ is not Idle])
            if answer.kind == "ok":
                done.append(parked.seq)
            elif answer.kind in ("poison", "partial"):
                again.append(parked._replace(words=answer.words, parked_us=time.time_ns() // 1000))
            else:
                break
        if done or again:
            self._tell(replayed=done, reparked=again)


def run_process() -> int:
    """Entry of the process: set-up on standard input, reports on standard output, logs on standard error."""
    stdin, stdout = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not break the frames
    first = _read_frame(stdin)
    if first is None:
        return 0
    setup = msgspec.msgpack.decode(first, type=Setup)
    otlp = msgspec.convert(setup.otlp, Otlp)
    delivery = Delivery(
        SqliteReader(Path(setup.journal)),
        SpanProjection(setup.gpts, setup.resource),
        connect(otlp),
        lambda report: _write_frame(stdout, report),
    )

    def listen() -> None:
        frame = _read_frame(stdin)
        if frame is None:
            os._exit(0)  # the bridge is gone; its next process goes on from the journal's cursor
        delivery.stop(msgspec.msgpack.decode(frame, type=Stop).seconds)

    threading.Thread(target=listen, name="bridge", daemon=True).start()
    try:
        delivery.run()
    except BrokenPipeError:
        return 0
    except sqlite3.DatabaseError as error:
        print(f"otel-bridge exporter: the journal cannot be read: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


# --- the bridge's side ----------------------------------------------------------------------------------------------


class Exporter:
    """Keeps the delivery process running and hands its reports on. `run` is a supervised worker's body."""

    def __init__(
        self,
        journal: Path,
        otlp: Otlp,
        gpts: dict[str, Gpt],
        resource: tuple[tuple[str, str], ...],
        on_report: Callable[[Report], None],
    ) -> None:
        self._setup = Setup(str(journal), msgspec.to_builtins(otlp), gpts, list(resource))
        self._on_report = on_report
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self.state = "starting"
        self.words = ""
        self.attempts: Counter[str] = Counter()

    def configure(self, gpts: dict[str, Gpt]) -> None:
        """Takes on a new registry of GPTs: the process is started anew with it."""
        self._setup.gpts = gpts
        if self._process is not None:
            self._process.terminate()

    def run(self) -> None:
        """Until the process ends. Raises RuntimeError where that was not asked for."""
        process = subprocess.Popen(
            [sys.executable, "-m", "otel_bridge", "export-process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C in a terminal goes to the whole group; the bridge alone decides when this process stops.
            start_new_session=True,
        )
        self._process = process
        assert process.stdin is not None and process.stdout is not None
        try:
            _write_frame(process.stdin, self._setup)
            while (frame := _read_frame(process.stdout)) is not None:
                self._take(msgspec.msgpack.decode(frame, type=Report))
        finally:
            process.stdin.close()
            code = process.wait()
            process.stdout.close()
            self._process = None
        if not self._stopping:
            self.state = "restarting"
            raise RuntimeError(f"the export process ended with code {code}")

    def _take(self, report: Report) -> None:
        self.state, self.words = report.state, report.words
        self.attempts.update(report.attempts)
        self._on_report(report)

    def stop(self, seconds: float) -> None:
        """Asks for a last flush; `run` returns when it is over, or the process is ended after `seconds` more."""
        self._stopping = True
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            _write_frame(process.stdin, Stop(seconds))
        except (OSError, ValueError):
            return
        try:
            process.wait(seconds + 2)
        except subprocess.TimeoutExpired:
            process.kill()
