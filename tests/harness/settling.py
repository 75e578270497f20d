"""When a bridge, or many, have delivered all that they took."""

from __future__ import annotations

from typing import Protocol

from tests.harness.waiting import wait_for

RECORDS = "otel_bridge_records_total"


class Counts(Protocol):
    """Whoever shows what is counted: a bridge, or many."""

    def scrape(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]: ...

    def metric(self, name: str, **labels: str) -> float: ...


def settle(bridge: Counts, timeout: float = 60.0) -> None:
    """Waits until nothing is pending, of all that the same page counts: its ledger may be half a second older."""

    def settled() -> bool:
        found = bridge.scrape()
        value = {name: found.get((f"otel_bridge_{name}", ()), -1.0) for name in ("pending_records", "parked_records")}
        accepted = sum(v for (name, labels), v in found.items() if name == RECORDS and ("result", "accepted") in labels)
        done = found.get(("otel_bridge_exported_records_total", ()), -1.0) + value["parked_records"]
        return value["pending_records"] == 0 and done == accepted

    wait_for(settled, "empty backlog", timeout)
