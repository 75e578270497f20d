"""The URL of a journal in PostgreSQL, as libpq reads it: whether it can be one, and how it is shown."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote, unquote_to_bytes

SCHEMES = ("postgresql://", "postgres://")
HIDDEN = "***"

_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%a-z]+\]|[^\[\]@:/?,\s]*)(?::([0-9]*))?")


class Parts(NamedTuple):
    """What stands in the URL, as it is written."""

    scheme: str
    user: str | None
    password: str | None
    hosts: str
    database: str
    parameters: list[tuple[str, str]]


def is_postgres(url: str) -> bool:
    return url.startswith(SCHEMES)


def parts(url: str) -> Parts | None:
    """None: libpq would not read it, or would read something that nobody means."""
    scheme = next((one for one in SCHEMES if url.startswith(one)), None)
    if scheme is None or not url.isprintable() or " " in url or _PERCENT.search(url) or not _is_text(url):
        return None
    rest = url[len(scheme) :]
    user = password = None
    # As libpq does: a login ends at the first @, and is none where a / comes before.
    login, at, behind = rest.partition("@")
    if at and "/" not in login:
        user, colon, word = login.partition(":")
        password, rest = word if colon else None, behind
    netloc, _, query = rest.partition("?")
    hosts, _, database = netloc.partition("/")
    if "@" in netloc or "/" in database or not all(map(_is_host, hosts.split(","))):
        return None
    pairs = [tuple(pair.split("=")) for pair in query.split("&")] if query else []
    if any(len(pair) != 2 or not pair[0] for pair in pairs):
        return None
    return Parts(scheme, user, password, hosts, database, [(name, value) for name, value in pairs])


def _is_text(url: str) -> bool:
    """Whether what is written with % is UTF-8: as such it is sent and shown."""
    try:
        unquote_to_bytes(url).decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    return match is not None and (not match[1] or 0 < int(match[1]) < 65_536)


def shown(url: str) -> str:
    """The URL without what is secret in it."""
    if not is_postgres(url):
        return url
    found = parts(url)
    if found is None:
        return f"postgresql://{HIDDEN}"
    login = "" if found.user is None else f"{found.user}{'' if found.password is None else f':{HIDDEN}'}@"
    database = f"/{found.database}" if found.database else ""
    query = "&".join(f"{name}={HIDDEN if _is_secret(name) else value}" for name, value in found.parameters)
    return f"{found.scheme}{login}{found.hosts}{database}{f'?{query}' if query else ''}"


def _is_secret(name: str) -> bool:
    """Whether a parameter's value is one, however its name is written."""
    plain = unquote(name).lower()
    return ("pass" in plain and plain != "passfile") or "secret" in plain or "token" in plain
