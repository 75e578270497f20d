"""A request's headers by name: of several lines with one name the last counts, but a list goes on in the next line."""

from __future__ import annotations

from collections.abc import Sequence

_LISTS = (b"content-encoding", b"x-forwarded-proto")
"""Those that are read from here. `Accept` and `X-Forwarded-For` are joined by who reads them."""


def by_name(raw: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """`raw`: names in lower case, in the order in which they came. A list in several lines is one, in that order
    (RFC 9110, section 5.3)."""
    headers = dict(raw)
    if len(headers) != len(raw):  # some name came twice
        for name in _LISTS:
            if name in headers:
                headers[name] = b", ".join([value for found, value in raw if found == name])
    return headers
