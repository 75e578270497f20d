"""Where limits are counted: the setting's reader."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from otel_bridge.config.readers import UNWRITABLE, url_parts

LIMITS_IN_MEMORY = "memory://"
_EXPECTED = (
    "memory://, redis://usuario:contraseña@servidor:puerto/base, rediss://… (TLS) o unix:///ruta?db=número. En "
    "el usuario y la contraseña, @ : / ? # % se escriben %40 %3A %2F %3F %23 %25"
)
_NOT_SPOKEN = (
    "la dirección única que lleva al primario, como redis://servidor:puerto: no se habla con Redis Sentinel ni "
    "con Redis Cluster. Un nombre que pasa a otro servidor se vuelve a resolver tras cada fallo"
)
_LOGIN = frozenset(("db", "username", "password"))
_TLS = frozenset(("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_cert_reqs", "ssl_check_hostname"))


def limit_storage(raw: object) -> str:
    """`memory://` or the URL of a Redis. Times, tries and connections are ours: the URL has no options for them."""
    if raw == LIMITS_IN_MEMORY:
        return LIMITS_IN_MEMORY
    if not isinstance(raw, str):
        raise ValueError(_EXPECTED)
    scheme = raw.partition("://")[0].lower()
    if "sentinel" in scheme or "cluster" in scheme:
        raise ValueError(_NOT_SPOKEN)
    options = _LOGIN
    if scheme == "unix":
        parts = None if UNWRITABLE.search(raw) or " " in raw else urlsplit(raw)
        if parts is not None and not unquote(parts.path).strip("/"):
            parts = None
    else:
        parts = url_parts(raw, ("redis", "rediss"))
        if parts is not None and not re.fullmatch(r"/?\d{0,5}", parts.path):
            parts = None
        if scheme == "rediss":
            options = _LOGIN | _TLS
    if parts is None or parts.fragment:
        raise ValueError(_EXPECTED)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = [name for name in query if name not in options]
    if unknown:
        raise ValueError(f"una URL sin más opciones que {', '.join(sorted(options))}")
    if "db" in query and not re.fullmatch(r"\d{1,5}", query["db"]):
        raise ValueError("un número en `db`")
    return raw
