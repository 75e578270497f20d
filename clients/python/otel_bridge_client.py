"""Client of otel-bridge in one file, standard library only: copy it, or install it.

    client = BridgeClient("https://koomtai.com/api", "devops-expert")
    session = client.create_session("usuario123")
    with client.question(session, "consulta", text) as q:
        answer = my_gpt(text)
        q.tokens(25, 150)

What it promises:
- It never raises into the caller's code and never makes it wait: every call puts a record in a queue and returns;
  a thread of its own sends. `flush` and `close` are the only calls that wait, and only as long as they are told.
- Every record carries an id made here, so that sending it again is safe: while this process lives, what was queued
  is delivered once, however often the bridge goes away and comes back.
- A session is sent before its events. If the bridge is away, both wait.
- The queue is bounded, in records and in bytes. When it is full the newcomer is dropped: what stands in front of it
  may have been sent already, and sessions stand before their events.
- Whatever is dropped is counted (`stats`), told (`on_drop`) and logged (never with content).

What it does not promise: the queue is memory. What waits when the process is killed is lost.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import email.utils
import functools
import gzip as _gzip
import http.client
import json
import logging
import os
import random
import re
import ssl
import threading
import time
import urllib.parse
import weakref
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any, Callable
from uuid import UUID

__version__ = "0.1.0"
__all__ = ["BridgeClient", "Question"]

log = logging.getLogger("otel_bridge_client")

MAX_BATCH_BYTES = 4 << 20
"""Bytes of one batch; the bridge takes 8 MiB."""
MAX_CONTENT_CHARS = 65_537
"""Characters of content that are sent: one more than the bridge looks at, so that it sees that there was more."""
REPEAT_HORIZON_SECONDS = 20 * 3600
"""The bridge recognises a repeated event for 24 hours: what was first tried longer ago is not sent again, for it could
be counted twice."""
BACKOFF_SECONDS = (0.5, 30.0)
MAX_RETRY_AFTER_SECONDS = 3600.0
MAX_ANSWER_BYTES = 8 << 20
MAX_REFUSED_SESSIONS = 10_000
GZIP_FROM_BYTES = 1024
LOG_EVERY_SECONDS = 60.0

DropCallback = Callable[[str, str, "dict[str, Any] | None"], None]
"""(id of the record, reason, the bridge's problem document if it gave one)"""


def new_uuid() -> str:
    """A UUIDv7 (RFC 9562): nobody can guess it, and those made together stand together in the bridge's index."""
    value = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10), "big")
    return str(UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 7 << 76 | 2 << 62))


def utc_now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Record:
    """One session or event, encoded when it was queued: what the caller does with its objects later changes nothing."""

    __slots__ = ("body", "first_try", "id", "is_session", "queued", "session")

    def __init__(self, record_id: str, session: str, is_session: bool, body: bytes) -> None:
        self.id = record_id
        self.session = session
        self.is_session = is_session
        self.body = body
        self.queued = time.monotonic()
        self.first_try: float | None = None


class _Reply:
    """An answer; status 0 where there was none."""

    __slots__ = ("body", "retry_after", "status", "words")

    def __init__(self, status: int, body: bytes = b"", retry_after: float = 0.0, words: str = "") -> None:
        self.status = status
        self.body = body
        self.retry_after = retry_after
        self.words = words

    def document(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None


def _transient(status: int) -> bool:
    """Whether the same record may be taken later: no answer, a redirect, a limit, a failing server."""
    return not 200 <= status < 300 and (not 400 <= status < 500 or status in (408, 425, 429))


def _quiet(default: Any = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A public method that lets no exception out."""

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def guarded(self: BridgeClient, *arguments: Any, **options: Any) -> Any:
            try:
                return method(self, *arguments, **options)
            except Exception as error:
                self._note("internal", f"{method.__name__}: {type(error).__name__}")
                return default() if callable(default) else default

        return guarded

    return decorate


class Question:
    """What `BridgeClient.question` hands out: fill in what is known when the answer is there."""

    def __init__(self) -> None:
        self.tokens_in: int = 0
        self.tokens_out: int = 0
        self.tokens_cached: int | None = None
        self.model: str | None = None
        self.error: str | None = None

    def tokens(self, tokens_in: int, tokens_out: int, tokens_cached: int | None = None) -> None:
        self.tokens_in, self.tokens_out, self.tokens_cached = tokens_in, tokens_out, tokens_cached


class BridgeClient:
    """One for the process; every method may be called from any thread."""

    def __init__(
        self,
        base_url: str | None,
        gpt_id: str,
        *,
        api_key: str | None = None,
        flush_interval: float = 1.0,
        batch_size: int = 200,
        max_queue: int = 10_000,
        max_queue_bytes: int = 32 << 20,
        timeout: float = 10.0,
        exit_timeout: float = 5.0,
        gzip: bool = False,
        on_drop: DropCallback | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """`base_url`: the guide's «API Base URL». None makes a client that drops everything, for tests and
        development; so does an unusable one, which is logged as an error.
        `flush_interval`: seconds a record waits for company. `timeout`: of one request.
        `exit_timeout`: what the end of the process may wait for the rest of the queue.
        `on_drop(id, reason, problem)`: called for every record that is dropped; reasons are those of `stats`."""
        self.gpt_id = gpt_id
        self.flush_interval = flush_interval
        self.batch_size = max(1, batch_size)
        self.max_queue = max_queue
        self.max_queue_bytes = max_queue_bytes
        self.timeout = timeout
        self.exit_timeout = exit_timeout
        self.gzip = gzip
        self.on_drop = on_drop
        self._ssl = ssl_context
        self._headers = {"Content-Type": "application/json", "User-Agent": f"otel-bridge-client-python/{__version__}"}
        self._url = self._read_url(base_url, api_key)
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._logged: dict[str, tuple[float, int]] = {}
        self._reset()
        if hasattr(os, "register_at_fork"):
            me = weakref.ref(self)

            def after_fork() -> None:
                client = me()
                if client is not None:
                    client._reset()  # what was queued before the fork is the parent's to send

            os.register_at_fork(after_in_child=after_fork)
        atexit.register(self._at_exit)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._queue: collections.deque[_Record] = collections.deque()
        self._bytes = 0
        self._in_flight = 0
        self._thread: threading.Thread | None = None
        self._closed = False
        self._over = False
        self._stop_at: float | None = None
        self._hurry_until = 0.0
        self._failures = 0
        self._backoff_until = 0.0
        self._server_wait_until = 0.0
        self._limit = self.batch_size
        self._refused: collections.OrderedDict[str, None] = collections.OrderedDict()
        self._connection: http.client.HTTPConnection | None = None
        self._settled = 0
        self._sent = 0
        self._retries = 0
        self._dropped: collections.Counter[str] = collections.Counter()
        self._last_error: str | None = None

    # --- what callers use ---------------------------------------------------------------------------------------

    @_quiet(default=new_uuid)
    def create_session(self, user_id: object, *, session_id: str | None = None, timestamp: str | None = None) -> str:
        """Opens a session and returns its id at once. The user id leaves the bridge only as a keyed hash."""
        session = str(session_id or new_uuid())
        self._put(
            session,
            session,
            True,
            {
                "id": session,
                "gpt_id": self.gpt_id,
                "usuario_id": str(user_id),
                "timestamp_inicio": timestamp or utc_now(),
            },
        )
        return session

    @_quiet()
    def log_event(
        self,
        session_id: str,
        event_type: str,
        content: str,
        latency_ms: float,
        tokens_in: int = 0,
        tokens_out: int = 0,
        *,
        model: str | None = None,
        error: str | None = None,
        timestamp: str | None = None,
        event_id: str | None = None,
        tokens_cached: int | None = None,
    ) -> None:
        """Records an event: what was asked, how long the answer took, tokens of both. `error`: a short code;
        it marks the event as failed. `tokens_cached`: the part of `tokens_in` that the provider's cache served."""
        record_id, session = str(event_id or new_uuid()), str(session_id)
        try:
            event: dict[str, object] = {
                "id": record_id,
                "sesion_id": session,
                "tipo": str(event_type),
                "contenido": str(content)[:MAX_CONTENT_CHARS],
                "latency_ms": round(float(latency_ms), 3),
                "tokens_entrada": int(tokens_in),
                "tokens_salida": int(tokens_out),
                "timestamp": timestamp or utc_now(),
            }
            if tokens_cached is not None:
                event["tokens_cache"] = int(tokens_cached)
        except (TypeError, ValueError, OverflowError):
            self._drop([_Record(record_id, session, False, b"")], "invalid")
            return
        if model:
            event["modelo"] = str(model)
        if error:
            event["error"] = _error_code(error)
        self._put(record_id, session, False, event)

    @contextlib.contextmanager
    def question(
        self, session_id: str, event_type: str, content: str, *, model: str | None = None
    ) -> Iterator[Question]:
        """Measures what stands in the `with` block and records it as one event when the block ends. An exception
        marks the event as failed with its class's name and goes on to the caller."""
        q = Question()
        q.model = model
        started = time.monotonic()
        try:
            yield q
        except BaseException as error:
            q.error = q.error or type(error).__name__
            raise
        finally:
            latency = (time.monotonic() - started) * 1000
            self.log_event(
                session_id,
                event_type,
                content,
                latency,
                q.tokens_in,
                q.tokens_out,
                model=q.model,
                error=q.error,
                tokens_cached=q.tokens_cached,
            )

    @_quiet(default=False)
    def flush(self, timeout: float = 10.0) -> bool:
        """Sends now what is queued now, and waits for it. Whether all of it is settled (delivered, or dropped)."""
        deadline = time.monotonic() + timeout
        with self._changed:
            goal = self._settled + self._pending()
            self._hurry_until = deadline
            self._backoff_until = 0.0
            if self._pending():
                self._ensure_thread()
            self._changed.notify_all()
            while self._settled < goal and self._pending():
                left = deadline - time.monotonic()
                if left <= 0 or self._thread is None:
                    break
                self._changed.wait(left)
            return self._settled >= goal or not self._pending()

    @_quiet(default=False)
    def close(self, timeout: float | None = None) -> bool:
        """Sends what is queued within `timeout` (default: `exit_timeout`) and takes nothing more. Whether nothing
        was left; what was is dropped, and counted as such."""
        timeout = self.exit_timeout if timeout is None else timeout
        deadline = time.monotonic() + timeout
        with self._changed:
            self._closed = True
            self._stop_at = deadline
            self._hurry_until = deadline
            self._backoff_until = 0.0
            thread = self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            # A request under way ends within its own timeout; it is not worth more than what we were told to wait.
            thread.join(max(0.0, timeout) + 0.05)
        elif thread is None:
            self._run()
        atexit.unregister(self._at_exit)
        with self._changed:
            self._over = True
            left = list(self._queue)
            self._queue.clear()
            self._bytes = 0
            unsure = self._in_flight
        self._drop(left, "exit")
        return not left and not unsure

    @_quiet(default=dict)
    def stats(self) -> dict[str, Any]:
        """`sent`, `pending`, `retries`, `last_error`, and `dropped` by reason: `queue_full`, `refused` (the bridge
        said no), `session_refused` (an event of such a session), `invalid` (no number where one belongs), `expired`,
        `exit`, `disabled`, `closed`."""
        with self._changed:
            return {
                "sent": self._sent,
                "pending": self._pending(),
                "dropped": dict(self._dropped),
                "retries": self._retries,
                "last_error": self._last_error,
            }

    def __enter__(self) -> BridgeClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- the queue ------------------------------------------------------------------------------------------------

    def _put(self, record_id: str, session: str, is_session: bool, fields: dict[str, object]) -> None:
        try:
            fields = {name: _clean(value) for name, value in fields.items()}
            body = json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, OverflowError):
            self._drop([_Record(record_id, session, is_session, b"")], "invalid")
            return
        record = _Record(record_id, session, is_session, body)
        reason = None
        with self._changed:
            if self._url is None:
                reason = "disabled"
            elif self._closed:
                reason = "closed"
            elif session in self._refused:
                reason = "session_refused"
            elif self._pending() >= self.max_queue or self._bytes + len(body) > self.max_queue_bytes:
                reason = "queue_full"
                if is_session:
                    self._refuse(session)
            else:
                self._queue.append(record)
                self._bytes += len(body)
                self._ensure_thread()
                if len(self._queue) == 1 or len(self._queue) == self.batch_size:
                    self._changed.notify_all()
        if reason is not None:
            self._drop([record], reason)

    def _refuse(self, session: str) -> None:
        """The bridge does not have this session and will not: its events need not be sent."""
        self._refused[session] = None
        if len(self._refused) > MAX_REFUSED_SESSIONS:
            self._refused.popitem(last=False)

    def _pending(self) -> int:
        return len(self._queue) + self._in_flight

    def _drop(self, records: Iterable[_Record], reason: str, problem: dict[str, Any] | None = None) -> None:
        for record in records:
            with self._changed:
                self._dropped[reason] += 1
            words = f" ({problem.get('type')})" if problem else ""
            if reason not in ("disabled", "closed"):
                kind = "session" if record.is_session else "event"
                self._note(reason, f"dropped {kind} {record.id}{words}")
            if self.on_drop is not None:
                try:
                    self.on_drop(record.id, reason, problem)
                except Exception as error:
                    self._note("internal", f"on_drop: {type(error).__name__}")

    def _note(self, kind: str, words: str) -> None:
        """Logs the first of a kind, then once a minute how many there were."""
        try:
            self._last_error = f"{kind}: {words}"
            now = time.monotonic()
            at, unsaid = self._logged.get(kind, (float("-inf"), 0))
            if now - at < LOG_EVERY_SECONDS:
                self._logged[kind] = (at, unsaid + 1)
                return
            self._logged[kind] = (now, 0)
            more = f" (and {unsaid} more since the last such line)" if unsaid else ""
            log.warning("otel-bridge: %s: %s%s", kind, words, more)
        except Exception:  # noqa: S110 a broken log handler is not the caller's problem either
            pass

    # --- the thread -------------------------------------------------------------------------------------------------

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name="otel-bridge-client", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending: `close` sends
                self._thread = None
                return
            self._thread = thread

    def _run(self) -> None:
        while True:
            with self._changed:
                records = self._next()
            if records is None:
                self._disconnect()
                return
            again = records
            try:
                again = self._deliver(records)
            except Exception as error:
                self._note("internal", f"send: {type(error).__name__}")
                self._back_off(_Reply(0, words=type(error).__name__))
            with self._changed:
                over = self._over
                if not over:
                    self._queue.extendleft(reversed(again))
                    self._bytes += sum(len(record.body) for record in again)
                self._in_flight = 0
                self._retries += len(again)
                self._changed.notify_all()
            if over:
                self._drop(again, "exit")
                return

    def _next(self) -> list[_Record] | None:
        """Waits until there is something to send, and takes it; None when it is time to end."""
        while True:
            now = time.monotonic()
            if self._stop_at is not None and (not self._queue or now >= self._stop_at):
                return None
            if not self._queue:
                self._changed.wait()
                continue
            due = max(self._backoff_until, self._server_wait_until)
            if now >= self._hurry_until and len(self._queue) < self._limit:
                due = max(due, self._queue[0].queued + self.flush_interval)
            if due <= now:
                break
            if self._stop_at is not None and due >= self._stop_at:
                return None
            self._changed.wait(due - now)
        taken: list[_Record] = []
        size = 0
        while self._queue and len(taken) < self._limit:
            size += len(self._queue[0].body) + 1
            if taken and size > MAX_BATCH_BYTES:
                break
            taken.append(self._queue.popleft())
        self._bytes -= sum(len(record.body) for record in taken)
        self._in_flight = len(taken)
        return taken

    def _deliver(self, records: list[_Record]) -> list[_Record]:
        """Sends sessions one by one, then events as one batch. Returns what must be tried again, in order."""
        again: list[_Record] = []
        events: list[_Record] = []
        reply: _Reply | None = None
        for record in records:
            now = time.monotonic()
            if record.first_try is not None and now - record.first_try > REPEAT_HORIZON_SECONDS:
                self._settle_drop(record, "expired")
            elif record.is_session:
                if reply is None or not _transient(reply.status):
                    reply = self._send_session(record)
                if _transient(reply.status):
                    again.append(record)
            else:
                events.append(record)
        if reply is not None and _transient(reply.status):
            again.extend(events)  # the bridge is away or busy: one request at a time finds out when it is back
        else:
            ready = []
            for record in events:
                if record.session in self._refused:
                    self._settle_drop(record, "session_refused")
                else:
                    ready.append(record)
            again.extend(self._send_events(ready))
        return again

    def _send_session(self, record: _Record) -> _Reply:
        record.first_try = record.first_try or time.monotonic()
        reply = self._post("/sessions", record.body)
        if 200 <= reply.status < 300 and (reply.document() or {}).get("id") != record.id:
            reply = _Reply(0, words=f"{reply.status} that is not the bridge's")
        if _transient(reply.status):
            self._back_off(reply)
        elif reply.status >= 400:
            with self._changed:
                self._refuse(record.session)
            self._settle_drop(record, "refused", reply.document() or {"status": reply.status})
        else:
            self._settle_sent(1)
        return reply

    def _send_events(self, events: list[_Record]) -> list[_Record]:
        if not events:
            return []
        now = time.monotonic()
        for record in events:
            record.first_try = record.first_try or now
        reply = self._post("/events", b"[" + b",".join(record.body for record in events) + b"]")
        if 200 <= reply.status < 300:
            results = (reply.document() or {}).get("resultados")
            if not isinstance(results, list) or len(results) != len(events):
                self._back_off(_Reply(0, words=f"{reply.status} that is not the bridge's"))
                return events
            return self._settle_batch(events, results, reply)
        if _transient(reply.status):
            if reply.status == 429:
                self._limit = max(1, len(events) // 2)  # a batch larger than the limit itself is never let in
            self._back_off(reply)
            return events
        if reply.status in (400, 413, 422) and len(events) > 1:
            # One of them spoils the batch: halves find out which, and the others are taken.
            half = len(events) // 2
            again = self._send_events(events[:half])
            return again + (events[half:] if again else self._send_events(events[half:]))
        for record in events:
            self._settle_drop(record, "refused", reply.document() or {"status": reply.status})
        return []

    def _settle_batch(self, events: list[_Record], results: list[Any], reply: _Reply) -> list[_Record]:
        again = []
        taken = 0
        for record, result in zip(events, results):
            status = result.get("estado") if isinstance(result, dict) else None
            status = status if isinstance(status, int) else 0
            if 200 <= status < 300:
                taken += 1
            elif _transient(status):
                again.append(record)
            else:
                problem = result.get("error")
                self._settle_drop(record, "refused", problem if isinstance(problem, dict) else {"status": status})
        self._settle_sent(taken)
        if again:
            self._back_off(_Reply(429, retry_after=reply.retry_after, words="207 with records for later"))
        else:
            self._limit = min(self.batch_size, self._limit * 2)
        return again

    def _settle_sent(self, count: int) -> None:
        if not count:
            return
        with self._changed:
            self._sent += count
            self._settled += count
            self._in_flight -= count
            self._failures = 0
            self._changed.notify_all()

    def _settle_drop(self, record: _Record, reason: str, problem: dict[str, Any] | None = None) -> None:
        with self._changed:
            self._in_flight -= 1
            self._settled += 1
        self._drop([record], reason, problem)

    def _back_off(self, reply: _Reply) -> None:
        """Nothing is sent for a while: as long as the bridge asks for, else exponentially longer; with jitter."""
        with self._changed:
            now = time.monotonic()
            if reply.retry_after:
                asked = min(reply.retry_after, MAX_RETRY_AFTER_SECONDS)
                self._server_wait_until = now + asked * random.uniform(1.0, 1.1)  # noqa: S311 jitter, not a secret
            else:
                first, longest = BACKOFF_SECONDS
                wait = min(longest, first * 2 ** min(self._failures, 16))
                self._failures += 1
                self._backoff_until = now + wait * random.uniform(0.5, 1.0)  # noqa: S311
        self._note("retry", str(reply.status) if reply.status else reply.words or "no answer")

    # --- HTTP ---------------------------------------------------------------------------------------------------------

    def _read_url(self, base_url: str | None, api_key: str | None) -> urllib.parse.SplitResult | None:
        if not base_url:
            return None
        try:
            url = urllib.parse.urlsplit(str(base_url).strip().rstrip("/"))
            url.port  # noqa: B018 raises for one that is no number
            usable = url.scheme in ("http", "https") and bool(url.hostname)
        except ValueError:
            usable = False
        if not usable:
            log.error("otel-bridge: base_url is not a URL such as https://koomtai.com/api: nothing will be sent")
            return None
        if api_key and not re.fullmatch(r"[\x21-\x7e]+", api_key):
            log.error("otel-bridge: api_key has characters that no key has: nothing will be sent")
            return None
        if api_key and url.scheme == "http" and url.hostname not in ("localhost", "127.0.0.1", "::1"):
            log.warning("otel-bridge: the API key travels unencrypted to %s: use https", url.hostname)
        return url if url.path else url._replace(path="/api")

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is None:
            url = self._url
            assert url is not None and url.hostname is not None
            if url.scheme == "https":
                context = self._ssl or ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(
                    url.hostname, url.port, timeout=self.timeout, context=context
                )
            else:
                self._connection = http.client.HTTPConnection(url.hostname, url.port, timeout=self.timeout)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, path: str, body: bytes) -> _Reply:
        assert self._url is not None
        headers = self._headers
        if self.gzip and len(body) >= GZIP_FROM_BYTES:
            headers = {**headers, "Content-Encoding": "gzip"}
            body = _gzip.compress(body, 5)
        while True:
            reused = self._connection is not None
            try:
                connection = self._connect()
                connection.request("POST", self._url.path + path, body, headers)
                response = connection.getresponse()
                data = response.read(MAX_ANSWER_BYTES)
                retry_after = _seconds(response.getheader("Retry-After"))
                if response.will_close or not response.isclosed():
                    self._disconnect()
                return _Reply(response.status, data, retry_after)
            except (ConnectionError, http.client.BadStatusLine) as error:
                self._disconnect()
                if not reused:  # else the bridge had closed an idle connection: at once on a new one
                    return _Reply(0, words=type(error).__name__)
            except (OSError, http.client.HTTPException) as error:
                self._disconnect()
                return _Reply(0, words=type(error).__name__)

    def _at_exit(self) -> None:
        self.close(self.exit_timeout)


def _clean(value: object) -> object:
    """Text that JSON and the bridge take: no NUL, no half of a surrogate pair."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return value


def _error_code(error: object) -> str:
    """Letters, digits and `_ . : / -`, 64 at the most."""
    return re.sub(r"[^A-Za-z0-9_.:/-]", "_", str(error))[:64]


def _seconds(retry_after: str | None) -> float:
    """`Retry-After`: seconds or a date; 0 where it is neither."""
    if not retry_after:
        return 0.0
    try:
        if retry_after.strip().isdigit():
            return float(retry_after)
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
