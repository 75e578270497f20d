"""Where a request comes from: the connection's address, or what trusted proxies say of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

REMEMBERED = 10_000
HOPS = 32
"""Entries of `X-Forwarded-For` that are read, from the last."""

Headers = Sequence[tuple[bytes, bytes]]


class Addresses:
    """Reads addresses. Used from one event loop."""

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        self._proxies = tuple(ipaddress.ip_network(network, strict=False) for network in trusted_proxies)
        self._read_before: dict[str, tuple[str, bool]] = {}

    def __len__(self) -> int:
        return len(self._read_before)

    def client(self, peer: str, headers: Headers) -> str:
        """The client's address: the connection's, or behind trusted proxies the last one that they did not add."""
        address, trusted = self._read(peer)
        if not trusted:
            return address
        forwarded = [value for name, value in headers if name == b"x-forwarded-for"]
        if not forwarded:
            return address
        for hop in reversed(b",".join(forwarded).decode("latin-1").split(",")[-HOPS:]):
            address, trusted = self._read(hop.strip())
            if not trusted:
                break
        return address

    def _read(self, text: str) -> tuple[str, bool]:
        """An address as it is counted, and whether it is a trusted proxy's."""
        address = self._read_before.get(text)
        if address is None:
            if len(self._read_before) >= REMEMBERED:
                self._read_before.clear()
            address = self._parse(text)
            if len(text) <= 64:
                self._read_before[text] = address
        return address

    def _parse(self, text: str) -> tuple[str, bool]:
        try:
            bare = text
            if text.startswith("["):
                bare = text[1:].partition("]")[0]
            elif text.count(":") == 1:
                bare = text.partition(":")[0]
            address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(bare.partition("%")[0])
        except ValueError:
            return "?", False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        trusted = any(address in network for network in self._proxies)
        if isinstance(address, ipaddress.IPv6Address):
            # A client with one IPv6 address usually has its whole /64.
            return f"{ipaddress.ip_network((address, 64), strict=False).network_address}/64", trusted
        return str(address), trusted
