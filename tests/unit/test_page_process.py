"""The process that writes pages: what it writes is what would be written here, and a page comes without it, too."""

from __future__ import annotations

import gzip
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from otel_bridge import config, journal
from otel_bridge.config import Config, Price
from otel_bridge.export import frames
from otel_bridge.gzipped import gzipped_parts
from otel_bridge.journal import Append, Journal
from otel_bridge.metrics import page_process
from otel_bridge.metrics.own import SelfMetrics
from otel_bridge.metrics.scrapers import Scraper
from otel_bridge.metrics.shared import Shared
from otel_bridge.metrics.text import FamilyText
from otel_bridge.ops import alone
from otel_bridge.ops.alone import Alone
from otel_bridge.records import Extras, Record, ToolCall
from tests.harness.waiting import wait_for
from tests.unit.samples import event, feedback, gpt, idle, session, uid

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="on one core there is no such process")

GPTS = ("devops-expert", "otro", "sin-registrar")


def made(folder: Path) -> Config:
    url = f"sqlite:///{folder / 'journal.db'}"
    gpts = {name: gpt(id=name, ttft_objective_seconds=1.0) for name in GPTS[:2]}
    return replace(config.load(None, {"OTEL_BRIDGE_JOURNAL": url}), gpts=gpts, max_models_per_gpt=3)


class Served:
    """A journal, and who counts of it."""

    def __init__(self, folder: Path) -> None:
        self.config = made(folder)
        store = journal.open(self.config.journal, "otlp")
        self.counting = Alone(self.config, store, SelfMetrics())
        store.begin_service()
        self.journal = Journal(store, self.counting.fold)
        self.counting.begin(self.journal)
        self.journal.start()
        self.scraper = self.counting.scrapers.meet("prometheus", True)

    def take(self, records: list[Record]) -> None:
        self.journal.transact(lambda store: store.write([Append(records, [None] * len(records))])).result(60)

    def shared(self, scraper: Scraper | None = None) -> Shared:
        shared = self.counting.shared(scraper or self.scraper)
        (scraper or self.scraper).received()
        return shared

    def written(self, openmetrics: bool = True) -> list[bytes]:
        """A page's lines as the process writes them. Sorted: the order of series is nobody's business."""
        found: list[list[bytes]] = []

        def is_there() -> bool:
            begun = self.shared().packed(openmetrics)
            if begun is not None:
                found.append(sorted(gzip.decompress(b"".join(gzipped_parts([], begun))).splitlines()))
            return bool(found)

        wait_for(is_there, "a page of the process")
        return found[0]

    def end(self) -> None:
        self.counting.close()
        self.journal.stop()


def here(shared: Shared, openmetrics: bool = True) -> list[bytes]:
    """The same as it is written without it."""
    families, held = shared.folded()
    text = FamilyText()
    parts = [part for metric, rows in families for part in text.render(metric, rows, openmetrics, held)]
    return sorted(b"".join(parts).splitlines())


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(alone, "MIN_SERIES", 0)
    monkeypatch.setattr(page_process, "PAUSE_SECONDS", (0.0, 0.0))
    # What a slow machine answers or saves late is there.
    monkeypatch.setattr(page_process, "ANSWER_SECONDS", 60.0)
    monkeypatch.setattr(alone, "PAGE_SECONDS", 60.0)
    served = Served(tmp_path)
    served.take([session(), *map(session, range(1, 20))])
    yield served
    served.end()
    assert children() == []


def children() -> list[psutil.Process]:
    found = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in found if "otel_bridge.metrics.page_process" in one.cmdline()]


def some(rng: random.Random, count: int, first: int) -> list[Record]:
    """Records of every kind, also past what labels are bounded by."""
    records: list[Record] = []
    for number in range(first, first + count):
        name = rng.choice(GPTS)
        kind = rng.random()
        if kind < 0.1:
            records.append(feedback(number, gpt=name, value=rng.choice((-1.0, 1.0)), model=f"m{rng.randrange(6)}"))
        elif kind < 0.2:
            records.append(idle(rng.randrange(1, 20), gpt=name, duration_s=rng.expovariate(0.01)))
        elif kind < 0.25:
            records.append(session(number, gpt=name, historic=rng.random() < 0.5))
        else:
            tools = [ToolCall("buscar", 12.5, rng.choice((None, "timeout")))] * rng.randrange(3)
            extras = Extras(
                unmeasured=rng.choice((0, 0, 1, 2, 4)), ttft_ms=rng.choice((None, 250.0, 1_500.0)),
                tokens_reasoning=rng.choice((None, 7)), version=rng.choice((None, "v1", "v2")), tools=tools,
                historic=rng.random() < 0.1,
            )  # fmt: skip
            records.append(
                event(
                    number, session=uid(rng.randrange(1, 20)), gpt=name, type=rng.choice(("consulta", "raro")),
                    latency_ms=rng.expovariate(1 / 1_500), tokens_in=rng.randrange(3_000), tokens_out=7,
                    model=rng.choice((None, "gpt-6.2-sol", f"m{rng.randrange(6)}")),
                    error=rng.choice((None, None, f"e{rng.randrange(15)}")), tokens_cached=rng.choice((None, 0)),
                    extras=rng.choice((None, extras)),
                )
            )  # fmt: skip
    return records


@pytest.mark.parametrize("openmetrics", [True, False])
def test_it_writes_what_would_be_written_here(served: Served, openmetrics: bool) -> None:
    """Whatever is posted between two pages, and across a restart of it."""
    rng = random.Random(7)
    for turn in range(6):
        for part in range(rng.randrange(1, 5)):
            served.take(some(rng, rng.randrange(1, 60), 1_000 * (turn + 1) + 100 * part))
        if turn == 3:
            children()[0].kill()
        served.written(openmetrics)  # its new series stand at 0 once
        assert served.written(openmetrics) == here(served.shared(), openmetrics)
    assert any(b"e1" in line and b" 0.0" not in line for line in served.written(openmetrics))


def test_what_is_new_stands_at_0_for_each_scraper_once(served: Served) -> None:
    served.take([event(1)])
    served.written()
    other = served.counting.scrapers.meet("another", True)
    served.shared(other)
    served.take([event(2, error="timeout")])
    for scraper in (served.scraper, other):
        for is_new in (True, False):
            shared = served.shared(scraper)
            begun = shared.packed(True)
            assert begun is not None
            lines = gzip.decompress(b"".join(gzipped_parts([], begun))).decode().splitlines()
            (count,) = [line for line in lines if "duration_seconds_count" in line and 'error_type="timeout"' in line]
            assert count.endswith(" 0.0" if is_new else " 1.0")
            assert sorted(line.encode() for line in lines) == here(shared)


def test_another_configuration_counts_from_its_moment_on(served: Served) -> None:
    """What was counted by the one before is not counted anew, and the process never shows it otherwise."""
    served.written()
    served.take([event(1, latency_ms=1_500.0)])
    before = children()
    gpts = dict(served.config.gpts)
    gpts["devops-expert"] = gpt(latency_objective_seconds=1.0, prices={"gpt-6.2-sol": Price(1, 1)})
    served.counting.configure(replace(served.config, gpts=gpts))
    served.take([event(2, latency_ms=1_500.0)])
    assert served.shared().packed(True) is None, "the one that counts by what was before is not asked"
    assert served.written() == here(served.shared())
    assert children() != before
    judged = [line for line in served.written() if b"slo_events_total{" in line and not line.endswith(b" 0.0")]
    assert [line.rpartition(b" ")[2] for line in judged] == [b"1.0", b"1.0"], "the first was good, the second is not"


def test_it_never_goes_past_what_it_was_told_of(served: Served) -> None:
    served.take([event(1)])
    served.written()
    shared = served.shared()
    wanted = here(shared)
    served.take([event(2)])
    begun = shared.packed(True)
    assert begun is not None
    assert sorted(gzip.decompress(b"".join(gzipped_parts([], begun))).splitlines()) == wanted


def test_one_that_hangs_is_ended_and_the_next_page_has_another(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.take([event(1)])
    served.written()
    (hung,) = children()
    hung.suspend()
    with monkeypatch.context() as impatient:
        impatient.setattr(page_process, "ANSWER_SECONDS", 0.2)
        assert served.shared().packed(True) is None
        wait_for(lambda: hung not in children(), "its end")  # the page does not wait for that
    assert served.written() == here(served.shared())


def test_one_that_is_far_behind_starts_anew_from_a_dump(served: Served) -> None:
    served.take([event(1)])
    served.counting.save()
    served.written()
    (first,) = children()
    served.take(some(random.Random(1), page_process.MAX_BEHIND + 1, 100))
    assert served.shared().packed(True) is None
    served.written()
    assert served.written() == here(served.shared())
    assert first not in children()


def _sql(served: Served, statement: str, *values: int) -> None:
    with closing(sqlite3.connect(served.config.journal.removeprefix("sqlite:///"), isolation_level=None)) as db:
        assert db.execute(statement, values).rowcount == 1


DAMAGES = "UPDATE segment SET body = x'00' WHERE last = ?"


@pytest.mark.parametrize("statement", [DAMAGES, "DELETE FROM segment WHERE last = ?"])
def test_what_it_cannot_read_is_written_here(served: Served, statement: str) -> None:
    """This process has folded it from memory."""
    served.take([event(1)])
    served.written()
    served.take([event(2)])
    _sql(served, statement, served.journal.store.last)
    served.take([event(3)])
    shared = served.shared()
    assert shared.packed(True) is None
    assert any(b'type="consulta"' in line and line.endswith(b" 3.0") for line in here(shared))


def test_while_it_follows_a_page_has_nothing_to_fold(served: Served) -> None:
    served.take([event(1)])
    served.written()
    served.take([event(2)])
    _followed(served)
    _sql(served, DAMAGES, served.journal.store.last)
    assert served.written() == here(served.shared()), "it has read that before"


def _followed(served: Served) -> None:
    """As after two of housekeeping's steps."""
    pages = served.counting._pages
    assert pages is not None
    for _ in range(2):
        served.counting.save_if_due()
        wait_for(lambda: pages._is_idle, "an answer")


def test_a_page_that_is_overtaken_is_written_here(served: Served) -> None:
    """One whose own part takes long to be saved: the process goes on."""
    served.take([event(1)])
    served.written()
    before, shared = children(), served.shared()
    served.take([event(2)])
    served.counting.save_if_due()
    assert shared.packed(True) is not None, "it is told of what was there a second ago"
    shared = served.shared()
    served.take([event(3)])
    _followed(served)
    assert shared.packed(True) is None
    assert served.shared().packed(True) is not None and children() == before


def test_a_gpt_that_a_reload_takes_out_counts_on_as_it_was(served: Served) -> None:
    """Its sessions fall idle afterwards."""
    served.take([session(500, gpt="otro"), session(501, gpt="otro"), idle(500, gpt="otro")])
    served.written()
    gpts = {name: one for name, one in served.config.gpts.items() if name != "otro"}
    served.counting.configure(replace(served.config, gpts=gpts))
    served.written()
    served.take([idle(501, gpt="otro")])
    served.written()
    assert served.written() == here(served.shared())
    assert not any(b'"unknown"' in line and b'"otro"' in line for line in served.written())


def test_no_other_file_is_read_that_has_the_journals_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "MIN_SERIES", 0)
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    link = tmp_path / "data"
    link.symlink_to(tmp_path / "ours")
    served = Served(link)
    try:
        served.take([session(), event(1)])
        assert served.counting._begin_pages().journal == f"sqlite:///{tmp_path}/ours/journal.db"
        link.unlink()
        link.symlink_to(tmp_path / "theirs")
        wait_for(lambda: served.journal.store.displaced or served.take([event()]), "a journal that is displaced")
        assert served.shared().packed(True) is None and served.shared().packed(True) is None
        assert children() == []
    finally:
        served.end()


def test_after_a_failure_there_is_a_pause_which_grows(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_process, "PAUSE_SECONDS", (60.0, 200.0))
    pages = served.counting._pages
    assert pages is not None
    served.take([event(1)])
    served.written()
    for pause in (60.0, 120.0, 200.0, 200.0):
        pages._pause = pause if pause == 60.0 else pages._pause
        children()[0].kill()
        assert served.shared().packed(True) is None
        assert served.shared().packed(True) is None and children() == []
        assert pause - 5 < pages._not_before - time.monotonic() <= pause
        pages._not_before = 0.0
        served.shared().packed(True)
        wait_for(lambda: pages._is_ready, "another one")
    served.written()
    assert pages._pause == 60.0, "it has answered"


def test_it_is_ended_where_nobody_scrapes(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.take([event(1)])
    served.written()
    monkeypatch.setattr(page_process, "UNWANTED_SECONDS", 0.0)
    served.counting.save_if_due()
    wait_for(lambda: not children(), "its end")
    assert served.written() == here(served.shared())


def test_a_small_page_is_written_here(tmp_path: Path) -> None:
    served = Served(tmp_path)
    try:
        served.take([session(), event(1)])
        assert served.shared().packed(True) is None and served.shared().packed(True) is None
        assert children() == []
    finally:
        served.end()


def test_a_stop_waits_for_no_answer(served: Served) -> None:
    served.take([event(1)])
    served.written()
    children()[0].suspend()
    began = time.monotonic()
    served.counting.close()
    assert time.monotonic() - began < page_process.ANSWER_SECONDS
    assert served.shared().packed(True) is None


def test_a_stop_while_it_starts_waits_for_it_no_longer(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no page asks one that became ready meanwhile."""
    started, goes_on = threading.Event(), threading.Event()
    start = frames.start

    def late(module: str) -> subprocess.Popen[bytes]:
        started.set()
        assert goes_on.wait(30)
        process = start(module)
        process.send_signal(signal.SIGSTOP)
        return process

    monkeypatch.setattr(frames, "start", late)
    assert served.shared().packed(True) is None
    assert started.wait(30)
    ends = threading.Thread(target=served.counting.close)
    ends.start()
    pages = served.counting._pages
    assert pages is not None
    wait_for(lambda: pages._process._closing, "the stop")
    goes_on.set()
    ends.join(page_process.START_SECONDS / 2)
    assert not ends.is_alive()
    assert served.shared().packed(True) is None


def test_signals_of_a_group_do_not_end_it(served: Served) -> None:
    served.take([event(1)])
    served.written()
    (one,) = children()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(one.pid, number)
    assert served.shared().packed(True) is not None
    assert children() == [one]
