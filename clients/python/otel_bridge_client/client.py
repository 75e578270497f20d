"""`BridgeClient`: what callers use. It never raises into their code and never makes it wait."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import ssl
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable, TypeVar, cast

from otel_bridge_client.delivery import Delivery, DropCallback
from otel_bridge_client.ids import conversation_uuid, new_uuid
from otel_bridge_client.measures import Measure, Question
from otel_bridge_client.records import (
    END,
    EVENT,
    RATING,
    SESSION,
    Invalid,
    Record,
    encode,
    event_fields,
    rating_fields,
    session_fields,
)
from otel_bridge_client.sessions import IDLE_SECONDS, Sessions
from otel_bridge_client.stats import Stats, nothing
from otel_bridge_client.transport import Transport, read_url
from otel_bridge_client.version import VERSION

ANONYMOUS = "anonimo"
"""The user where nobody says who it is: all of them are one to the bridge."""


M = TypeVar("M", bound=Callable[..., Any])


def _quiet(default: Any = None) -> Callable[[M], M]:
    """A public method that lets no exception out."""

    def decorate(method: M) -> M:
        @functools.wraps(method)
        def guarded(self: BridgeClient, *arguments: Any, **options: Any) -> Any:
            try:
                return method(self, *arguments, **options)
            except Exception as error:
                self.note("internal", f"{method.__name__}: {type(error).__name__}")
                return default() if callable(default) else default

        return cast(M, guarded)

    return decorate


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
        self.exit_timeout = exit_timeout
        self._api_key = api_key
        headers = {"Content-Type": "application/json", "User-Agent": f"otel-bridge-client-python/{VERSION}"}
        url = read_url(base_url, api_key)
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self._delivery = Delivery(
            None if url is None else Transport(url, headers, timeout, gzip, ssl_context),
            flush_interval=flush_interval,
            batch_size=batch_size,
            max_queue=max_queue,
            max_queue_bytes=max_queue_bytes,
            on_drop=on_drop,
        )
        self._sessions = Sessions(self._delivery.lacks)
        if hasattr(os, "register_at_fork"):
            me = weakref.ref(self)

            def after_fork() -> None:
                client = me()
                if client is not None:
                    client._delivery.reset()
                    client._sessions.reset()

            os.register_at_fork(after_in_child=after_fork)
        atexit.register(self._at_exit)

    # --- sessions ---------------------------------------------------------------------------------------------------

    @_quiet(default=new_uuid)
    def create_session(self, user_id: object, *, session_id: str | None = None, timestamp: str | None = None) -> str:
        """Opens a session and returns its id at once. The user id leaves the bridge only as a keyed hash."""
        return self._open(user_id, str(session_id or new_uuid()), timestamp)

    @_quiet(default=new_uuid)
    def session_for(self, user_id: object = ANONYMOUS, conversation: object = None) -> str:
        """The session of a conversation, the same one in every process and after every restart; it is opened by the
        first call. Without a conversation: this process's session of that user, another one after half an hour
        without a call."""
        if conversation is not None:
            derived = conversation_uuid(self.gpt_id, str(conversation), self._api_key)
            return self._sessions.of_key(("conversation", derived), lambda _: self._open(user_id, derived, shared=True))
        user = str(user_id)
        return self._sessions.of_key(("user", user), lambda known: self._open(user, known or new_uuid()), IDLE_SECONDS)

    @_quiet(default=new_uuid)
    def session_of(self, owner: object, user_id: object = ANONYMOUS) -> str:
        """The session that goes with an object of yours, such as a connection, as long as that lives."""
        return self._sessions.of_object(owner, lambda known: self._open(user_id, known or new_uuid()))

    @_quiet()
    def end_session(self, session_id: str) -> None:
        """Says that a session is over. Those that nobody ends are over after half an hour without events."""
        session = str(session_id)
        self._sessions.forget(session)
        self._delivery.put(Record(END, session, session, b"{}"))

    def _open(self, user_id: object, session: str, timestamp: str | None = None, shared: bool = False) -> str:
        self._put(SESSION, session, session, lambda: session_fields(session, self.gpt_id, user_id, timestamp), shared)
        return session

    # --- events -----------------------------------------------------------------------------------------------------

    @_quiet(default=new_uuid)
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
        tokens_reasoning: int | None = None,
        ttft_ms: float | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        version: str | None = None,
    ) -> str:
        """Records an event: what was asked, how long the answer took, tokens of both; returns its id. `error`: a short
        code; it marks the event as failed. `tokens_cached`: the part of `tokens_in` that the provider's cache served;
        `tokens_reasoning`: the part of `tokens_out` that the model spent on reasoning. `ttft_ms`: time to the first
        token. `tools`: calls on the way to the answer, each `{"name", "ms", "error"?}`. `version`: of your prompt or
        agent."""
        record_id = str(event_id or new_uuid())
        session = str(session_id)

        def fields() -> dict[str, object]:
            return event_fields(
                record_id,
                session,
                event_type,
                content,
                latency_ms,
                tokens_in,
                tokens_out,
                model=model,
                error=error,
                timestamp=timestamp,
                tokens_cached=tokens_cached,
                tokens_reasoning=tokens_reasoning,
                ttft_ms=ttft_ms,
                tools=tools,
                version=version,
            )

        self._put(EVENT, record_id, session, fields)
        return record_id

    def record(self, measure: Measure, latency_ms: float | None = None) -> None:
        """Records a measurement; its own time, where none is given. Not one whose tokens nobody knows: they are never
        invented. A failed one is: what it cost is not known, that it failed is."""
        if measure.unknown and measure.error is None:
            self._delivery.drop([Record(EVENT, measure.event_id, measure.session_id)], "no_usage")
            return
        latency = measure.elapsed_ms() if latency_ms is None else latency_ms
        self.log_event(
            measure.session_id,
            measure.event_type,
            measure.content,
            latency,
            measure.tokens_in,
            measure.tokens_out,
            model=measure.model,
            error=measure.error,
            event_id=measure.event_id,
            tokens_cached=measure.tokens_cached,
            tokens_reasoning=measure.tokens_reasoning,
            ttft_ms=measure.ttft_ms,
            tools=measure.tools,
            version=measure.version,
        )

    @contextlib.contextmanager
    def question(
        self,
        session_id: str,
        event_type: str,
        content: str,
        *,
        model: str | None = None,
        version: str | None = None,
        event_id: str | None = None,
    ) -> Iterator[Question]:
        """Measures what stands in the `with` block and records it as one event when the block ends. An exception
        marks the event as failed with its class's name and goes on to the caller."""
        q = Question(session_id, event_type, content, model=model, version=version, event_id=event_id)
        try:
            with q.entered():
                yield q
        except BaseException as error:
            q.error = q.error or type(error).__name__
            raise
        finally:
            self.record(q)

    @_quiet()
    def rate(self, event_id: str, valor: float, comentario: str | None = None) -> None:
        """What a person thought of an answer: from −1 (bad) to 1 (good). Sent after the event itself."""
        event = str(event_id)
        self._put(RATING, event, "", lambda: rating_fields(valor, comentario))

    # --- delivery ---------------------------------------------------------------------------------------------------

    @_quiet(default=False)
    def flush(self, timeout: float = 10.0) -> bool:
        """Sends now what is queued now, and waits for it. Whether all of it is settled (delivered, or dropped)."""
        return self._delivery.flush(timeout)

    @_quiet(default=False)
    def close(self, timeout: float | None = None) -> bool:
        """Sends what is queued within `timeout` (default: `exit_timeout`) and takes nothing more. Whether nothing
        was left; what was is dropped, and counted as such."""
        clean = self._delivery.close(self.exit_timeout if timeout is None else timeout)
        atexit.unregister(self._at_exit)
        return clean

    @_quiet(default=nothing)
    def stats(self) -> Stats:
        return self._delivery.stats()

    def note(self, kind: str, words: str) -> None:
        """Logs something of ours that went wrong."""
        self._delivery.notes.say(kind, words)

    def __enter__(self) -> BridgeClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _put(
        self,
        kind: str,
        record_id: str,
        session: str,
        fields: Callable[[], Mapping[str, object]],
        shared: bool = False,
    ) -> None:
        try:
            body = encode(fields())
        except Invalid:
            self._delivery.drop([Record(kind, record_id, session)], "invalid")
        else:
            self._delivery.put(Record(kind, record_id, session, body, shared))

    def _at_exit(self) -> None:
        self.close(self.exit_timeout)
