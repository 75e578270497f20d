"""Who scrapes, and what each has been shown: a new label set is at 0 on a scraper's first page with it."""

from __future__ import annotations

import msgspec
import pytest

from otel_bridge.metrics.scrapers import MAX_SCRAPERS, LabelSet, Scraper, Scrapers

OLD: LabelSet = ("c", ("old",))
NEW: LabelSet = ("c", ("new",))


@pytest.fixture
def scrapers() -> Scrapers:
    started = Scrapers()
    started.stand([OLD])
    return started


def page(
    scrapers: Scrapers, scraper: Scraper, *sets: LabelSet, can_save: bool = True, arrives: bool = True
) -> set[LabelSet]:
    """The sets that are at 0 on a scraper's next page."""
    saved = not scrapers.begin_page(scraper, sets) or can_save
    if saved:
        scrapers.saved(scraper)
    held = scrapers.held(scraper, saved)
    if arrives:
        scraper.received()
    return {each for each in sets if each in held}


def restarted(scrapers: Scrapers) -> Scrapers:
    again = Scrapers()
    again.load(msgspec.msgpack.decode(msgspec.msgpack.encode(scrapers.dump())))
    return again


def test_what_stands_from_the_start_has_its_value_at_once(scrapers: Scrapers) -> None:
    assert page(scrapers, scrapers.meet("a", False), OLD) == set()


def test_a_new_set_is_at_zero_once_for_each_scraper(scrapers: Scrapers) -> None:
    a, b = scrapers.meet("a", True), scrapers.meet("b", True)
    assert page(scrapers, a, OLD) == page(scrapers, b, OLD) == set()
    assert page(scrapers, a, OLD, NEW) == {NEW}
    assert page(scrapers, a, OLD, NEW) == set()
    assert page(scrapers, b, OLD, NEW) == {NEW}
    assert page(scrapers, b, OLD, NEW) == set()


def test_a_set_that_was_away_for_one_page_is_new_though_another_came_in_its_place(scrapers: Scrapers) -> None:
    a, other = scrapers.meet("a", True), ("c", ("other",))
    for sets in ((OLD,), (OLD, NEW), (OLD, NEW)):
        page(scrapers, a, *sets)
    assert page(scrapers, a, OLD, other) == {other}
    assert page(scrapers, a, OLD, NEW) == {NEW}


def test_two_of_one_name_are_told_apart_by_their_connections(scrapers: Scrapers) -> None:
    a, b = scrapers.meet("same", True), scrapers.meet("same", True)
    page(scrapers, a, OLD)
    page(scrapers, b, OLD)
    assert page(scrapers, a, OLD, NEW) == {NEW}
    assert page(scrapers, a, OLD, NEW) == set()
    assert page(scrapers, b, OLD, NEW) == {NEW}


def test_a_page_that_did_not_arrive_shows_its_zeros_again(scrapers: Scrapers) -> None:
    a = scrapers.meet("a", True)
    page(scrapers, a, OLD)
    assert page(scrapers, a, OLD, NEW, arrives=False) == {NEW}
    assert page(scrapers, a, OLD, NEW) == {NEW}
    assert page(scrapers, a, OLD, NEW) == set()


def test_a_new_connection_goes_on_from_the_one_that_ended(scrapers: Scrapers) -> None:
    a = scrapers.meet("a", False)
    assert page(scrapers, a, OLD, NEW) == {NEW}
    scrapers.leave(a)
    assert page(scrapers, scrapers.meet("a", False), OLD, NEW) == set()


def test_one_that_was_away_sees_the_zero_of_what_came_meanwhile(scrapers: Scrapers) -> None:
    a, b = scrapers.meet("same", True), scrapers.meet("same", True)
    page(scrapers, a, OLD)
    page(scrapers, b, OLD)
    scrapers.leave(b)
    page(scrapers, a, OLD, NEW)
    page(scrapers, a, OLD, NEW)
    assert page(scrapers, scrapers.meet("same", True), OLD, NEW) == {NEW}


def test_to_a_prometheus_that_comes_later_the_first_sample_is_where_it_starts(scrapers: Scrapers) -> None:
    page(scrapers, scrapers.meet("curl", False), OLD, NEW)
    assert page(scrapers, scrapers.meet("prometheus", True), OLD, NEW) == set()


def test_a_value_that_was_shown_does_not_fall_to_zero_in_a_restart(scrapers: Scrapers) -> None:
    a = scrapers.meet("a", True)
    page(scrapers, a, OLD)
    page(scrapers, a, OLD, NEW)
    page(scrapers, a, OLD, NEW)
    again = restarted(scrapers)
    assert page(again, again.meet("a", True), NEW, OLD) == set()


def test_a_set_that_nobody_was_shown_is_at_zero_after_a_restart(scrapers: Scrapers) -> None:
    a = scrapers.meet("a", True)
    page(scrapers, a, OLD)
    again = restarted(scrapers)
    assert page(again, again.meet("a", True), OLD, NEW) == {NEW}


def test_a_value_is_first_shown_when_the_journal_has_it(scrapers: Scrapers) -> None:
    a = scrapers.meet("a", True)
    page(scrapers, a, OLD)
    page(scrapers, a, OLD, NEW)
    before = restarted(scrapers)
    assert page(scrapers, a, OLD, NEW, can_save=False) == {NEW}
    assert page(scrapers, a, OLD, NEW, can_save=True) == set()
    assert page(before, before.meet("a", True), OLD, NEW) == {NEW}, "its value was shown, and would fall"


def test_a_name_is_saved_with_its_first_page(scrapers: Scrapers) -> None:
    page(scrapers, scrapers.meet("a", True), OLD)
    assert scrapers.begin_page(scrapers.meet("b", True), [OLD]), "a stranger after a kill, without its zeros"


def test_nothing_is_saved_where_nothing_is_new(scrapers: Scrapers) -> None:
    a = scrapers.meet("a", True)
    assert page(scrapers, a, OLD) == set()
    scraper = scrapers.meet("a", True)
    assert not scrapers.begin_page(scraper, [OLD])


def test_scrapers_that_come_and_go_are_bounded(scrapers: Scrapers) -> None:
    for n in range(3 * MAX_SCRAPERS):
        for _ in range(20):
            one = scrapers.meet(f"name {n}", False)
            page(scrapers, one, OLD, NEW)
            scrapers.leave(one)
    document = scrapers.dump()
    assert len(document["received"]) == len(scrapers._left) == MAX_SCRAPERS
    assert max(map(len, scrapers._left.values())) == 1


def test_a_page_that_is_not_shown_shows_its_zeros_with_the_next(scrapers: Scrapers) -> None:
    a = scrapers.meet("a", True)
    page(scrapers, a, OLD)
    scrapers.begin_page(a, [OLD, NEW])
    a.withdraw()
    a.received()
    assert page(scrapers, a, OLD, NEW) == {NEW}
    assert page(scrapers, a, OLD, NEW) == set()


def test_a_first_page_that_is_not_shown_is_no_start(scrapers: Scrapers) -> None:
    a = scrapers.meet("a", True)
    scrapers.begin_page(a, [OLD])
    a.withdraw()
    a.received()
    assert page(scrapers, a, OLD, NEW) == set(), "its first sample is where it starts"


def test_a_connection_that_is_older_than_the_numbers_goes_on_as_its_name_does(scrapers: Scrapers) -> None:
    here, there = Scrapers(), scrapers.meet("a", True)
    here.load(None)
    idle = here.meet("a", True)
    page(here, idle, OLD)
    page(scrapers, there, OLD)
    page(scrapers, there, OLD, NEW)
    assert page(scrapers, there, OLD, NEW) == set()
    here.load(scrapers.dump())
    assert page(here, idle, OLD, NEW) == set(), "a value that was shown would fall"
    later: LabelSet = ("c", ("later",))
    assert page(here, idle, OLD, NEW, later) == {later}


def test_what_a_connection_received_of_other_numbers_is_forgotten_at_its_end(scrapers: Scrapers) -> None:
    a = scrapers.meet("a", True)
    for _ in range(9):
        page(scrapers, a, OLD)
    scrapers.load({"page": 1, "since": {}, "received": {}})
    scrapers.leave(a)
    b = scrapers.meet("a", True)
    page(scrapers, b, OLD)
    assert page(scrapers, b, OLD, NEW) == {NEW}


def test_the_list_of_the_last_page_has_nothing_new_and_another_may(scrapers: Scrapers) -> None:
    a, sets = scrapers.meet("a", True), [OLD]
    for more in ((), (NEW,), (NEW,)):
        scrapers.begin_page(a, sets, more)
        scrapers.saved(a)
        held = scrapers.held(a, True)
        a.received()
    assert NEW not in held and held.has_none_of(sets)
    scrapers.begin_page(a, [OLD])  # one is no more
    scrapers.begin_page(a, sets, (NEW,))
    assert NEW in scrapers.held(a, True), "one that comes again is new"
    scrapers.load(scrapers.dump())
    scrapers.begin_page(a, sets, (NEW,))
    assert OLD not in scrapers.held(a, True), "known from the snapshot"
