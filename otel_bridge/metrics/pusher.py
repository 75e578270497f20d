"""Metrics pushed by OTLP, for those who scrape nothing: one more scraper, which takes a page now and then and sends it.

    waiting ──it is time──▶ page ──▶ sent ──┬─ ok, partial ─▶ the page has arrived (scrapers.py)
       ▲                                    └─ anything else ─▶ it has not
       └────────────── the interval, or less where the endpoint may be well soon ◀──┘

A page that is not taken is dropped: each says all that the one before said. So nothing is queued, and nothing waits for
this but the next page.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

from otel_bridge import catalog, clock
from otel_bridge.config import Push
from otel_bridge.export.backoff import RETRY_AFTER_LIMIT_SECONDS
from otel_bridge.export.otlp import Transport, connect
from otel_bridge.export.request_size import LEAST_BYTES, REQUEST_BYTES
from otel_bridge.export.result import KINDS, SendResult, shorten
from otel_bridge.metrics.otlp import Resources, Times, label_sets, requests
from otel_bridge.metrics.scrapers import LabelSet, Scraper, Scrapers
from otel_bridge.metrics.shown import ShownPage

log = logging.getLogger(__name__)

NAME = "otlp"
"""The same in each replica, and after each restart: it is one scraper, whoever is steward."""
LAST_SECONDS = 2.0
"""That a stop leaves to what is under way before the last page: after it, what pages are made of may be closed."""
RETRY_SECONDS = 1.0
"""Before a first failure is tried again; it doubles with each in a row, up to the interval."""


class Pusher:
    """`run` is a supervised worker's body; the rest is called from any thread."""

    def __init__(
        self,
        push: Push,
        page: Callable[[Scraper], ShownPage],
        scrapers: Scrapers,
        whose: Resources,
        went_back_us: Callable[[], int],
    ) -> None:
        """`went_back_us`: when the journal was recognised to have gone back last; 0: never."""
        self._push = push
        self._page = page
        self._scrapers = scrapers
        self._whose = whose
        self._went_back_us = went_back_us
        self._process_us = clock.now_us()
        self._ends = threading.Event()
        self._last_by = 0.0
        """Until when the last page may be begun (monotonic)."""
        self._transport: Transport | None = None
        self._counts: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
        self._failures = 0
        self._request_bytes = REQUEST_BYTES
        self._before: set[LabelSet] = set()
        """What was on the last page that the endpoint took."""
        self._last = SendResult("ok")
        self.state = "starting"
        """The last answer's kind."""

    def counts(self) -> Mapping[str, int]:
        """Pushes by their answer's kind, since this process began."""
        return dict(self._counts)

    def stop(self) -> None:
        """`run` pushes a last page, where the one before was taken, and returns."""
        self._last_by = time.monotonic() + LAST_SECONDS
        self._ends.set()

    def run(self) -> None:
        """Until `stop`."""
        scraper = self._scrapers.meet(NAME, starts_anywhere=True)
        try:
            pause = 0.0
            while not self._ends.wait(pause):
                began = time.monotonic()
                self._once(scraper)
                pause = max(0.0, self._seconds() - (time.monotonic() - began))
            if self.state == "ok" and time.monotonic() < self._last_by:
                self._once(scraper, last=True)
        finally:
            self._scrapers.leave(scraper)
            transport, self._transport = self._transport, None
            if transport is not None:
                transport.close()

    def _once(self, scraper: Scraper, last: bool = False) -> None:
        """`last`: what a process shows of itself ends with it."""
        # Before the page is made: one that a steward makes later has the later time, and so the last word.
        now_us = clock.now_us()
        page = self._page(scraper)
        families = page.families
        if last:
            families = [one for one in families if one.metric.name not in catalog.OF_EACH_PROCESS]
        there = set(label_sets(families))
        times = Times(now_us * 1000, self._began_us() * 1000, self._process_us * 1000)
        bodies = requests(families, self._gone(there), self._whose, times, self._request_bytes)
        result = SendResult("ok")
        for body in bodies:
            if time.monotonic() > page.until:  # this process was halted: another replica may count for all now
                return
            sent = body.SerializeToString()
            answer = self._send(sent)
            if answer.kind != "ok":
                result = answer
            if answer.too_large:
                self._request_bytes = max(LEAST_BYTES, len(sent) // 2)
            if answer.kind not in ("ok", "partial"):
                break
        if result.kind in ("ok", "partial"):
            scraper.received()
            self._before = there
        self._counts[result.kind] += 1
        self._tell(result)

    def _send(self, body: bytes) -> SendResult:
        try:
            if self._transport is None:
                self._transport = connect(self._push.otlp, "metrics")
        except OSError as error:
            return SendResult("config", shorten(f"{type(error).__name__}: {error}"))
        return self._transport.send(body)

    def _began_us(self) -> int:
        """Counters have only grown since then; 0: not known. A journal that goes back takes them back, once."""
        return max(self._scrapers.began_us or 0, self._went_back_us())

    def _gone(self, there: set[LabelSet]) -> list[LabelSet]:
        """What has ended. What another replica shows from now on has not."""
        if not any(name == catalog.SERIES.name for name, _ in there):
            return [each for each in self._before - there if each[0] in catalog.OF_EACH_PROCESS]
        return list(self._before - there)

    def _tell(self, result: SendResult) -> None:
        before, self.state, self._last = self.state, result.kind, result
        self._failures = 0 if result.kind in ("ok", "partial") else self._failures + 1
        if result.kind == before:
            return
        place = self._push.otlp.endpoint
        if result.kind != "ok":
            log.warning("metrics are not taken at %s (%s): %s", place, result.kind, result.message)
        elif before != "starting":
            log.info("metrics are taken again at %s", place)

    def _seconds(self) -> float:
        """From one page to the next."""
        result = self._last
        if result.kind != "retry" and not result.too_large:
            return self._push.seconds
        doubled: float = RETRY_SECONDS * 2 ** min(self._failures - 1, 16)
        wait = min(doubled, self._push.seconds) * random.uniform(0.75, 1.0)  # noqa: S311
        asked = min(result.retry_after_seconds or 0.0, RETRY_AFTER_LIMIT_SECONDS)
        return max(wait, asked)
