"""`Host`: whether a request has one that is one, and whether it is a name that the listener answers to.

A web page must not reach a bridge on its reader's machine by a name that it points there (DNS rebinding): while a
listener is on loopback alone, it answers to loopback names and to `public_url`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from otel_bridge import errors
from otel_bridge.config import Config
from otel_bridge.config.readers import is_loopback
from otel_bridge.errors import Problem

_FIELD = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+(?:%25[\w.~-]+)?\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?"
).fullmatch
"""`uri-host [":" port]` (RFC 9110, section 7.2); empty where the target has no authority."""


def the_one(values: Sequence[bytes], http_version: str) -> bytes | None:
    """The `Host` of a request, of all that it has (RFC 9112, section 3.2). None: HTTP/1.0 does without. Raises Problem
    (400)."""
    if len(values) > 1:
        raise Problem(errors.HEADER_INVALID, "La petición lleva más de una cabecera «Host».")
    if values:
        host = values[0].strip(b" \t")
        if not _FIELD(host):
            raise Problem(errors.HEADER_INVALID, "«Host» debe ser un nombre o una dirección, con su puerto o sin él.")
        return host
    if http_version == "1.0":
        return None
    raise Problem(errors.HEADER_INVALID, "Falta la cabecera «Host», obligatoria en HTTP/1.1.")


class Hosts:
    """The names that one listener answers to. Asked from any thread."""

    def __init__(self, config: Config, listening: Callable[[Config], str]) -> None:
        """`listening`: the address that the listener is on."""
        self._listening = listening
        self.configure(config)

    def configure(self, config: Config) -> None:
        self._public = urlsplit(config.public_url or "").netloc.lower().encode()
        self._only_loopback = is_loopback(self._listening(config))

    def check(self, host: bytes | None) -> None:
        """Raises Problem (403) where a request is meant for another. One without a `Host` is no browser's."""
        if host is None or not self._only_loopback:
            return
        host = host.lower()
        if host != self._public and not is_loopback(_name(host)):
            raise Problem(
                errors.ORIGIN_REFUSED,
                "Este servidor no responde a ese nombre; el administrador lo declara en «public_url».",
            )


def _name(host: bytes) -> str:
    """Without the port."""
    try:
        return urlsplit(f"//{host.decode('latin-1')}").hostname or ""
    except ValueError:
        return ""
