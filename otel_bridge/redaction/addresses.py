"""Where a person or a machine is reached: e-mail and IP addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from otel_bridge.redaction.findings import Finding

# `git@github.com` names no one. `paquete@1.2.3` and systemd's `getty@tty1.service` are no addresses.
EMAIL = re.compile(
    r"[\w.%+](?<![\w.%+-][\w.%+])[\w.%+'-]*+(?<!\bgit)@(?!v?[0-9]++\.[0-9])(?:[\w-]++\.)+"
    r"(?!(?:service|socket|timer|target|slice|scope|mount)\b)(?:xn--[a-z0-9-]+|[^\W\d_]{2,})(?![\w])"
)
EMAIL_ENCODED = re.compile(r"[\w.+](?<![\w.+-][\w.+])[\w.+-]*+%40(?:[\w-]++\.)+[A-Za-z]{2,}")

_IPV4 = re.compile(
    r"[0-9](?<![\w.][0-9])(?<![A-Za-z]/[0-9])[0-9]{0,2}+(?:\.[0-9]{1,3}+){3}(?!\w|\.[0-9])(?P<prefix>/[0-9]{1,2}(?!\w))?",
    re.ASCII,
)
_IPV6 = re.compile(
    r"[0-9A-Fa-f:](?<![\w:.][0-9A-Fa-f:])[0-9A-Fa-f:]{2,39}+(?:\.[0-9]{1,3}){0,3}+(?:%\w{1,16}+)?(?!\w)",
    re.ASCII,
)
_VERSION_BEFORE = re.compile(r"(?:versi[oó]n|version|release|build|\bv\.?)[ :=]{0,2}\Z", re.IGNORECASE).search


def find_ips(text: str) -> Iterator[Finding]:
    """Host addresses, private ones too: they draw the user's network.

    Left alone, for they name no one and half of the questions on networks are about them: loopback,
    0.0.0.0, netmasks, `::`, `::1`, and private networks in CIDR form (10.0.0.0/8).
    """
    if text.count(":") >= 2:
        for match in _IPV6.finditer(text):
            value = match[0].rstrip(":") if not match[0].endswith("::") else match[0]
            bare = value.partition("%")[0]
            # A digit is asked for: `dead::beef` is likelier a C++ or Perl name.
            if bare.count(":") < 2 or not any("0" <= char <= "9" for char in bare):
                continue
            try:
                host = ipaddress.IPv6Address(bare)
            except ValueError:
                continue
            if int(host) > 1:
                yield match.start(), match.start() + len(value), "ip"
    if text.count(".") >= 3:
        for match in _IPV4.finditer(text):
            start = match.start()
            end = match.start("prefix") if match["prefix"] else match.end()
            try:
                address = ipaddress.IPv4Address(text[start:end])
            except ValueError:
                continue
            first = address.packed[0]
            if first in (0, 127, 255) or _VERSION_BEFORE(text, max(0, start - 12), start):
                continue
            if match["prefix"] and address.is_private:
                length = int(match["prefix"][1:])
                if length < 32 and int(address) & ((1 << (32 - length)) - 1) == 0:
                    continue
            yield start, end, "ip"
