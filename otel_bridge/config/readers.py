"""Readers: from what is written (a TOML value, a variable's text) to a value.

A reader raises ValueError with a text that completes «expected …».
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, get_args
from urllib.parse import SplitResult, urlsplit

import phonenumbers

from otel_bridge.config.rates import NO_LIMIT, PERIODS, Rate

V = TypeVar("V")
Reader: TypeAlias = Callable[[object], V]

_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def text(raw: object) -> str:
    """A text as it is written."""
    if isinstance(raw, str):
        return raw
    raise ValueError("text")


def optional_text(raw: object) -> str | None:
    """A text; None where it is empty."""
    return text(raw) or None


def choice(literal: Any) -> Reader[Any]:
    """Makes the reader of one of the texts of a `Literal`."""
    allowed = get_args(literal)

    def read(raw: object) -> Any:
        if isinstance(raw, str) and raw in allowed:
            return raw
        raise ValueError("one of " + ", ".join(allowed))

    return read


def integer(low: int, high: int) -> Reader[int]:
    """Makes the reader of a whole number within the bounds, both included."""

    def read(raw: object) -> int:
        try:
            value = int(raw) if isinstance(raw, str) else raw
        except ValueError:
            value = None
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise ValueError(f"a whole number from {low} to {high}")

    return read


def number(low: float, high: float) -> Reader[float]:
    """Makes the reader of a number within the bounds, both included."""

    def read(raw: object) -> float:
        try:
            value = float(raw) if isinstance(raw, str | int | float) and not isinstance(raw, bool) else None
        except ValueError:
            value = None
        if value is not None and low <= value <= high:
            return value
        raise ValueError(f"a number from {low:g} to {high:g}")

    return read


def flag(raw: object) -> bool:
    """True or false; in a text also 1, 0, yes and no."""
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.lower() in ("true", "false", "1", "0", "yes", "no"):
        return raw.lower() in ("true", "1", "yes")
    raise ValueError("true or false")


def size(raw: object) -> int:
    """Bytes, from a number of them or a text such as `512MiB`."""
    match = re.fullmatch(r"(\d+)\s*([KMGT]iB|)", str(raw)) if not isinstance(raw, bool) else None
    if match is None:
        raise ValueError("a size such as 512MiB or 20GiB")
    return int(match[1]) * _UNITS[match[2]]


def texts(raw: object) -> tuple[str, ...]:
    """Texts, from a list of them or one text that separates them by commas."""
    if isinstance(raw, str):
        return tuple(part.strip() for part in raw.split(",") if part.strip())
    if isinstance(raw, list) and all(isinstance(part, str) for part in raw):
        return tuple(raw)
    raise ValueError("a list of texts (in the environment: separated by commas)")


def regions(raw: object) -> tuple[str, ...]:
    """Country codes (ISO 3166-1, two capitals) that telephones are known of."""
    codes = tuple(code.upper() for code in texts(raw))
    unsupported = [code for code in codes if code not in phonenumbers.SUPPORTED_REGIONS]
    if unsupported:
        raise ValueError(f"country codes of two letters, such as ES or MX (unknown: {', '.join(unsupported)})")
    return codes


def rate(raw: object) -> Rate | None:
    """A rate such as `6000/minute`; None for `off`."""
    if raw == "off":
        return None
    match = re.fullmatch(r"([1-9]\d{0,8})/(second|minute|hour|day)", raw) if isinstance(raw, str) else None
    if match is None:
        raise ValueError('"off" or a rate such as 6000/minute (second, minute, hour, day)')
    return Rate(int(match[1]), PERIODS[match[2]])


def gpt_rate(raw: object) -> Rate:
    """A GPT's own rate; NO_LIMIT for `off`, as None means the general one there."""
    return rate(raw) or NO_LIMIT


def journal_url(raw: object) -> str:
    """The URL of a journal in SQLite."""
    if isinstance(raw, str):
        if raw.startswith("sqlite:///") and len(raw) > len("sqlite:///"):
            return raw
        if raw.startswith(("postgresql://", "postgres://")):
            raise ValueError(
                "sqlite:///path: this release keeps its journal in SQLite; a PostgreSQL journal is not in it yet"
            )
    raise ValueError("sqlite:///relative/path.db or sqlite:////absolute/path.db")


def trace_url(raw: object) -> str | None:
    """A URL with `{trace_id}` in it; None where it is empty."""
    url = optional_text(raw)
    if url is not None and ("{trace_id}" not in url or _http_parts(url) is None):
        raise ValueError("a URL with {trace_id} in it")
    return url


def networks(raw: object) -> tuple[str, ...]:
    """Networks in CIDR form, from addresses or networks."""
    try:
        return tuple(str(ipaddress.ip_network(network, strict=False)) for network in texts(raw))
    except ValueError:
        raise ValueError("a list of addresses or networks such as 127.0.0.1 or 10.0.0.0/8") from None


def origins(raw: object) -> tuple[str, ...]:
    """Origins (scheme, host, port) in lower case, or `*`."""
    written = texts(raw)
    for origin in written:
        if origin != "*" and not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:-]+", origin):
            raise ValueError('a list of origins such as https://app.example.com, without a path, or "*"')
    return tuple(origin.lower() for origin in written)


def limit_storage(raw: object) -> str:
    """`memory://` or the URL of a Redis."""
    if raw == "memory://" or (isinstance(raw, str) and re.match(r"rediss?://.", raw)):
        return str(raw)
    raise ValueError("memory:// or redis://host:port")


def public_url(raw: object) -> str | None:
    """A URL without its `/api` and last slash; None where it is empty."""
    url = text(raw).rstrip("/")
    if not url:
        return None
    parts = _http_parts(url)
    if parts is None or parts.query or parts.fragment:
        raise ValueError("a URL such as https://example.com")
    # The guide's «API Base URL» ends in /api, and every path of the API begins with it.
    return url.removesuffix("/api")


def http_url(raw: object) -> str:
    """A URL of a server that speaks HTTP or gRPC."""
    if isinstance(raw, str) and _http_parts(raw) is not None:
        return raw
    raise ValueError("a URL such as http://localhost:4318")


def _http_parts(url: str) -> SplitResult | None:
    """The parts of a URL with a host; None where it is none."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as http://[
        return None
    return parts if parts.scheme in ("http", "https") and parts.hostname else None
