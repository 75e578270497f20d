"""Whether a client speaks http or https to us, or to the proxy before us."""

from __future__ import annotations

from collections.abc import Mapping


def client_scheme(headers: Mapping[bytes, bytes], scheme: str) -> str:
    """What the first proxy says that it was asked by, else `scheme`, the connection's own. `headers`: names in lower
    case."""
    # One proxy behind another lists what each was asked by: the first is the client's.
    forwarded = headers.get(b"x-forwarded-proto", b"").lstrip(b", \t").partition(b",")[0].strip().lower()
    return "https" if forwarded == b"https" else scheme
