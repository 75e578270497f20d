"""What a client accepts: `Accept` and `Accept-Encoding`, as RFC 9110 (sections 12.4.2, 12.5.1, 12.5.3) has them.

A weight of 0 refuses. A weight that is none (`q=high`) counts as if it were not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_WEIGHT = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+").fullmatch
_GZIP = ("gzip", "x-gzip")  # one coding of two names (RFC 9110, section 8.4.1.3)


def quality(accept: str, media: str, version: str | None = None, wildcards: bool = True) -> float | None:
    """The weight that an `Accept` header gives a media type: that of the most specific range which it is in, and the
    highest of several. None where it is in none. `version`: the type's own; a range of another version is not its."""
    ranges = (media, f"{media.partition('/')[0]}/*", "*/*") if wildcards else (media,)
    found: dict[str, float] = {}
    for name, parameters, weight in _elements(accept):
        if version is None or parameters.get("version", version) == version:
            found[name] = max(weight, found.get(name, 0.0))
    return next((found[name] for name in ranges if name in found), None)


def best(accept: str, offers: Sequence[str]) -> str | None:
    """The media type to answer with: the one of highest weight, of equal ones the first. The first where the header is
    missing or empty; None where it accepts none of them."""
    if not accept.strip():
        return offers[0]
    weights = {offer: quality(accept, offer) or 0.0 for offer in offers}
    chosen = max(offers, key=weights.__getitem__)
    return chosen if weights[chosen] else None


def coding(accept_encoding: str) -> str | None:
    """`gzip` or `identity`, or None where the client refuses both. `gzip` only where it is named, or anything but
    `identity` is accepted."""
    weights: dict[str, float] = {}
    for name, _, weight in _elements(accept_encoding):
        weights["gzip" if name in _GZIP else name] = weight
    others = weights.get("*")
    plain = weights.get("identity", others)
    packed = weights.get("gzip")
    if packed and packed >= (weights.get("identity") or 0.0):
        return "gzip"
    if plain != 0.0:
        return "identity"
    return "gzip" if packed is None and others else None


def _elements(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Each element of a list: its name in lower case, its parameters, its weight."""
    for element in header.split(","):
        name, *rest = element.split(";")
        parameters: dict[str, str] = {}
        for parameter in rest:
            key, _, value = parameter.partition("=")
            parameters.setdefault(key.strip().lower(), value.strip().strip('"'))
        weight = parameters.pop("q", "")
        if name.strip():
            yield name.strip().lower(), parameters, min(1.0, float(weight)) if _WEIGHT(weight) else 1.0
