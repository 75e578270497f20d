"""The settings: one row each, a field of `Config` with its type, default, help and reader."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from otel_bridge.config import oauth, postgres_url, readers
from otel_bridge.config.gpts import Gpt
from otel_bridge.config.limit_storage import LIMITS_IN_MEMORY, limit_storage
from otel_bridge.config.otlp import Otlp, Push
from otel_bridge.config.rates import Rate
from otel_bridge.config.readers import Reader

D = TypeVar("D")
V = TypeVar("V")

ENV_PREFIX = "OTEL_BRIDGE_"

Redaction = Literal["on", "off", "full"]
RequestSpans = Literal["off", "problems", "all"]
LogFormat = Literal["auto", "text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

REGIONS = (
    *("AR", "BO", "BR", "CL", "CO", "CR", "CU", "DO", "EC", "ES", "GT", "HN", "MX", "NI", "PA", "PE", "PR", "PY", "SV"),
    *("UY", "VE"),
)
"""Spain and Latin America: the default of the setting `regions` (ISO 3166-1 codes)."""
KEY_BESIDE_NOTHING = Path("data/otel-bridge.key")
"""The user hash's key of a journal that is no file."""


def setting(default: D, help: str, reader: Reader[V], secret: bool = False, may_hold_secret: bool = False) -> D | V:
    """A row: a field of `Config` that can be given in the file and the environment; `secret`: never shown,
    `may_hold_secret`: not as it is written. Both can be given in files of their own (secret_files.py). The result's
    type is not the one at run time: it has mypy hold the field's declared type to the default and to the reader's
    values."""
    metadata = {"help": help, "read": reader, "secret": secret, "in_file": secret or may_hold_secret}
    row: D | V = field(default=default, metadata=metadata, repr=not (secret or may_hold_secret))
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that was configured. Units stand in the names; sizes are in bytes."""

    host: str = setting("127.0.0.1", "Address the API listens on.", readers.host)
    port: int = setting(8000, "Port the API listens on; 0 takes a free one.", readers.integer(0, 65_535))
    tls_cert: str | None = setting(
        None,
        "File (PEM) of the certificate, with its chain, that the API is served with; empty: plain HTTP.",
        readers.optional_text,
    )
    tls_key: str | None = setting(
        None, "File (PEM) of its key, without a passphrase; empty: in the same file.", readers.optional_text
    )
    metrics_host: str = setting("127.0.0.1", "Address /metrics listens on.", readers.host)
    metrics_port: int = setting(9464, "Port /metrics listens on; 0 takes a free one.", readers.integer(0, 65_535))
    journal: str = setting(
        "sqlite:///data/otel-bridge.db",
        "Where records are kept: a file (`sqlite:///…`) or PostgreSQL (`postgresql://…`, postgresql.md).",
        readers.journal_url,
        may_hold_secret=True,
    )
    journal_max_size: int = setting(20 << 30, "Journal size at which ingest answers 503.", readers.size(1024))
    disk_min_free: int = setting(64 << 20, "Free disk space below which ingest answers 503.", readers.size(0))
    retention_days: float = setting(
        35.0,
        "Days that exported records are kept; in PostgreSQL two at the most, what they add up to this long.",
        readers.number(0.01, 3650),
    )
    redaction: Redaction = setting(
        "on", "Redaction of content: on, off, or full (content is not kept at all).", readers.choice(Redaction)
    )
    user_hash_key: str | None = setting(
        None, "Key of the user hash; empty makes one and keeps it beside the journal.", readers.hash_key, secret=True
    )
    regions: tuple[str, ...] = setting(
        REGIONS,
        "Countries (ISO 3166-1) whose telephones redaction knows without their prefix: Spain and Latin America.",
        readers.regions,
    )
    content_max_chars: int = setting(
        1500, "Characters of content kept; more is cut off and marked.", readers.integer(0, 1_000_000)
    )
    trace_url: str | None = setting(None, "Link to a trace in your trace store, with {trace_id}.", readers.trace_url)
    rate_limit: Rate | None = setting(Rate(6000, 60), "Requests allowed a caller, or off.", readers.rate)
    rate_limit_storage: str = setting(
        LIMITS_IN_MEMORY,
        "Where limits are counted: memory://, or the URL of a Redis that replicas share.",
        limit_storage,
        may_hold_secret=True,
    )
    trusted_proxies: tuple[str, ...] = setting(
        ("127.0.0.1/32", "::1/128"), "Addresses or networks whose X-Forwarded-For is believed.", readers.networks
    )
    cors_origins: tuple[str, ...] = setting(
        (), 'Origins of browser clients that may call the API; "*" for any.', readers.origins
    )
    allow_keyless: bool = setting(False, "Listen beyond loopback although a GPT has no API key.", readers.flag)
    public_url: str | None = setting(
        None, "URL under which clients reach the API, for /openapi-gpt.json and /mcp.", readers.public_url
    )
    oauth_issuer: str | None = setting(
        None,
        "Identity provider whose OAuth access tokens are taken, as its tokens name it (`iss`); empty takes none.",
        oauth.issuer,
    )
    oauth_jwks_url: str | None = setting(
        None, "Where the issuer's keys are (JWKS); empty looks it up in the issuer's metadata.", oauth.jwks_url
    )
    oauth_audiences: tuple[str, ...] = setting(
        (), "Audiences (`aud`) of tokens that are taken, besides public_url and its /mcp and /api.", oauth.words
    )
    oauth_scopes: tuple[str, ...] = setting((), "Scopes that a token must have.", oauth.scopes)
    oauth_algorithms: tuple[str, ...] = setting(
        oauth.ALGORITHMS, "Signatures of tokens that are taken; asymmetric ones only.", oauth.algorithms
    )
    oauth_leeway_seconds: float = setting(
        60.0,
        "Difference between the issuer's clock and this one that a token's times may show.",
        readers.number(0, 600),
    )
    idle_after_seconds: float = setting(
        1800.0, "Time without activity after which a session is idle.", readers.number(1, 7 * 86_400)
    )
    clock_settle_seconds: float = setting(
        3600.0, "Time a clock that stepped must run on before anything is deleted by it.", readers.number(1, 7 * 86_400)
    )
    windows_interval_seconds: float = setting(
        15.0, "How often active sessions and users are counted.", readers.number(0.1, 3600)
    )
    queue_max_records: int = setting(
        200_000, "Records that may wait for the journal before ingest answers 503.", readers.integer(1, 10_000_000)
    )
    max_models_per_gpt: int = setting(10, "Distinct models of one GPT that become a label.", readers.integer(0, 1000))
    max_errors_per_gpt: int = setting(
        10, "Distinct error codes of one GPT that become a label.", readers.integer(0, 1000)
    )
    body_timeout_seconds: float = setting(20.0, "Time a client has to send a request.", readers.number(0.1, 600))
    shutdown_seconds: float = setting(10.0, "Time a stop may take to flush what is exported.", readers.number(0, 600))
    request_spans: RequestSpans = setting(
        "off",
        "Spans of the bridge's own requests, to the same endpoint: off, problems (5xx and slow ones) or all.",
        readers.choice(RequestSpans),
    )
    log_format: LogFormat = setting(
        "auto", "Logs: text, json, or auto (text on a terminal).", readers.choice(LogFormat)
    )
    log_level: LogLevel = setting("info", "Least severity that is logged.", readers.choice(LogLevel))

    gpts: Mapping[str, Gpt]
    """By id."""
    otlp: Otlp | None
    """None: nothing is exported."""
    push: Push | None = None
    """Where metrics are pushed; None: nowhere."""
    resource: tuple[tuple[str, str], ...]
    """Attributes that every span's resource carries."""
    service_name: str
    """The bridge's own name, where it speaks of itself."""
    source: Path
    """The file that was read."""
    proxy_variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """The variables that name HTTP proxies, for addresses that are not known before (config/proxies.py)."""

    @property
    def journal_shown(self) -> str:
        """The journal's URL as it may be shown: without a password."""
        return postgres_url.shown(self.journal)

    @property
    def shortest_retention_days(self) -> float:
        """Of the journal, or of the GPT that keeps its own for less."""
        own = [gpt.retention_days for gpt in self.gpts.values() if gpt.retention_days is not None]
        return min([self.retention_days, *own])

    @property
    def in_database(self) -> bool:
        """Whether the journal is kept by a server, and not in a file."""
        return postgres_url.is_postgres(self.journal)

    @property
    def journal_path(self) -> Path:
        """The journal's file, whatever links lead to it."""
        return Path(os.path.realpath(self.journal.removeprefix("sqlite:///")))

    @property
    def key_path(self) -> Path:
        """The user hash's key, made once and kept beside the journal; of one in a database, where the shipped
        configuration's is."""
        return KEY_BESIDE_NOTHING if self.in_database else self.journal_path.with_suffix(".key")

    @property
    def linked_key_path(self) -> Path:
        """Where an earlier release kept it: beside the link, where the journal is named by one."""
        if self.in_database:
            return self.key_path
        return Path(self.journal.removeprefix("sqlite:///")).with_suffix(".key")


@dataclass(frozen=True, slots=True)
class Setting(Generic[V]):
    """What the row of one setting says. `read` turns what is written into the value, or raises ValueError."""

    key: str
    default: V
    help: str
    read: Reader[V]
    secret: bool = False
    in_file: bool = False
    """Whether a file of its own may hold it: the variable with `_FILE` at its end names that."""

    @property
    def env(self) -> str:
        """The variable that gives this setting."""
        return ENV_PREFIX + self.key.upper()


SETTINGS: tuple[Setting[Any], ...] = tuple(
    Setting(row.name, row.default, *(row.metadata[part] for part in ("help", "read", "secret", "in_file")))
    for row in fields(Config)
    if row.metadata
)
"""The rows, in the order of the fields."""
