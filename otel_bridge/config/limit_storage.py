"""Where limits are counted: the setting's reader."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from otel_bridge.config.readers import UNWRITABLE, url_parts

LIMITS_IN_MEMORY = "memory://"
_EXPECTED = (
    "memory://, redis://user:password@host:port/database, rediss://… (TLS) or unix:///path?db=number. In a user and a "
    "password @ : / ? # % are written %40 %3A %2F %3F %23 %25"
)
_NOT_SPOKEN = (
    "the one address that leads to the primary, such as redis://host:port: Redis Sentinel and Redis Cluster are not "
    "spoken to. A name that is led elsewhere is asked again after every failure"
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
        raise ValueError(f"no options in the URL but {', '.join(sorted(options))}")
    if "db" in query and not re.fullmatch(r"\d{1,5}", query["db"]):
        raise ValueError("a number as `db`")
    return raw
