"""Pages of a stopped journal are spoilt at random: what is delivered, what is parked and what was accepted agree."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from otel_bridge import journal
from otel_bridge.errors import StartRefused
from otel_bridge.journal import Append, DamagedPart, Segment, Store, StoreDamaged
from otel_bridge.records import Idle, Record, decode
from tests.chaos.lanes import LONG
from tests.journal.backends import CONSUMER
from tests.journal.pages import DAMAGE, INTERIOR, LEAF, OVERFLOW, SCATTERED, Pages
from tests.unit.samples import START_US, event, idle

VARIATIONS = 3_000 if LONG else 50
WHOLE_PAGES = sorted(set(DAMAGE) - {SCATTERED})
LATER_US = START_US + 10**12


class Written(NamedTuple):
    path: Path
    records: list[Record]
    """Sequence numbers are 1, 2, 3 …"""
    ends: list[int]
    """The last record of each segment."""

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def spans(self, first: int, last: int) -> int:
        return sum(not isinstance(record, Idle) for record in self.records[first - 1 : last])


def write(path: Path, seed: int, page_size: int, sizes: list[int], count: int) -> Written:
    """A journal of `count` records or a few more. Small pages make deep trees of few records."""
    chance = random.Random(seed)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA page_size = {page_size}")
        db.execute("PRAGMA journal_mode = WAL")
    store = journal.open(f"sqlite:///{path}", CONSUMER)
    written = Written(path, [], [])
    store.begin()
    while len(written.records) < count:
        first = len(written.records)
        if chance.random() < 0.1:
            part: list[Record] = [idle(first + n) for n in range(chance.randint(1, 3))]
        else:
            part = [event(first + n, content="x" * chance.randint(1, 90)) for n in range(chance.choice(sizes))]
        store.write([Append(part, [None] * len(part))])
        written.records.extend(part)
        written.ends.append(len(written.records))
    store.commit()
    store.close()
    return written


@pytest.fixture(scope="module")
def journals(tmp_path_factory: pytest.TempPathFactory) -> list[Written]:
    folder = tmp_path_factory.mktemp("torn")
    return [
        write(folder / "single.db", 1, 8192, [1], 1_400),
        write(folder / "deep.db", 2, 512, [1, 1, 2], 1_400),
        write(folder / "batches.db", 3, 1024, [1, 1, 5, 40, 200], 4_000),
    ]


def copied(made: Written, folder: Path) -> Written:
    return made._replace(path=Path(shutil.copy(made.path, folder / "torn.db")))


def deliver(written: Written, cursor: int) -> tuple[set[int], list[Segment]]:
    """What delivery would find after a cursor: the numbers of what it can read, and what it parks."""
    reader = journal.open_reader(written.url, CONSUMER)
    try:
        seen: set[int] = set()
        parked = []
        while segments := reader.segments(cursor, 512):
            for segment in segments:
                assert segment.last > cursor
                if segment.damaged:
                    parked.append(segment)
                else:
                    first = segment.last - segment.size + 1
                    assert decode(segment.body) == written.records[first - 1 : segment.last], "invented"
                    seen |= set(range(first, segment.last + 1))
                cursor = segment.last
        return seen, parked
    finally:
        reader.close()


def spoil(written: Written, chance: random.Random) -> None:
    pages = Pages(written.path, "segment")
    kind = chance.choice(WHOLE_PAGES)
    candidates = pages.of(chance.choice([LEAF, LEAF, LEAF, INTERIOR, OVERFLOW])) or pages.of(LEAF)
    for _ in range(chance.choice([1, 1, 2, 5])):
        pages.spoil(chance.choice(candidates), kind, chance)


def opened(written: Written) -> Iterator[Store]:
    try:
        store = journal.open(written.url, CONSUMER)
    except StartRefused:
        return
    yield store
    store.close()


def test_random_damage_is_stepped_over_and_nothing_is_lost_from_sight(journals: list[Written], tmp_path: Path) -> None:
    stepped = refused = 0
    for seed in range(VARIATIONS):
        chance = random.Random(seed)
        written = copied(chance.choice(journals), tmp_path)
        cursor = chance.choice([0, 0, chance.choice(written.ends)])
        with closing(sqlite3.connect(written.path, isolation_level=None)) as db:
            db.execute("INSERT INTO sink VALUES (?, ?, ?)", (CONSUMER, cursor, written.spans(1, cursor)))
        spoil(written, chance)
        try:
            seen, parked = deliver(written, cursor)
            reader = journal.open_reader(written.url, CONSUMER)
            ledger = reader.ledger()
            reader.close()
        except StoreDamaged as error:
            assert error.part == DamagedPart.SEGMENTS and ".recover" in error.advice
            assert not list(opened(written)), f"seed {seed}: what cannot be delivered to its end is served"
            refused += 1
            continue
        lost = {n for one in parked for n in range(one.last - one.size + 1, one.last + 1)}
        assert seen | lost == set(range(cursor + 1, len(written.records) + 1)) and not seen & lost, f"seed {seed}"
        for one in parked:
            true = written.spans(one.last - one.size + 1, one.last)
            assert one.spans == true if one.exact else one.spans >= true, f"seed {seed}"
        assert ledger.pending == sum(written.spans(n, n) for n in seen) + sum(one.spans for one in parked), (
            f"seed {seed}"
        )
        assert ledger.last == len(written.records)
        stepped += bool(parked)
    assert stepped > VARIATIONS / 3 and refused > VARIATIONS / 50, (stepped, refused)


def test_scattered_wrong_bytes_never_make_it_deliver_what_nobody_sent(journals: list[Written], tmp_path: Path) -> None:
    """A page that still looks like one may hide rows, which the ledger shows; it invents none, and nothing crashes."""
    for seed in range(VARIATIONS // 4):
        chance = random.Random(seed)
        written = copied(chance.choice(journals), tmp_path)
        pages = Pages(written.path, "segment")
        pages.spoil(chance.choice(pages.of(LEAF)), SCATTERED, chance)
        try:
            deliver(written, 0)
        except StoreDamaged:
            pass


def test_trimming_goes_past_damage_and_deletes_nothing_else(journals: list[Written], tmp_path: Path) -> None:
    trimmed = 0
    for seed in range(max(8, VARIATIONS // 20)):
        chance = random.Random(seed)
        written = copied(chance.choice(journals[:2]), tmp_path)
        safe = written.ends[len(written.ends) * 2 // 3]
        with closing(sqlite3.connect(written.path, isolation_level=None)) as db:
            db.execute("INSERT INTO sink VALUES (?, ?, ?)", (CONSUMER, safe, written.spans(1, safe)))
            db.execute("INSERT INTO meta VALUES ('checkpoint', ?, x'00')", (safe,))
        pages = Pages(written.path, "segment")
        leaf = chance.choice(pages.of(LEAF)[: len(pages.of(LEAF)) // 2])
        pages.spoil(leaf, chance.choice(WHOLE_PAGES), chance)
        for store in opened(written):
            quiet = gone = 0
            while quiet < 3:
                store.begin()
                try:
                    rows = store.trim(LATER_US, LATER_US, 100, []).rows
                    store.commit()
                except StoreDamaged as error:
                    assert error.part == DamagedPart.OLD
                    store.rollback()
                    continue
                gone += rows
                quiet = 0 if rows else quiet + 1
            seen, parked = deliver(written, safe)
            assert seen == set(range(safe + 1, len(written.records) + 1)) and not parked, f"seed {seed}"
            rows_before = sum(end <= safe for end in written.ends)
            assert gone > rows_before - 4 * 8192 // 100, f"seed {seed}: {gone} of {rows_before}"
            trimmed += 1
    assert trimmed


def test_a_row_that_vanished_without_damage_is_not_called_damaged(journals: list[Written], tmp_path: Path) -> None:
    """It is missing from what is pending, so that the ledger shows it."""
    written = copied(journals[0], tmp_path)
    end = written.ends[500]
    with closing(sqlite3.connect(written.path, isolation_level=None)) as db:
        assert db.execute("DELETE FROM segment WHERE last = ?", (end,)).rowcount == 1
    seen, parked = deliver(written, 0)
    first = written.ends[499] + 1
    assert not parked and seen == set(range(1, len(written.records) + 1)) - set(range(first, end + 1))
    reader = journal.open_reader(written.url, CONSUMER)
    ledger = reader.ledger()
    assert (ledger.pending, ledger.unreadable) == (sum(written.spans(n, n) for n in seen), 0)
    reader.close()


def test_a_broken_chain_of_one_row_loses_that_row_alone(journals: list[Written], tmp_path: Path) -> None:
    written = copied(journals[2], tmp_path)
    pages = Pages(written.path, "segment")
    pages.spoil(pages.of(OVERFLOW)[3], "ones", random.Random(1))
    _, parked = deliver(written, 0)
    assert len(parked) == 1 and parked[0].last in written.ends and parked[0].exact
    assert parked[0].body == b"" and parked[0].spans == parked[0].size


def test_of_an_earlier_release_the_most_that_is_lost_is_told(journals: list[Written], tmp_path: Path) -> None:
    """Its rows have no totals."""
    written = copied(journals[0], tmp_path)
    with closing(sqlite3.connect(written.path, isolation_level=None)) as db:
        db.execute("UPDATE segment SET total = NULL")
    pages = Pages(written.path, "segment")
    for leaf in pages.of(LEAF)[3:20]:
        pages.spoil(leaf, "zeros", random.Random(1))
    seen, (lost,) = deliver(written, 0)
    assert not lost.exact and lost.spans == lost.size == len(written.records) - len(seen)


def test_the_newest_record_is_written_again_by_who_still_has_it_in_memory(tmp_path: Path) -> None:
    written = Written(tmp_path / "journal.db", [], [])
    store = journal.open(written.url, CONSUMER)
    for number in range(100):
        store.write_alone([Append([event(number)], [None])])
    store.maintain(1 << 30, lambda run: run())
    pages = Pages(written.path, "segment", checkpoint=False)
    pages.spoil(pages.of(LEAF)[-1], "zeros", random.Random(1))
    reader = store.reader()
    with pytest.raises(StoreDamaged) as told:
        reader.check()
    assert told.value.part == DamagedPart.SEGMENTS
    store.begin()
    store.rewrite_newest()
    store.commit()
    reader.check()
    assert reader.ledger().pending == 100
    reader.close()
    store.close()
