"""Which of its session's traces an event is in. A trace store discards what makes a trace too long, after its 200.

A session's events fill one trace, its part 0; when that is full the next event opens part 1, and so on. How far a
session has come is one number, its fill: the bytes of its events, filled up to a whole part at each part's end.

    fill   0 ─────────── PART_BYTES ─────────── 2 · PART_BYTES ──▶
           part 0        part 1, opened by the    part 2
                         event that begins here

The part of an event is decided once, when it is journaled, and stands in its record: whoever reads the journal finds
the same one (docs/decisions/0010-long-sessions.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from otel_bridge.records import Event, Record

PART_BYTES = 2_400_000
"""Of one trace. Tempo keeps 5,000,000 by default, and counts once more what is sent again after a kill or a time-out: a
part fits in it twice."""
PART_EVENTS = 1_200
"""Of one trace: more than anybody reads, and as many as a view of a trace still draws well."""
EVENT_BYTES = PART_BYTES // PART_EVENTS
"""What an event counts at the least, beside its content."""
UNCOUNTED_BYTES = 6 * EVENT_BYTES
"""What an event counts that was journaled by a release that counted none."""
REMEMBERED = 50_000
"""Sessions whose fill is remembered."""

as_sent = msgspec.json.Encoder().encode
"""A content as it is in its span: what it counts is the length of that."""

ReadFills = Callable[[list[bytes]], Iterable[tuple[bytes, int]]]
"""The fills of those of these sessions that exist."""


def fill_of(counted: int | None, events: int) -> int:
    """The fill of a session in the journal. `counted`: None where no release has counted it yet."""
    return min(events * UNCOUNTED_BYTES, PART_BYTES) if counted is None else counted


def parts_of(fill: int) -> int:
    """How many traces a session with this fill has."""
    return max(0, fill - 1) // PART_BYTES + 1


class Parts:
    """Decides the parts of what one writer journals: `assign`, then `settle` or `undo`, once a commit.

    Where several writers fill one session at once, each learns of the others about a second later (`learn`): by what
    comes meanwhile a part may be too large."""

    def __init__(self) -> None:
        self.event_bytes = EVENT_BYTES
        """What an event counts beside its content: what its span takes, at the most."""
        self.tool_bytes = EVENT_BYTES
        """What a call of a tool within it counts, as it is a span, too."""
        self._young: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}
        """Fills by session, in two generations: to drop the older one costs nothing a session."""
        self._group: dict[bytes, int] = {}
        """Fills after the group in hand."""
        self.marked: list[Event] = []
        """Events of the group in hand that are in a later part than the first."""

    def assign(
        self, records: Sequence[Record], sizes: Mapping[bytes, int], created: Collection[bytes], read: ReadFills
    ) -> dict[bytes, int]:
        """Sets the parts of a group's new events, in their order. `sizes`: its sessions, and what their events count
        (`event_bytes` each, the content `as_sent`, and `tool_bytes` a call of a tool). `created`: those of them that
        the group creates. Returns their fills after it."""
        young, old = self._young, self._old
        fills: dict[bytes, int] = {}
        unknown: list[bytes] = []
        long: set[bytes] = set()
        for session, size in sizes.items():
            fill = young.get(session)
            if fill is None:
                fill = old.get(session, 0)
                if not fill and session not in created:
                    unknown.append(session)
            if fill + size > PART_BYTES:
                long.add(session)
                fills[session] = fill
            else:
                fills[session] = fill + size
        for session, fill in read(unknown) if unknown else ():
            if fill + sizes[session] > PART_BYTES:
                long.add(session)
                fills[session] = fill
            else:
                fills[session] = fill + sizes[session]
        if long:
            self._mark([r for r in records if r.__class__ is Event and r.session in long], fills)
        self._group = fills
        return fills

    def _size(self, event: Event) -> int:
        size = self.event_bytes + (0 if event.content is None else len(as_sent(event.content)))
        return size if event.extras is None else size + len(event.extras.tools) * self.tool_bytes

    def _mark(self, events: Iterable[Event], fills: dict[bytes, int]) -> None:
        """Fills parts event by event: these are of sessions that do not stay within their first."""
        for event in events:
            fill, size = fills[event.session], min(self._size(event), PART_BYTES)
            room = PART_BYTES - fill % PART_BYTES
            if size > room:
                fill += room
            event.part = fill // PART_BYTES
            if event.part:
                event.opens = fill % PART_BYTES == 0
                self.marked.append(event)
            fills[event.session] = fill + size

    def settle(self) -> None:
        """The group is committed."""
        young = self._young
        young.update(self._group)
        self._group = {}
        if self.marked:
            self.marked = []
        if len(young) > REMEMBERED // 2:
            self._young, self._old = {}, young

    def undo(self) -> None:
        """The group is not committed, and its records are as they were."""
        for event in self.marked:
            event.part, event.opens = 0, False
        self._group, self.marked = {}, []

    def learn(self, fills: Iterable[tuple[bytes, int]]) -> None:
        """How far sessions have come that other writers fill, too. Between two groups."""
        for session, fill in fills:
            known = self._young.get(session) or self._old.get(session)
            if known is not None and known < fill:
                self._young[session] = fill

    def forget(self, session: bytes) -> None:
        """A session is deleted."""
        self._young.pop(session, None)
        self._old.pop(session, None)
