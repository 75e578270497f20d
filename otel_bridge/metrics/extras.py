"""What few events say beyond the documented fields → families of their own. Part of the fold in `state.py`.

A GPT that says none of it has no series here. Versions come and go with every change of a prompt, so that a GPT's are
not the first ones for ever, as its models are: new ones take the place of those that no event has named for a day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Protocol

from otel_bridge import catalog
from otel_bridge.catalog import Metric
from otel_bridge.config import Gpt
from otel_bridge.ids import DAY_US
from otel_bridge.records import UNMEASURED_LATENCY, UNMEASURED_TOKENS_OUT, Event, Extras, ToolCall

MAX_VERSIONS = 10
"""Of a GPT, that are shown at once."""
VERSION_KEPT_US = DAY_US
"""How long a version that no event names keeps its place. It bounds how many series a client can make in a day."""
VERSION_AWAY_US = 10 * 60 * 1_000_000
"""How long a version that has lost its place is not admitted again. Between two scrapes it would begin anew unseen, and
what it counts up to its old value would be in no difference; the boards' rules see a series end after seven minutes."""
MAX_TOOLS = 20
"""Of a GPT."""
RESULTS = ("good", "slow", "failed", "unmeasured")
"""Of a version's events: what an objective says of them, and why."""

Labels = tuple[str, ...]


class Histogram(Protocol):
    def observe(self, bounds: Any, value: float, exemplar: Event | None = None) -> None: ...


class ExtraFold:
    """Used under the state's lock."""

    def __init__(
        self,
        histogram: Callable[[Metric, Labels], Histogram],
        counter: Callable[[Metric, Labels], list[float]],
        families: Mapping[str, MutableMapping[Labels, Any]],
        capped: dict[str, int],
    ) -> None:
        """`families`: those that labels of a version are taken out of again. `capped`: counts what had no room."""
        self._histogram = histogram
        self._counter = counter
        self._families = families
        self._capped = capped
        capped |= {"version": 0, "tool": 0}
        self.versions: dict[str, dict[str, int]] = {}
        """By GPT: when the last event of each version arrived."""
        self.left: dict[str, dict[str, int]] = {}
        """By GPT: when versions lost their place, of those that are not admitted again yet."""
        self.tools: dict[str, set[str]] = {}
        """By GPT."""

    def stand_at_zero(self, gpt: Gpt, base: Labels) -> None:
        """What is there from the start: of the time to the first token, where the GPT has an objective of it."""
        if gpt.ttft_objective_seconds is None:
            return
        for result in ("good", "bad"):
            self._counter(catalog.FIRST_TOKEN_SLO, (*base, result))
        for type_ in (*gpt.event_types, catalog.OTHER_EVENT_TYPE):
            self._histogram(catalog.FIRST_TOKEN, (*base, type_))

    def fold(self, event: Event, extras: Extras, gpt: Gpt, base: Labels, type_: str) -> None:
        if extras.ttft_ms is not None:
            seconds = extras.ttft_ms / 1000
            self._histogram(catalog.FIRST_TOKEN, (*base, type_)).observe(catalog.FIRST_TOKEN.buckets, seconds, event)
            if gpt.ttft_objective_seconds is not None:
                result = "good" if seconds <= gpt.ttft_objective_seconds else "bad"
                self._counter(catalog.FIRST_TOKEN_SLO, (*base, result))[0] += 1
        if extras.tokens_reasoning is not None and not extras.unmeasured & UNMEASURED_TOKENS_OUT:
            self._counter(catalog.REASONING_TOKENS, base)[0] += extras.tokens_reasoning
        if extras.version is not None:
            self._version(event, extras, gpt, extras.version)
        for call in extras.tools:
            self._tool(gpt.id, call)

    def _version(self, event: Event, extras: Extras, gpt: Gpt, version: str) -> None:
        labels = (gpt.id, self._admit_version(gpt.id, version, event.arrived_us))
        for result in RESULTS:  # all of them at once: a share of 0 is shown as one
            self._counter(catalog.VERSION_EVENTS, (*labels, result))
        seconds = event.latency_ms / 1000
        if event.error is not None:
            result = "failed"
        elif extras.unmeasured & UNMEASURED_LATENCY:
            result = "unmeasured"
        else:
            result = "good" if seconds <= gpt.latency_objective_seconds else "slow"
        self._counter(catalog.VERSION_EVENTS, (*labels, result))[0] += 1
        duration = self._histogram(catalog.VERSION_DURATION, labels)
        if not extras.unmeasured & UNMEASURED_LATENCY:
            duration.observe(catalog.VERSION_DURATION.buckets, seconds)

    def _admit_version(self, gpt_id: str, version: str, arrived_us: int) -> str:
        known = self.versions.setdefault(gpt_id, {})
        if version in known or version == catalog.OTHER_VERSION:
            if version in known:
                known[version] = max(known[version], arrived_us)
            return version
        left = self.left.get(gpt_id, {})
        oldest = min(known, key=lambda name: (known[name], name)) if len(known) >= MAX_VERSIONS else None
        if left.get(version, 0) > arrived_us - VERSION_AWAY_US or (
            oldest is not None and known[oldest] > arrived_us - VERSION_KEPT_US
        ):
            self._capped["version"] += 1
            return catalog.OTHER_VERSION
        if oldest is not None:
            del known[oldest]
            away = {name: at for name, at in left.items() if at > arrived_us - VERSION_AWAY_US}
            self.left[gpt_id] = {**away, oldest: arrived_us}
            for family in self._families.values():
                for labels in [found for found in family if found[:2] == (gpt_id, oldest)]:
                    del family[labels]
        known[version] = arrived_us
        return version

    def _tool(self, gpt_id: str, call: ToolCall) -> None:
        known, name = self.tools.setdefault(gpt_id, set()), call.name
        if name not in known and name != catalog.OTHER_TOOL:
            if len(known) < MAX_TOOLS:
                known.add(name)
            else:
                self._capped["tool"] += 1
                name = catalog.OTHER_TOOL
        for result in ("ok", "error"):
            self._counter(catalog.TOOL_CALLS, (gpt_id, name, result))
        self._counter(catalog.TOOL_CALLS, (gpt_id, name, "ok" if call.error is None else "error"))[0] += 1
        self._counter(catalog.TOOL_SECONDS, (gpt_id, name))[0] += call.ms / 1000

    def dump(self) -> dict[str, Any]:
        tools = {gpt_id: sorted(names) for gpt_id, names in self.tools.items()}
        return {"versions": self.versions, "left": self.left, "tools": tools}

    def load(self, document: dict[str, Any]) -> None:
        self.versions.update(document["versions"])
        self.left.update(document.get("left", {}))
        self.tools.update({gpt_id: set(names) for gpt_id, names in document["tools"].items()})


_FIRST_TOKEN_LINES = len(catalog.FIRST_TOKEN.buckets) + 3
_VERSION_LINES = len(catalog.VERSION_DURATION.buckets) + 3 + len(RESULTS)


def zero_lines(gpt: Gpt) -> int:
    """Lines of a page that a GPT takes here before its first event."""
    types = len({*gpt.event_types, catalog.OTHER_EVENT_TYPE})
    return 0 if gpt.ttft_objective_seconds is None else types * _FIRST_TOKEN_LINES + 2


def most_lines(gpt: Gpt, models: int) -> int:
    """Lines that a GPT can take here at the most, by so many models."""
    types = len(gpt.event_types) + 1
    return models * (types * _FIRST_TOKEN_LINES + 3) + (MAX_VERSIONS + 1) * _VERSION_LINES + 3 * (MAX_TOOLS + 1)
