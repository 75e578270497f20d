"""The page: what is shared stands on the steward's alone, and only as long as its lease surely lasts."""

from __future__ import annotations

import time

from otel_bridge import catalog
from otel_bridge.metrics.own import SelfMetrics
from otel_bridge.metrics.page import BridgeCollector, Sources
from otel_bridge.metrics.scrapers import Scraper, Scrapers
from otel_bridge.metrics.shared import Shared, folded, shared
from otel_bridge.metrics.state import MetricState
from tests.unit.samples import event, gpt, session


class Steward:
    """Counts one session; `until`: how long from now on it may be shown."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.state = MetricState({"devops-expert": gpt()})
        self.own = SelfMetrics().counts()
        self.scrapers = Scrapers()
        self.scrapers.stand(self.state.label_sets())
        self.state.apply([session()], 1)

    def shared(self, scraper: Scraper) -> Shared:
        self.scrapers.begin_page(scraper, [*self.state.label_sets(), *self.own.label_sets()])
        held = self.scrapers.held(scraper, True)
        return shared(self.state, self.own, held, None, time.monotonic() + self.until)


def page_of(steward: Steward, scraper: Scraper) -> str:
    gpts = {"devops-expert": gpt()}
    sources = Sources(
        shared=steward.shared, gpts=lambda: gpts, windows=lambda: None, workers=lambda: [],
        journal_bytes=lambda: (0, 0), journal_in_place=lambda: True, journal_backend="postgresql",
        went_back=lambda: None, export_configured=False, started=0.0, reload_failed=lambda: False,
        limits_fallback=lambda: False, pushes=lambda: {"ok": 0},
    )  # fmt: skip
    return b"".join(BridgeCollector(sources).render(False, scraper)).decode()


def test_a_page_within_the_lease_shows_what_is_shared() -> None:
    steward = Steward(until=60)
    scraper = steward.scrapers.meet("a", True)
    page = page_of(steward, scraper)
    assert f"{catalog.STEWARD.name} 1.0" in page and catalog.SESSIONS.name in page
    assert scraper.sent == 1


def test_a_page_that_was_halted_past_the_lease_shows_none_of_it() -> None:
    """Another steward may have shown more since: these would be counters that fall."""
    steward = Steward(until=-1)
    scraper = steward.scrapers.meet("a", True)
    page = page_of(steward, scraper)
    shown = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")}
    assert shown == catalog.OF_EACH_PROCESS and f"{catalog.STEWARD.name} 0.0" in page
    assert scraper.sent is None and scraper.last is None, "it has received none of the numbered pages"


def test_a_label_set_that_comes_while_its_page_is_written_is_at_0_on_it() -> None:
    """Also where every set that the page was begun with shows its value, and nobody asks for each of them."""
    steward = Steward(until=60)
    state, scrapers = steward.state, steward.scrapers
    scraper = scrapers.meet("a", True)
    sets = state.label_sets()
    scrapers.begin_page(scraper, sets, steward.own.label_sets())
    scraper.received()
    scrapers.begin_page(scraper, sets, steward.own.label_sets())
    held = scrapers.held(scraper, True)
    assert held.has_none_of(sets)
    assert folded(state, held).held == frozenset()
    assert (catalog.RECORDS.name, ("event", "rejected", "x")) in held, "a refusal that comes for the first time"
    state.apply([event(model="new")], 2)
    counted = (
        catalog.OPERATION_DURATION.name,
        next(key for key in state.histograms[catalog.OPERATION_DURATION.name] if "new" in key),
    )
    assert counted in folded(state, held).held
    assert (catalog.SESSIONS.name, next(iter(state.counters[catalog.SESSIONS.name]))) not in held
