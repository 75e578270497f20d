"""A whole bridge in this process, built as `serve` builds it, without its sockets and its timers.

Posts go through the exchange that a connection would drive, and the delivery drains into a list. Nothing runs by
itself: the clocks stand still until time passes. A kill drops what is in memory: the snapshot that a stop would save is
not, and what was being delivered is not noted.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_bridge import app, catalog, clock, config, errors
from otel_bridge.access import keys
from otel_bridge.clock import CLOCK
from otel_bridge.export.delivery import Delivery
from otel_bridge.export.exporter import _write
from otel_bridge.export.pipe import Report
from otel_bridge.export.result import SendResult
from otel_bridge.export.shutdown import Shutdown
from otel_bridge.export.spans import SpanProjection
from otel_bridge.http.exchange import Exchange
from otel_bridge.journal.sqlite import SqliteStore
from otel_bridge.metrics.shared import Shared
from otel_bridge.ops.replica import Replica
from tests.promises.bridges import Counts, Span
from tests.promises.draws import CONFIG, KEY
from tests.promises.values import CLOSED, OPEN, OTHER, SECOND, Answer, Post, moment

STATUS = {kind.type: kind.status for kind in errors.ERROR_KINDS}
Sample = tuple[str, dict[str, str], float]


BEGIN = "2026-01-15T23:45:00Z"
"""Keys are remembered by UTC days: midnight is near."""


class Clock:
    """Wall clock and monotonic clock of this process: both stand still, and are set forward together."""

    def __init__(self) -> None:
        self.now_us = moment(BEGIN)
        self._monotonic = time.monotonic()

    def forward(self, us: int) -> None:
        self.now_us += us
        self._monotonic += us / SECOND

    @contextmanager
    def set(self) -> Iterator[Clock]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time_ns", lambda: self.now_us * 1000)
            patch.setattr(time, "time", lambda: self.now_us / SECOND)
            patch.setattr(time, "monotonic", lambda: self._monotonic)
            patch.setattr(CLOCK, "_wall_ns", lambda: self.now_us * 1000)
            patch.setattr(CLOCK, "_steady_ns", lambda: round(self._monotonic * SECOND) * 1000)
            # A start more than a day later is honest here: a clock that is doubted remembers keys for longer.
            patch.setattr(clock, "GAP_NS", 1 << 62)
            CLOCK.begin(None)
            yield self
        CLOCK.begin(None)


class _NoListener:
    """In place of the listener of /metrics, which would take a port and half a second to close."""

    def __init__(self, *arguments: object, **options: object) -> None: ...

    def run(self) -> None: ...

    def close(self) -> None: ...


class _NoWait(Shutdown):
    def wait(self, seconds: float) -> None: ...


class _Receiver:
    """Takes requests as an endpoint does, or is away."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.away = False

    def send(self, body: bytes) -> SendResult:
        if self.away:
            return SendResult("retry", "away")
        request = ExportTraceServiceRequest.FromString(body)
        self.spans += [
            Span(span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
            for of_resource in request.resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]
        return SendResult("ok")

    def close(self) -> None: ...


class _Connection:
    """The other end of an exchange."""

    peer = "127.0.0.1"

    def __init__(self) -> None:
        self.answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def send_continue(self) -> None: ...

    def send(self, exchange: Exchange, status: int, lines: bytes, body: bytes) -> None:
        self.answered.set_result(Answer(status, msgspec.json.decode(body)))


class Desk:
    """`bridges.Served`. `url`: of a journal that is not there yet; `folder`: for what else it writes."""

    exact_clock = True
    keeps_house = False

    def __init__(self, url: str, folder: Path, clock: Clock) -> None:
        file = folder / "otel-bridge.toml"
        hashed = keys.hash_of(KEY.encode())
        file.write_text(CONFIG.format(open=OPEN, other=OTHER, closed=CLOSED, hash=hashed), encoding="utf-8")
        self._config = config.load(
            str(file),
            {
                "OTEL_BRIDGE_JOURNAL": url,
                "OTEL_BRIDGE_USER_HASH_KEY": "k" * 32,
                "OTEL_BRIDGE_RATE_LIMIT": "off",
                "OTEL_BRIDGE_RETENTION_DAYS": "3650",
            },
        )
        self._clock = clock
        self._loop = asyncio.new_event_loop()
        self._receiver = _Receiver()
        self._open()

    def _open(self) -> None:
        self._dies = False
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(app, "MetricsListener", _NoListener)
            self._bridge = app.Bridge(self._config)
        self._bridge.journal.start()
        self._bridge._housekeeping.measure()
        self._reader = self._bridge.journal.store.reader()
        projection = SpanProjection(self._config.gpts)
        self._delivery = Delivery(self._reader, projection, self._receiver, self._report, _NoWait())
        self._serving = self._bridge.serving()
        self._run(self._serving.__aenter__())

    def _run(self, coroutine: Any) -> Any:
        return self._loop.run_until_complete(coroutine)

    def _aside(self, function: Callable[[], Any]) -> Any:
        """As a worker of the bridge does it, while the event loop runs."""
        return self._run(self._loop.run_in_executor(None, function))

    def _report(self, report: Report) -> None:
        if report.cursor and not self._dies:
            for _ in range(1 + report.cursor % 2):  # some are noted twice
                self._bridge.journal.transact(lambda store: _write(store, report, store.url)).result()

    # --- bridges.Served -----------------------------------------------------------------------------------------------

    def now_us(self) -> int:
        return self._clock.now_us

    def post(self, posts: Sequence[Post], bodies: Sequence[bytes], packed: bool) -> list[Answer]:
        async def all_of_them() -> list[Answer]:
            connections = [self._send(post, body, packed) for post, body in zip(posts, bodies, strict=True)]
            return [await connection.answered for connection in connections]

        return cast(list[Answer], self._run(all_of_them()))

    def _send(self, post: Post, body: bytes, packed: bool) -> _Connection:
        connection, application = _Connection(), self._bridge.application
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        if packed:
            headers.append((b"content-encoding", b"gzip"))
        headers += [(name.lower().encode(), value.encode()) for name, value in header_lines(post)]
        route = application.post_at(f"/api{post.path}".encode())
        assert route is not None
        exchange = Exchange(application, connection, route, headers, True)
        exchange.receive(body)
        exchange.received()
        return connection

    def states(self, sessions: Sequence[tuple[str, bool]]) -> list[Answer]:
        bridge = self._bridge

        async def all_of_them() -> list[Answer]:
            found = []
            for session_id, with_api_key in sessions:
                headers = [(b"x-api-key", KEY.encode())] if with_api_key else []
                caller = bridge.access.caller(headers, "127.0.0.1")
                answer = await bridge.ingest.session_state(session_id, caller)
                found.append(Answer(answer.status, msgspec.json.decode(answer.body)))
            return found

        return cast(list[Answer], self._run(all_of_them()))

    def counts(self) -> Counts:
        shared = self._counted()
        own = [
            (catalog.RECORDS.name, {"kind": kind, "result": result, "reason": reason}, count)
            for (kind, result, reason), count in shared.own.records.items()
        ]
        samples = [*_samples(shared.folded().families), *own]
        samples += [(catalog.RECORDS.name, {"kind": k, "result": "accepted"}, n) for k, n in shared.accepted.items()]
        ledger = shared.ledger
        assert ledger is not None
        return Counts(*from_samples(samples), ledger.exported, ledger.pending, ledger.parked, ledger.gap)

    def _counted(self) -> Shared:
        """What a page shows, and its ledger counted anew: the clock stands still."""
        counting: Any = self._bridge._counting
        scraper = counting.scrapers.meet("desk", False)
        if not isinstance(counting, Replica):
            counting._ledger._last = None
            return cast(Shared, counting.shared(scraper))
        self._steward()
        counting.save()
        counting._stewardship._account.counted_at = -math.inf
        return cast(Shared, counting._stewardship._page(scraper))

    def _steward(self) -> None:
        """What the steward's worker does, until it has folded all."""
        counting = self._bridge._counting
        if isinstance(counting, Replica):
            stewardship = counting._stewardship
            stewardship._hold_at = 0.0
            stewardship._hold()
            assert stewardship._account is not None
            stewardship._follow(stewardship._account)
            assert stewardship.leads

    def delivered(self) -> list[Span]:
        return self._receiver.spans

    def deliver(self) -> None:
        while self._delivery.drain():
            pass

    def outage(self, on: bool) -> None:
        self._receiver.away = on
        self._delivery.drain()

    def checkpoint(self) -> None:
        self._bridge._counting.save()

    def pass_time(self, us: int, may_kill: bool) -> None:
        self._clock.forward(us)

    def keep_house(self, idle: int) -> None:
        self._steward()
        for _ in range(2):  # it looks in the totals, which each step writes at its end
            self._aside(self._bridge._housekeeping.step)

    def restart(self, kill: bool) -> None:
        self._end(kill)
        self._open()

    def _end(self, kill: bool) -> None:
        bridge = self._bridge
        self._run(self._serving.__aexit__(None, None, None))
        self._dies = kill
        self.deliver()  # a stop delivers what waits; of what is delivered at a kill nobody knows
        self._delivery.close()
        self._reader.close()
        if kill:
            bridge.ingest.close()
            for reader in bridge._readers:
                reader.close()
            if not isinstance(bridge._counting, Replica):
                bridge._counting.close()
            if isinstance(bridge.journal.store, SqliteStore):  # totals that wait are gone with it
                bridge.journal.store._totals.write_all = lambda: None  # type: ignore[method-assign]
            bridge.journal.stop()
        else:
            bridge.stop()
        if isinstance(bridge._counting, Replica):
            # The lease would be over in a while, and the clock stands still.
            bridge._counting._stewardship._steward.close()

    def close(self) -> None:
        self._end(kill=True)
        self._run(self._loop.shutdown_default_executor())
        self._loop.close()


def header_lines(post: Post) -> list[tuple[str, str]]:
    headers = [("Idempotency-Key", post.key), ("openai-conversation-id", post.conversation)]
    return [(name, value) for name, value in headers if value] + [("X-API-Key", KEY)] * post.with_api_key


def _samples(snapshot: Iterable[Any]) -> Iterator[Sample]:
    for metric, rows in snapshot:
        for labels, value in rows:
            named = dict(zip(metric.labels, labels, strict=True))
            if metric.type == "histogram":
                yield f"{metric.name}_count", named, sum(value[0])
                yield f"{metric.name}_sum", named, value[1]
            else:
                yield metric.name, named, value


def from_samples(samples: Iterable[Sample]) -> tuple[Counter[Any], Counter[Any], Counter[Any]]:
    """A page's samples: what was counted (as `totals.counts` names it), repeats by kind, refusals by kind, status."""
    owed: Counter[Any] = Counter()
    duplicates: Counter[Any] = Counter()
    refused: Counter[Any] = Counter()
    for name, labels, value in samples:
        gpt = labels.get("gen_ai_agent_id", "")
        if name == "otel_bridge_records_total":
            kind = labels["kind"]
            if labels["result"] == "accepted":
                owed["accepted", kind] += value
            elif labels["result"] == "duplicate":
                duplicates[kind] += value
            else:
                refused[kind, STATUS[labels["reason"]]] += value
        elif name == "gen_ai_client_operation_duration_seconds_count":
            told = (labels["event_type"], labels.get("error_type", ""), labels["gen_ai_request_model"])
            owed["operation_duration_count", gpt, *told] += value
        elif name == "gen_ai_client_operation_duration_seconds_sum":
            owed["operation_duration_sum", gpt] += value
        elif name == "gen_ai_client_token_usage_sum":
            owed["token_usage_sum", gpt, labels["gen_ai_token_type"]] += value
        elif name in _BY_LABELS:
            owed[name, gpt, *(labels.get(label, "") for label in _BY_LABELS[name])] += value
        elif name in _BY_GPT:
            owed[name, gpt] += value
    return owed, duplicates, refused


_BY_LABELS = {
    "gpt_slo_events_total": ("result",),
    "gpt_feedback_total": ("result",),
    "gpt_unmeasured_events_total": ("event_type", "error_type", "gen_ai_request_model", "what"),
    "gpt_version_events_total": ("version", "result"),
    "gpt_tool_calls_total": ("tool", "result"),
}
_BY_GPT = {
    "gpt_time_to_first_token_seconds_count",
    "gpt_time_to_first_token_seconds_sum",
    "gpt_reasoning_tokens_total",
    "gpt_tool_seconds_total",
    "gpt_sessions_total",
    "gpt_unpriced_tokens_total",
    "gpt_session_events_count",
    "gpt_session_events_sum",
    "gpt_session_duration_seconds_count",
    "gpt_session_duration_seconds_sum",
}
