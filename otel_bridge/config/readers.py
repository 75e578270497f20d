"""Readers: from what is written (a TOML value, a variable's text) to a value.

A reader raises ValueError with a text that completes «se esperaba …».
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, get_args
from urllib.parse import SplitResult, urlsplit

import phonenumbers

from otel_bridge.config import postgres_url
from otel_bridge.config.rates import NO_LIMIT, PERIODS, Rate

V = TypeVar("V")
Reader: TypeAlias = Callable[[object], V]

_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and what stands for bytes that are no UTF-8: no path, URL or header has them."""
_SIZE_LIMIT = 1 << 62
USER_HASH_KEY_CHARS = 16
"""The shortest key of the user hash that is no guess."""
_LABEL = re.compile(r"[\w]([\w-]{0,61}[\w])?")
"""One part of a host name; with the underscores that Docker's names have."""


def text(raw: object) -> str:
    """A text as it is written."""
    if isinstance(raw, str):
        return raw
    raise ValueError("un texto")


def optional_text(raw: object) -> str | None:
    """A text; None where it is empty."""
    return text(raw) or None


def hash_key(raw: object) -> str | None:
    """The key of the user hash; None where it is empty."""
    key = optional_text(raw)
    if key is not None and len(key.strip()) < USER_HASH_KEY_CHARS:
        raise ValueError(
            f"al menos {USER_HASH_KEY_CHARS} caracteres, como los que da "
            "python -c 'import secrets; print(secrets.token_hex(32))'"
        )
    return key


def host(raw: object) -> str:
    """An address or a host name to listen on."""
    if isinstance(raw, str) and _is_host(raw):
        return raw
    raise ValueError("un texto: una dirección como 127.0.0.1 o ::1, o un nombre de servidor")


def choice(literal: Any) -> Reader[Any]:
    """Makes the reader of one of the texts of a `Literal`."""
    allowed = get_args(literal)

    def read(raw: object) -> Any:
        if isinstance(raw, str) and raw in allowed:
            return raw
        raise ValueError("uno de " + ", ".join(allowed))

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
        raise ValueError(f"un número entero de {low} a {high}")

    return read


def number(low: float, high: float) -> Reader[float]:
    """Makes the reader of a number within the bounds, both included."""

    def read(raw: object) -> float:
        try:
            value = float(raw) if isinstance(raw, str | int | float) and not isinstance(raw, bool) else None
        except (ValueError, OverflowError):
            value = None
        if value is not None and low <= value <= high:
            return value
        raise ValueError(f"un número de {low:g} a {high:g}")

    return read


def flag(raw: object) -> bool:
    """True or false; in a text also 1, 0, yes and no."""
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.lower() in ("true", "false", "1", "0", "yes", "no"):
        return raw.lower() in ("true", "1", "yes")
    raise ValueError("true o false")


def size(low: int) -> Reader[int]:
    """Makes the reader of bytes, `low` of them at least, from a number of them or a text such as `512MiB`."""

    def read(raw: object) -> int:
        match = None
        if isinstance(raw, str) or (isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < _SIZE_LIMIT):
            match = re.fullmatch(r"([0-9]{1,19})\s*([KMGT]iB|)", str(raw))
        value = int(match[1]) * _UNITS[match[2]] if match is not None else -1
        if low <= value < _SIZE_LIMIT:
            return value
        raise ValueError("un tamaño como 512MiB o 20GiB" + (f", de al menos {low} bytes" if low else ""))

    return read


def texts(raw: object) -> tuple[str, ...]:
    """Texts, from a list of them or one text that separates them by commas."""
    if isinstance(raw, str):
        return tuple(part.strip() for part in raw.split(",") if part.strip())
    if isinstance(raw, list) and all(isinstance(part, str) for part in raw):
        return tuple(raw)
    raise ValueError("una lista de textos (en el entorno: separados por comas)")


def regions(raw: object) -> tuple[str, ...]:
    """Country codes (ISO 3166-1, two capitals) that telephones are known of."""
    codes = tuple(code.upper() for code in texts(raw))
    unsupported = [code for code in codes if code not in phonenumbers.SUPPORTED_REGIONS]
    if unsupported:
        raise ValueError(f"códigos de país de dos letras, como ES o MX (desconocidos: {', '.join(unsupported)})")
    return codes


def rate(raw: object) -> Rate | None:
    """A rate such as `6000/minute`; None for `off`."""
    if raw == "off":
        return None
    match = re.fullmatch(r"([1-9]\d{0,8})/(second|minute|hour|day)", raw) if isinstance(raw, str) else None
    if match is None:
        raise ValueError('"off" o un ritmo como 6000/minute (second, minute, hour, day)')
    return Rate(int(match[1]), PERIODS[match[2]])


def gpt_rate(raw: object) -> Rate:
    """A GPT's own rate; NO_LIMIT for `off`, as None means the general one there."""
    return rate(raw) or NO_LIMIT


def journal_url(raw: object) -> str:
    """The URL of a journal: a file of SQLite, or a PostgreSQL database as libpq names it."""
    if isinstance(raw, str):
        # A path that ends in a slash is a folder's; one with a control character or a lone surrogate is nobody's.
        if raw.startswith("sqlite:///") and not raw.endswith("/") and not UNWRITABLE.search(raw):
            return raw
        if postgres_url.parts(raw) is not None:
            return raw
        if postgres_url.is_postgres(raw):
            raise ValueError(
                "postgresql://usuario@servidor1,servidor2/base?nombre=valor, como lo lee libpq, con %40 por una "
                "@ en un nombre o contraseña, %2F por una /, %3A por : y %25 por %"
            )
    raise ValueError(
        "sqlite:///ruta/relativa.db, sqlite:////ruta/absoluta.db o postgresql://usuario@servidor1,servidor2/base"
    )


def trace_url(raw: object) -> str | None:
    """A URL with `{trace_id}` in it; None where it is empty."""
    url = optional_text(raw)
    if url is not None and (
        "{trace_id}" not in url or UNWRITABLE.search(url) or _http_parts(url) is None or _has_login(url)
    ):
        raise ValueError("una URL con {trace_id}, sin usuario ni contraseña: los clientes la reciben")
    return url


def networks(raw: object) -> tuple[str, ...]:
    """Networks in CIDR form, from addresses or networks."""
    try:
        return tuple(str(ipaddress.ip_network(network, strict=False)) for network in texts(raw))
    except ValueError:
        raise ValueError("una lista de direcciones o redes como 127.0.0.1 o 10.0.0.0/8") from None


def origins(raw: object) -> tuple[str, ...]:
    """Origins (scheme, host, port) in lower case, or `*`."""
    written = texts(raw)
    for origin in written:
        if origin != "*" and not (re.fullmatch(r"https?://[A-Za-z0-9.\[\]:-]+", origin) and _http_parts(origin)):
            raise ValueError('una lista de orígenes como https://app.example.com, sin ruta, o "*"')
    return tuple(origin.lower() for origin in written)


def public_url(raw: object) -> str | None:
    """A URL without its `/api` and last slash; None where it is empty."""
    url = text(raw).rstrip("/")
    if not url:
        return None
    parts = _http_parts(url)
    if parts is None or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("una URL como https://example.com")
    # The guide's «API Base URL» ends in /api, and every path of the API begins with it.
    return url.removesuffix("/api")


def http_url(raw: object) -> str:
    """The URL of a server that speaks HTTP or gRPC. No login and no query: it is shown, and headers carry those."""
    if isinstance(raw, str):
        parts = _http_parts(raw)
        if parts is None:
            raise ValueError("una URL como http://localhost:4318")
        if "@" in parts.netloc:
            raise ValueError("una URL sin usuario ni contraseña: dalos en una cabecera (OTEL_EXPORTER_OTLP_HEADERS)")
        if parts.query or parts.fragment or raw.endswith(("?", "#")):
            raise ValueError("una URL sin ? ni #: da el token en una cabecera (OTEL_EXPORTER_OTLP_HEADERS)")
        return raw
    raise ValueError("una URL como http://localhost:4318")


def proxy_url(raw: object) -> str:
    """The URL of an HTTP proxy; `host:port` alone is one of `http`."""
    url = raw if isinstance(raw, str) and "://" in raw else f"http://{raw}"
    parts = url_parts(url, ("http",))
    if parts is not None:
        return f"http://{parts.netloc}" + (":80" if parts.port is None else "")
    raise ValueError("un proxy HTTP como http://proxy.example:3128")


def _http_parts(url: str) -> SplitResult | None:
    """The parts of a URL with a host; None where it is none."""
    return url_parts(url, ("http", "https"))


def url_parts(url: str, schemes: tuple[str, ...]) -> SplitResult | None:
    """The parts of a URL that can work: a known scheme, a host that can exist, a port from 1 to 65535 or none. None
    where something of it cannot."""
    # urlsplit drops line ends and tabs silently: what is read would not be what is written.
    if not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # such as http://[ and http://h:99999
        return None
    bare = parts.netloc.rpartition("@")[2]
    if parts.scheme not in schemes or port == 0 or bare.endswith(":") or not _is_host(parts.hostname or ""):
        return None
    if (":" in (parts.hostname or "")) != bare.startswith("["):
        return None
    return parts


def _is_host(text: str) -> bool:
    """Whether a text is an IP address or could be a name."""
    if ":" in text or re.fullmatch(r"[0-9]+(\.[0-9]+){3}", text):
        try:
            ipaddress.ip_address(text)
        except ValueError:
            return False
        return True
    name = text.removesuffix(".")
    try:
        name_bytes = name.encode("ascii" if name.isascii() else "idna")
    except UnicodeError:  # as a resolver is asked for it, a part is too long
        return False
    return len(name_bytes) <= 253 and all(_LABEL.fullmatch(label) for label in name.split("."))


def is_plain_url(url: str) -> bool:
    """Whether a URL can work and has neither a login nor a fragment."""
    parts = _http_parts(url)
    return parts is not None and "@" not in parts.netloc and "#" not in url


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name can point anywhere


def _has_login(url: str) -> bool:
    return "@" in url.partition("://")[2].partition("/")[0]
