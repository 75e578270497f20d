"""Which HTTP proxy the way to an endpoint goes through, from the usual variables.

The libraries below read these variables each in its own way (urllib3 none, gRPC the small ones alone, and `https_proxy`
for plain text too), so they are read here once, for every protocol alike. Small letters win over capitals, as in curl.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from otel_bridge.config import readers
from otel_bridge.config.diagnostics import Diagnostics

VARIABLES = frozenset(
    name
    for small in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy", "all_proxy")
    for name in (small, small.upper())
)
"""What a library may read by itself: the delivery process goes without them."""


def read_proxy(environ: Mapping[str, str], endpoint: str, protocol: str, diagnostics: Diagnostics) -> str | None:
    """The URL of the proxy for an endpoint, with a port and maybe a login in it; None where the way is direct. A wrong
    variable goes to `diagnostics`."""
    parts = urlsplit(endpoint)
    # gRPC's own variable goes before the general one, for that protocol.
    kinds = [*(["grpc_proxy"] if protocol == "grpc" else []), f"{parts.scheme}_proxy"]
    for variable in (name for kind in kinds for name in (kind, kind.upper())):
        if environ.get(variable):
            break
    else:
        return None
    exceptions = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    if any(_covers(part.strip().lower(), (parts.hostname or "").rstrip("."), port) for part in exceptions.split(",")):
        return None
    return diagnostics.read(f"entorno: {variable}", readers.proxy_url, environ[variable].strip(), None)


def _covers(exception: str, host: str, port: int) -> bool:
    """Whether one part of NO_PROXY means a host: `*`, an address, a network, or a name with all that end in it."""
    if exception in ("", "*"):
        return exception == "*"
    try:
        network = ipaddress.ip_network(exception.strip("[]"), strict=False)
    except ValueError:
        network = None
    if network is not None:
        try:
            return ipaddress.ip_address(host) in network
        except ValueError:
            return False
    name, colon, only = exception.rpartition(":")
    if colon and only.isdecimal():
        return int(only) == port and _covers(name, host, port)
    name = exception.removeprefix("*").removeprefix(".")
    return host == name or host.endswith(f".{name}")
