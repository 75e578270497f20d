"""The queue and the thread that empties it.

- A session goes before its events, and those before their ratings and the session's end. If the bridge is away, all
  wait.
- Every record has an id made here, so that sending it again is safe: what was queued is delivered once.
- The queue is bounded, in records and in bytes. When it is full the newcomer is dropped: what stands in front of it
  may have been sent already, and sessions stand before their events.
- Whatever is dropped is counted, told (`on_drop`) and logged.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Iterable
from typing import Any, Callable

from otel_bridge_client.notes import Notes
from otel_bridge_client.pace import Pace
from otel_bridge_client.records import END, EVENT, RATING, SESSION, Record
from otel_bridge_client.replies import Reply, cause, detail, transient
from otel_bridge_client.stats import Stats
from otel_bridge_client.transport import Transport

MAX_BATCH_BYTES = 4 << 20
"""Bytes of one batch; the bridge takes 8 MiB."""
REPEAT_HORIZON_SECONDS = 20 * 3600
"""The bridge recognises a repeated event for 24 hours: what was first tried longer ago is not sent again, for it could
be counted twice."""
MAX_REFUSED_SESSIONS = 10_000
SESSION_NOT_FOUND = "urn:otel-bridge:sesion-no-encontrada"
HINTS = {
    "no_usage": ": the answer does not say its tokens; a stream of Chat Completions does with "
    'stream_options={"include_usage": True}, else give `count`'
}

Problem = dict[str, Any]
DropCallback = Callable[[str, str, "Problem | None"], None]
"""(id of the record, reason, the bridge's problem document if it gave one)"""


class Delivery:
    """Every method may be called from any thread."""

    def __init__(
        self,
        transport: Transport | None,
        *,
        flush_interval: float,
        batch_size: int,
        max_queue: int,
        max_queue_bytes: int,
        on_drop: DropCallback | None,
    ) -> None:
        """Without a transport every record is dropped."""
        self.flush_interval = flush_interval
        self.batch_size = max(1, batch_size)
        self.max_queue = max_queue
        self.max_queue_bytes = max_queue_bytes
        self.on_drop = on_drop
        self._transport = transport
        self.reset()

    def reset(self) -> None:
        """An empty queue: after a fork, what was queued before is the parent's to send."""
        self.notes = Notes()
        self.sent = self.retries = 0
        self.thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._queue: collections.deque[Record] = collections.deque()
        self._bytes = 0
        self._in_flight = 0
        self._closed = False
        self._over = False
        self._stop_at: float | None = None
        self._hurry_until = 0.0
        self._pace = Pace(self.batch_size)
        self._refused: collections.OrderedDict[str, Problem | None] = collections.OrderedDict()
        self._lost: collections.OrderedDict[str, None] = collections.OrderedDict()
        self._settled = 0
        if self._transport is not None:
            self._transport.forget()

    @property
    def pending(self) -> int:
        return len(self._queue) + self._in_flight

    def stats(self) -> Stats:
        with self._changed:
            return {
                "sent": self.sent,
                "pending": self.pending,
                "dropped": dict(self.notes.dropped),
                "causes": dict(self.notes.causes),
                "retries": self.retries,
                "last_error": self.notes.last_error,
            }

    # --- in ---------------------------------------------------------------------------------------------------------

    def put(self, record: Record) -> None:
        reason, problem = None, None
        with self._changed:
            if record.kind == SESSION:
                self._refused.pop(record.session, None)  # whoever opens it again wants to know again
                self._lost.pop(record.session, None)
            if self._transport is None:
                reason = "disabled"
            elif self._closed:
                reason = "closed"
            elif record.session in self._refused:
                reason, problem = "session_refused", self._refused[record.session]
            elif self.pending >= self.max_queue or self._bytes + len(record.body) > self.max_queue_bytes:
                reason = "queue_full"
                if record.kind == SESSION:
                    self._refuse(record.session, None)
            else:
                self._queue.append(record)
                self._bytes += len(record.body)
                self._ensure_thread()
                if len(self._queue) == 1 or len(self._queue) == self.batch_size:
                    self._changed.notify_all()
        if reason is not None:
            self.drop([record], reason, problem)

    def lacks(self, session: str) -> bool:
        """Whether the bridge said no to this session, or has it no more: it is past retention."""
        with self._changed:
            return session in self._refused or session in self._lost

    def _refuse(self, session: str, problem: Problem | None) -> None:
        """The bridge does not have this session and will not: its events need not be sent."""
        self._refused[session] = problem
        if len(self._refused) > MAX_REFUSED_SESSIONS:
            self._refused.popitem(last=False)

    def drop(self, records: Iterable[Record], reason: str, problem: Problem | None = None) -> None:
        for record in records:
            why = None if problem is None else cause(problem)
            self.notes.count(reason, why)
            if reason not in ("disabled", "closed"):
                # An id that the caller made may be no text at all: who writes the log could not write it.
                words = f"dropped {record.kind} {record.id.encode('utf-8', 'replace').decode()}"
                if problem is not None and why is not None:
                    kind = f" ({problem['type']})" if "type" in problem else ""
                    more = detail(problem)
                    words += f": {why}{kind}"
                    self.notes.say(reason, words, f"{why}: {more}" if more else why)
                else:
                    self.notes.say(reason, words + HINTS.get(reason, ""))
            if self.on_drop is not None:
                try:
                    self.on_drop(record.id, reason, problem)
                except Exception as error:
                    self.notes.say("internal", f"on_drop: {type(error).__name__}")

    # --- waiting for it ---------------------------------------------------------------------------------------------

    def flush(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        with self._changed:
            goal = self._settled + self.pending
            self._hurry_until = deadline
            self._pace.hurry()
            if self.pending:
                self._ensure_thread()
            self._changed.notify_all()
            while self._settled < goal and self.pending:
                left = deadline - time.monotonic()
                if left <= 0 or self.thread is None:
                    break
                self._changed.wait(left)
            return self._settled >= goal or not self.pending

    def close(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        with self._changed:
            self._closed = True
            self._stop_at = deadline
            self._hurry_until = deadline
            self._pace.hurry()
            thread = self.thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            # A request under way ends within its own timeout; it is not worth more than what we were told to wait.
            thread.join(max(0.0, timeout) + 0.05)
        elif thread is None:
            self._run()
        with self._changed:
            self._over = True
            left = list(self._queue)
            self._queue.clear()
            self._bytes = 0
            unsure = self._in_flight
        self.drop(left, "exit")
        return not left and not unsure

    # --- the thread -------------------------------------------------------------------------------------------------

    def _ensure_thread(self) -> None:
        if self.thread is None or not self.thread.is_alive():
            thread = threading.Thread(target=self._run, name="otel-bridge-client", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending: `close` sends
                self.thread = None
                return
            self.thread = thread

    def _run(self) -> None:
        while True:
            with self._changed:
                records = self._next()
            if records is None or self._transport is None:
                if self._transport is not None:
                    self._transport.close()
                return
            again = records
            try:
                again = self._deliver(self._transport, records)
            except Exception as error:
                self.notes.say("internal", f"send: {type(error).__name__}")
                self._back_off(Reply(0, words=type(error).__name__))
            with self._changed:
                over = self._over
                if not over:
                    self._queue.extendleft(reversed(again))
                    self._bytes += sum(len(record.body) for record in again)
                self._in_flight = 0
                self.retries += len(again)
                self._changed.notify_all()
            if over:
                self.drop(again, "exit")
                return

    def _next(self) -> list[Record] | None:
        """Waits until there is something to send, and takes it; None when it is time to end."""
        while True:
            now = time.monotonic()
            if self._stop_at is not None and (not self._queue or now >= self._stop_at):
                return None
            if not self._queue:
                self._changed.wait()
                continue
            due = self._pace.due()
            if now >= self._hurry_until and len(self._queue) < self._pace.limit:
                due = max(due, self._queue[0].queued + self.flush_interval)
            if due <= now:
                break
            if self._stop_at is not None and due >= self._stop_at:
                return None
            self._changed.wait(due - now)
        taken: list[Record] = []
        size = 0
        while self._queue and len(taken) < self._pace.limit:
            size += len(self._queue[0].body) + 1
            if taken and size > MAX_BATCH_BYTES:
                break
            taken.append(self._queue.popleft())
        self._bytes -= sum(len(record.body) for record in taken)
        self._in_flight = len(taken)
        return taken

    def _deliver(self, transport: Transport, records: list[Record]) -> list[Record]:
        """Sends sessions one by one, then events as one batch, then what is about those, one by one. Returns what must
        be tried again, in order. From the first that must, the rest waits with it: the bridge is away or busy, and one
        request at a time finds out when it is back."""
        ready: dict[str, list[Record]] = {SESSION: [], EVENT: [], RATING: [], END: []}
        for record in records:
            if record.first_try is not None and time.monotonic() - record.first_try > REPEAT_HORIZON_SECONDS:
                self._settle_drop(record, "expired")
            else:
                ready[record.kind].append(record)
        again = self._send_singly(transport, ready[SESSION])
        again += ready[EVENT] if again else self._send_events(transport, self._wanted(ready[EVENT]))
        for kind in (RATING, END):
            again += ready[kind] if again else self._send_singly(transport, self._wanted(ready[kind]))
        return again

    def _wanted(self, records: list[Record]) -> list[Record]:
        """Those whose session was not refused."""
        wanted = []
        for record in records:
            if record.session in self._refused:
                self._settle_drop(record, "session_refused", self._refused[record.session])
            else:
                wanted.append(record)
        return wanted

    def _send_singly(self, transport: Transport, records: list[Record]) -> list[Record]:
        for at, record in enumerate(records):
            record.first_try = record.first_try or time.monotonic()
            reply = transport.post(record.path, record.body)
            if reply.good and not _answers(reply, record):
                reply = Reply(0, words=f"{reply.status} that is not the bridge's")
            if reply.transient:
                self._back_off(reply)
                return records[at:]
            if reply.good or (reply.status == 409 and record.shared):
                self._settle_sent(1)
                continue
            problem = reply.problem()
            if record.kind == SESSION:
                with self._changed:
                    self._refuse(record.session, problem)
            self._settle_drop(record, "refused", problem)
        return []

    def _send_events(self, transport: Transport, events: list[Record]) -> list[Record]:
        if not events:
            return []
        now = time.monotonic()
        for record in events:
            record.first_try = record.first_try or now
        reply = transport.post("/events", b"[" + b",".join(record.body for record in events) + b"]")
        if reply.good:
            results = (reply.document() or {}).get("resultados")
            if not isinstance(results, list) or len(results) != len(events):
                self._back_off(Reply(0, words=f"{reply.status} that is not the bridge's"))
                return events
            return self._settle_batch(events, results, reply)
        if reply.transient:
            if reply.status == 429:
                self._pace.shrink(len(events))  # a batch larger than the limit itself is never let in
            self._back_off(reply)
            return events
        if reply.status in (400, 413, 422) and len(events) > 1:
            # One of them spoils the batch: halves find out which, and the others are taken.
            half = len(events) // 2
            again = self._send_events(transport, events[:half])
            return again + (events[half:] if again else self._send_events(transport, events[half:]))
        for record in events:
            self._settle_refused(record, reply.problem())
        return []

    # --- what came of it --------------------------------------------------------------------------------------------

    def _settle_batch(self, events: list[Record], results: list[Any], reply: Reply) -> list[Record]:
        again = []
        taken = 0
        for record, result in zip(events, results):
            status = result.get("estado") if isinstance(result, dict) else None
            status = status if isinstance(status, int) else 0
            if 200 <= status < 300:
                taken += 1
            elif transient(status):
                again.append(record)
            else:
                problem = result.get("error")
                found = problem if isinstance(problem, dict) else {}
                self._settle_refused(record, {"status": status, **found})
        self._settle_sent(taken)
        if again:
            self._back_off(Reply(429, retry_after=reply.retry_after, words="207 with records for later"))
        else:
            self._pace.grow()
        return again

    def _settle_sent(self, count: int) -> None:
        if not count:
            return
        with self._changed:
            self.sent += count
            self._settled += count
            self._in_flight -= count
            self._pace.worked()
            self._changed.notify_all()

    def _settle_refused(self, event: Record, problem: Problem) -> None:
        if problem.get("type") == SESSION_NOT_FOUND:
            with self._changed:
                self._lost[event.session] = None
                if len(self._lost) > MAX_REFUSED_SESSIONS:
                    self._lost.popitem(last=False)
        self._settle_drop(event, "refused", problem)

    def _settle_drop(self, record: Record, reason: str, problem: Problem | None = None) -> None:
        with self._changed:
            self._in_flight -= 1
            self._settled += 1
        self.drop([record], reason, problem)

    def _back_off(self, reply: Reply) -> None:
        with self._changed:
            self._pace.back_off(reply)
        self.notes.say("retry", reply.cause())


def _answers(reply: Reply, record: Record) -> bool:
    """Whether a 2xx is the bridge's, and not that of whoever else answers for it."""
    document = reply.document()
    if record.kind == SESSION:
        return document is not None and document.get("id") == record.id
    return document is not None or reply.status == 204
