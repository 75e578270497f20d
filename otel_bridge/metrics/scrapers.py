"""Who scrapes `/metrics`, and what each has been shown: a new label set is shown at 0 first.

Prometheus takes a series' first sample for where it starts: what a new label set (a model, an error code) has counted
by then is in no `increase` and in no difference. So a set stands at 0 on the first page that a scraper gets with it,
and shows its value from that scraper's next page on. Two Prometheus side by side get that 0 each.

Pages are numbered. `since` of a set is the number of the first page that it was on; a scraper that has received page n
in full is shown the values of all sets whose `since` is n or less. That must hold across a kill, too: a set that fell
back to 0 would be counted twice. So before a value is shown for the first time, what the scraper has received is in the
journal (`ops/snapshot.py`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from itertools import chain
from typing import Any

LabelSet = tuple[str, tuple[str, ...]]
"""A family's name, and the values of its labels."""

MAX_SCRAPERS = 64
"""Names of scrapers that are remembered; the one that came longest ago is forgotten."""
MAX_LEFT = 8
"""Ended connections of one name that are remembered."""


class Scraper:
    """One connection, or one after the other of a scraper that opens one a page."""

    __slots__ = ("_before", "epoch", "last", "name", "sent", "starts_anywhere")

    def __init__(self, name: str, last: int | None, starts_anywhere: bool = True, epoch: int = 0) -> None:
        self.name = name
        self.last = last
        """The newest page that it has received in full. None: its first page is where it starts."""
        self.starts_anywhere = starts_anywhere
        self.epoch = epoch
        """Of the pages' numbers (`Scrapers.load`)."""
        self.sent: int | None = None
        """The number of the page that was made for it last; None: that had none."""
        self._before: int | None = None

    def copy(self) -> Scraper:
        copied = Scraper(self.name, self.last, self.starts_anywhere, self.epoch)
        copied.sent, copied._before = self.sent, self._before
        return copied

    def become(self, other: Scraper) -> None:
        """What was done to a copy is done."""
        self.last, self.epoch, self.sent, self._before = other.last, other.epoch, other.sent, other._before

    def begin(self, page: int) -> None:
        self._before, self.sent = self.last, page
        if self.last is None:
            self.last = page

    def withdraw(self) -> None:
        """The page that was begun for it is not shown to it: it gets one without a number."""
        self.last, self.sent = self._before, None

    def received(self) -> None:
        """The page that was made for it last has reached it in full."""
        if self.sent is not None:
            self.last = self.sent


class Scrapers:
    """Every scraper that there is or was, and every label set's first page. Called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.began_us: int | None = None
        """When what is counted began, from nothing; None: not known, an earlier release began it."""
        self._epoch = 0
        self._page = 0
        self._newest = 0
        """The newest page that a label set was new on."""
        self._since: dict[LabelSet, int] = {}
        self._shown: Sequence[LabelSet] | None = None
        """Label sets of the last page: all of them are in `_since`."""
        self._digests: dict[bytes, int] | None = None
        """`since` by digest, where it has not changed since that was made: in a commit there is no time for it."""
        self._restored: dict[bytes, int] = {}
        """`since` by digest, of sets that no page of this process had yet."""
        self._received: OrderedDict[str, int] = OrderedDict()
        """Name → newest page that a scraper of it has received and that values are shown by."""
        self._saved: dict[str, int] = {}
        """The same, as the journal has it."""
        self._left: dict[str, list[int]] = {}
        """Name → `last` of its ended connections, that a new connection goes on from."""

    def stand(self, sets: Iterable[LabelSet]) -> None:
        """These sets are there before the first page: they show their values to everyone."""
        with self._lock:
            self._digests = None
            for each in sets:
                self._since.setdefault(each, 0)

    def meet(self, name: str, starts_anywhere: bool) -> Scraper:
        """A scraper that comes. `name` tells it from others, as far as its requests do. `starts_anywhere`: to one that
        was never here, a value is no rise (Prometheus: its first sample is where it starts)."""
        with self._lock:
            left = self._left.get(name)
            last = left.pop() if left else self._known(name, starts_anywhere)
            return Scraper(name, last, starts_anywhere, self._epoch)

    def _known(self, name: str, starts_anywhere: bool) -> int | None:
        if name in self._received:
            return self._received[name]
        # Of a scraper whose name has changed, 0 would be a fall: it may have been shown these values.
        return None if starts_anywhere else max(self._received.values(), default=0)

    def leave(self, scraper: Scraper) -> None:
        """Its connection has ended; a later one of the same name goes on from where it was."""
        with self._lock:
            if scraper.last is not None and scraper.epoch == self._epoch:
                left = self._left.setdefault(scraper.name, [])
                left.append(scraper.last)
                del left[:-MAX_LEFT]
                while len(self._left) > MAX_SCRAPERS:
                    del self._left[next(iter(self._left))]

    def begin_page(self, scraper: Scraper, sets: Sequence[LabelSet], more: Iterable[LabelSet] = ()) -> bool:
        """Numbers the page that has these sets, and a few `more`. True: `dump` must be in the journal before it shows
        what is new. `sets`: nobody changes it; the same object as on the page before has nothing new."""
        more = list(more)
        with self._lock:
            if scraper.epoch != self._epoch:  # its connection is older than these numbers
                scraper.epoch = self._epoch
                scraper.last = self._known(scraper.name, scraper.starts_anywhere)
            self._page += 1
            for each in more if sets is self._shown else chain(sets, more):
                if each not in self._since:
                    since = self._restored.pop(_digest(each), self._page)
                    self._since[each] = since
                    self._digests = None
                    self._newest = max(self._newest, since)
            self._shown = sets
            if len(self._since) > len(sets) + len(more):  # some are no more: one that comes again is new
                there = {*sets, *more}
                self._since = {each: page for each, page in self._since.items() if each in there}
                self._digests = None
            self._restored.clear()  # the rest is no more
            if self._digests is None:
                self._digests = {_digest(each): page for each, page in self._since.items()}
            scraper.begin(self._page)
            name, last = scraper.name, self._page if scraper.last is None else scraper.last
            self._received[name] = max(last, self._received.pop(name, 0))
            while len(self._received) > MAX_SCRAPERS:
                self._saved.pop(self._received.popitem(last=False)[0], None)
            return self._saved.get(name, -1) < min(last, self._newest)

    def saved(self, scraper: Scraper) -> None:
        """What `begin_page` asked for is in the journal."""
        if scraper.last is not None:
            with self._lock:
                self._saved[scraper.name] = max(scraper.last, self._saved.get(scraper.name, 0))

    def held(self, scraper: Scraper, is_saved: bool) -> Held:
        """The sets that are at 0 on its page, those that came since it was begun among them. `is_saved`: whether what
        `begin_page` asked for is in the journal."""
        with self._lock:
            last = scraper.last or 0
            if not is_saved:
                last = min(last, self._saved.get(scraper.name, max(self._saved.values(), default=0)))
            return Held(self._since, last, self._shown if self._newest <= last else None)

    # --- snapshot -------------------------------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """What a restart goes on from, for `load`."""
        with self._lock:
            digests = self._digests
            if digests is None:
                digests = {_digest(each): page for each, page in self._since.items()}
            since = self._restored | digests
            received = dict(self._received)
            return {"page": self._page, "since": since, "received": received, "began": self.began_us}

    def load(self, document: dict[str, Any] | None) -> None:
        """Goes on from what was dumped, here or by another replica; None: from nothing. What was counted here before is
        no more, and scrapers whose connections are older are met anew."""
        document = document or {"page": 0, "since": {}, "received": {}}
        with self._lock:
            self._epoch += 1
            self.began_us = document.get("began")
            self._since, self._shown, self._left, self._digests = {}, None, {}, None
            self._page = document["page"]
            self._restored = dict(document["since"])
            self._newest = max(self._restored.values(), default=0)
            self._received = OrderedDict(document["received"])
            self._saved = dict(self._received)


class Held:
    """The label sets that are at 0 on a page."""

    def __init__(self, since: Mapping[LabelSet, int], last: int, not_held: Sequence[LabelSet] | None) -> None:
        self._since = since
        self._last = last
        self._not_held = not_held
        """The sets that the page was begun with, where none of them is at 0."""

    def has_none_of(self, sets: Sequence[LabelSet]) -> bool:
        """Whether none of them is at 0, as far as that is known without a look at each: to look at the 50,000 series of
        1,000 GPTs takes 25 ms."""
        return sets is self._not_held

    def __contains__(self, label_set: object) -> bool:
        since = self._since.get(label_set)  # type: ignore[call-overload]
        return since is None or since > self._last


@cache
def _digest(label_set: LabelSet) -> bytes:
    """Names it in a snapshot, in 8 bytes for some 150."""
    name, labels = label_set
    return blake2b("\0".join((name, *labels)).encode(), digest_size=8).digest()
