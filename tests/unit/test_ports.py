"""Ports that tests are given are nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.ports import free_port, free_ports


def test_a_port_that_was_given_is_none_of_those_that_the_system_gives_to_whoever_asks_for_any() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    if lowest < 32_768:
        pytest.skip("this system gives others than Linux does as it comes")
    row = free_ports(8)
    given = {*(free_port() for _ in range(200)), *range(row, row + 8)}
    assert len(given) == 208 and max(given) < lowest
