"""Settings: one row each, validated, frozen; the registry of GPTs. The only reader of the environment.

One TOML file; every scalar key also as an `OTEL_BRIDGE_…` variable, which wins. What concerns export follows
the standard `OTEL_*` variables. A wrong key, value or unknown name stops the start with the key, the value
found and what was expected (`StartRefused`).
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import unquote, urlsplit

import phonenumbers

from otel_bridge import catalog
from otel_bridge.errors import StartRefused
from otel_bridge.privacy.redaction.phones import REGIONS

V = TypeVar("V")
DEFAULT_FILE = "otel-bridge.toml"
SHIPPED = Path(__file__).with_name("default.toml")
"""The configuration inside the package, a copy of the repository's `otel-bridge.toml`: read where nobody named a file
and the working directory has none."""
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Setting(Generic[V]):
    """One row of the table of settings. `read` turns what was found into the value, or raises ValueError
    whose text completes «expected …»."""

    key: str
    default: V
    help: str
    read: Callable[[object], V]

    @property
    def env(self) -> str:
        return "OTEL_BRIDGE_" + self.key.upper()


# --- readers: a TOML value or an environment variable's text → the value ------------------------------


def _text(found: object) -> str:
    if isinstance(found, str):
        return found
    raise ValueError("text")


def _optional_text(found: object) -> str | None:
    return _text(found) or None


def _choice(*allowed: str) -> Callable[[object], str]:
    def read(found: object) -> str:
        if isinstance(found, str) and found in allowed:
            return found
        raise ValueError("one of " + ", ".join(allowed))

    return read


def _integer(low: int, high: int) -> Callable[[object], int]:
    def read(found: object) -> int:
        try:
            value = int(found) if isinstance(found, str) else found
        except ValueError:
            value = None
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise ValueError(f"a whole number from {low} to {high}")

    return read


def _number(low: float, high: float) -> Callable[[object], float]:
    def read(found: object) -> float:
        try:
            value = float(found) if isinstance(found, str | int | float) and not isinstance(found, bool) else None
        except ValueError:
            value = None
        if value is not None and low <= value <= high:
            return value
        raise ValueError(f"a number from {low:g} to {high:g}")

    return read


def _flag(found: object) -> bool:
    if isinstance(found, bool):
        return found
    if isinstance(found, str) and found.lower() in ("true", "false", "1", "0", "yes", "no"):
        return found.lower() in ("true", "1", "yes")
    raise ValueError("true or false")


_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def _size(found: object) -> int:
    match = re.fullmatch(r"(\d+)\s*([KMGT]iB|)", str(found)) if not isinstance(found, bool) else None
    if match is None:
        raise ValueError("a size such as 512MiB or 20GiB")
    return int(match[1]) * _UNITS[match[2]]


def _list(found: object) -> tuple[str, ...]:
    if isinstance(found, str):
        return tuple(part.strip() for part in found.split(",") if part.strip())
    if isinstance(found, list) and all(isinstance(part, str) for part in found):
        return tuple(found)
    raise ValueError("a list of texts (in the environment: separated by commas)")


def _regions(found: object) -> tuple[str, ...]:
    regions = tuple(region.upper() for region in _list(found))
    unknown = [region for region in regions if region not in phonenumbers.SUPPORTED_REGIONS]
    if unknown:
        raise ValueError(f"country codes of two letters, such as ES or MX (unknown: {', '.join(unknown)})")
    return regions


_PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests allowed a period; a batch counts each item."""

    amount: int
    seconds: int

    def __bool__(self) -> bool:
        return self.amount > 0

    def __str__(self) -> str:
        if not self:
            return "off"
        period = next(name for name, seconds in _PERIODS.items() if seconds == self.seconds)
        return f"{self.amount}/{period}"


NO_LIMIT = Rate(0, 60)
"""A GPT's own «off», whatever the general limit is. False where it is asked for its truth."""


def _gpt_rate(found: object) -> Rate:
    return _rate(found) or NO_LIMIT


def _rate(found: object) -> Rate | None:
    if found == "off":
        return None
    match = re.fullmatch(r"([1-9]\d{0,8})/(second|minute|hour|day)", found) if isinstance(found, str) else None
    if match is None:
        raise ValueError('"off" or a rate such as 6000/minute (second, minute, hour, day)')
    return Rate(int(match[1]), _PERIODS[match[2]])


def _journal_url(found: object) -> str:
    if isinstance(found, str):
        if found.startswith("sqlite:///") and len(found) > len("sqlite:///"):
            return found
        if found.startswith(("postgresql://", "postgres://")):
            raise ValueError(
                "sqlite:///path: this release keeps its journal in SQLite; a PostgreSQL journal is not in it yet"
            )
    raise ValueError("sqlite:///relative/path.db or sqlite:////absolute/path.db")


def _trace_url(found: object) -> str | None:
    text = _text(found)
    if not text:
        return None
    if "{trace_id}" not in text:
        raise ValueError("a URL with {trace_id} in it")
    return text


def _networks(found: object) -> tuple[str, ...]:
    try:
        return tuple(str(ipaddress.ip_network(one, strict=False)) for one in _list(found))
    except ValueError:
        raise ValueError("a list of addresses or networks such as 127.0.0.1 or 10.0.0.0/8") from None


def _origins(found: object) -> tuple[str, ...]:
    origins = _list(found)
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:-]+", origin):
            raise ValueError('a list of origins such as https://app.example.com, without a path, or "*"')
    return tuple(origin.lower() for origin in origins)


def _limit_storage(found: object) -> str:
    if found == "memory://" or (isinstance(found, str) and re.match(r"rediss?://.", found)):
        return str(found)
    raise ValueError("memory:// or redis://host:port")


def _public_url(found: object) -> str | None:
    text = _text(found).rstrip("/")
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("a URL such as https://example.com")
    # The guide's «API Base URL» ends in /api, and every path of the API begins with it.
    return text.removesuffix("/api")


# --- the table ------------------------------------------------------------------------------------------

SETTINGS: tuple[Setting[Any], ...] = (
    Setting("host", "127.0.0.1", "Address the API listens on.", _text),
    Setting("port", 8000, "Port the API listens on; 0 takes a free one.", _integer(0, 65_535)),
    Setting("metrics_host", "127.0.0.1", "Address /metrics listens on.", _text),
    Setting("metrics_port", 9464, "Port /metrics listens on; 0 takes a free one.", _integer(0, 65_535)),
    Setting("journal", "sqlite:///data/otel-bridge.db", "Where records are kept.", _journal_url),
    Setting("journal_max_size", 20 << 30, "Journal size at which ingest answers 503.", _size),
    Setting("disk_min_free", 64 << 20, "Free disk space below which ingest answers 503.", _size),
    Setting("retention_days", 35.0, "Days that exported records are kept.", _number(0.01, 3650)),
    Setting(
        "redaction",
        "on",
        "Redaction of content: on, off, or full (content is not kept at all).",
        _choice("on", "off", "full"),
    ),
    Setting(
        "user_hash_key",
        None,
        "Key of the user hash; empty makes one and keeps it beside the journal.",
        _optional_text,
    ),
    Setting(
        "regions",
        REGIONS,
        "Countries (ISO 3166-1) whose telephones redaction knows without their prefix: Spain and Latin America.",
        _regions,
    ),
    Setting(
        "content_max_chars",
        1500,
        "Characters of content kept; more is cut off and marked.",
        _integer(0, 1_000_000),
    ),
    Setting("trace_url", None, "Link to a trace in your trace store, with {trace_id}.", _trace_url),
    Setting("rate_limit", Rate(6000, 60), "Requests allowed a caller, or off.", _rate),
    Setting(
        "rate_limit_storage", "memory://", "Where limits are counted: memory:// or redis://host:port.", _limit_storage
    ),
    Setting(
        "trusted_proxies",
        ("127.0.0.1/32", "::1/128"),
        "Addresses or networks whose X-Forwarded-For is believed.",
        _networks,
    ),
    Setting("cors_origins", (), 'Origins of browser clients that may call the API; "*" for any.', _origins),
    Setting("allow_keyless", False, "Listen beyond loopback although a GPT has no API key.", _flag),
    Setting("public_url", None, "URL under which clients reach the API, for /openapi-gpt.json and /mcp.", _public_url),
    Setting(
        "idle_after_seconds",
        1800.0,
        "Time without activity after which a session is idle.",
        _number(1, 7 * 86_400),
    ),
    Setting(
        "windows_interval_seconds",
        15.0,
        "How often active sessions and users are counted.",
        _number(0.1, 3600),
    ),
    Setting(
        "queue_max_records",
        200_000,
        "Records that may wait for the journal before ingest answers 503.",
        _integer(1, 10_000_000),
    ),
    Setting("max_models_per_gpt", 10, "Distinct models of one GPT that become a label.", _integer(0, 1000)),
    Setting("max_errors_per_gpt", 10, "Distinct error codes of one GPT that become a label.", _integer(0, 1000)),
    Setting("body_timeout_seconds", 20.0, "Time a client has to send a request.", _number(0.1, 600)),
    Setting("shutdown_seconds", 10.0, "Time a stop may take to flush what is exported.", _number(0, 600)),
    Setting(
        "request_spans",
        "off",
        "Spans of the bridge's own requests, to the same endpoint: off, problems (5xx and slow ones) or all.",
        _choice("off", "problems", "all"),
    ),
    Setting(
        "log_format",
        "auto",
        "Logs: text, json, or auto (text on a terminal).",
        _choice("auto", "text", "json"),
    ),
    Setting("log_level", "info", "Least severity that is logged.", _choice("debug", "info", "warning", "error")),
)


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float


@dataclass(frozen=True, slots=True)
class Gpt:
    """A registered GPT."""

    id: str
    name: str
    provider: str = "openai"
    model: str = UNKNOWN
    event_types: tuple[str, ...] = catalog.DEFAULT_EVENT_TYPES
    latency_objective_seconds: float = 5.0
    slo_target: float = 0.99
    prices: Mapping[str, Price] = field(default_factory=dict)
    """By model; the GPT's own model where the table is flat."""
    api_key_hashes: tuple[str, ...] = ()
    rate_limit: Rate | None = None
    """None: the general one. NO_LIMIT: off."""


@dataclass(frozen=True, slots=True)
class Otlp:
    """Where spans go, from the standard `OTEL_EXPORTER_OTLP_*` variables."""

    endpoint: str
    protocol: str
    headers: tuple[tuple[str, str], ...] = ()
    timeout_seconds: float = 10.0
    gzip: bool = False
    insecure: bool = True
    certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that was configured. `values` has one entry a row of SETTINGS."""

    values: Mapping[str, Any]
    gpts: Mapping[str, Gpt]
    otlp: Otlp | None
    resource: tuple[tuple[str, str], ...]
    service_name: str
    source: Path

    def __getattr__(self, key: str) -> Any:
        try:
            return self.values[key]
        except KeyError:
            raise AttributeError(key) from None

    @property
    def journal_path(self) -> Path:
        return Path(self.values["journal"].removeprefix("sqlite:///"))

    @property
    def key_path(self) -> Path:
        """The user hash's key, made once and kept beside the journal."""
        return self.journal_path.with_suffix(".key")


# --- reading ----------------------------------------------------------------------------------------------


def load(path: str | None, environ: Mapping[str, str], overrides: Mapping[str, object] | None = None) -> Config:
    """The configuration of `path` (default `otel-bridge.toml` in the working directory, else `SHIPPED`), with the
    environment and then the command line over it. Raises StartRefused."""
    named = path or environ.get("OTEL_BRIDGE_CONFIG")
    source = Path(named or DEFAULT_FILE)
    if not named and not os.path.lexists(source):  # a link to nowhere is a mistake, not an absence
        source = SHIPPED
    try:
        document = tomllib.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StartRefused(
            f"{source}: no such configuration file. Name one with --config, or have one written by `otel-bridge init`."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise StartRefused(f"{source}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise StartRefused(f"{source}: not valid TOML: {error}") from None
    gpt_tables = document.pop("gpts", {})
    values = _values(source, document, environ, overrides or {})
    gpts = _gpts(source, gpt_tables)
    return Config(
        values=values,
        gpts=gpts,
        otlp=_otlp(environ),
        resource=_resource(environ),
        service_name=environ.get("OTEL_SERVICE_NAME") or "otel-bridge",
        source=source,
    )


def _values(
    source: Path, document: Mapping[str, object], environ: Mapping[str, str], overrides: Mapping[str, object]
) -> dict[str, Any]:
    known = {setting.key: setting for setting in SETTINGS}
    for key in document:
        if key not in known:
            raise StartRefused(f"{source}: unknown key {key!r}{_nearest(key, [*known, 'gpts'])}")
    variables = {setting.env: setting.key for setting in SETTINGS}
    for name in environ:
        if name.startswith("OTEL_BRIDGE_") and name not in variables and name != "OTEL_BRIDGE_CONFIG":
            raise StartRefused(f"environment: unknown variable {name}{_nearest(name, [*variables])}")
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        where, found = f"{source}: {setting.key}", document.get(setting.key)
        if setting.env in environ:
            where, found = f"environment: {setting.env}", environ[setting.env]
        if overrides.get(setting.key) is not None:
            where, found = f"command line: --{setting.key.replace('_', '-')}", overrides[setting.key]
        values[setting.key] = setting.default if found is None else _read(where, setting.read, found)
    return values


def _read(where: str, read: Callable[[object], V], found: object) -> V:
    try:
        return read(found)
    except ValueError as error:
        raise StartRefused(f"{where}: found {found!r}, expected {error}") from None


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known are: {', '.join(known)}"


_GPT_READERS: Mapping[str, Callable[[object], Any]] = {
    "name": _text,
    "provider": _text,
    "model": _text,
    "event_types": _list,
    "latency_objective_seconds": _number(0.001, 3600),
    "slo_target": _number(0.5, 0.99999),
    "api_key_hashes": _list,
    "rate_limit": _gpt_rate,
}


def _gpts(source: Path, tables: object) -> dict[str, Gpt]:
    if not isinstance(tables, dict) or not tables:
        raise StartRefused(f"{source}: no GPT is registered; expected a table such as [gpts.devops-expert]")
    gpts = {}
    for gpt_id, table in tables.items():
        where = f"{source}: gpts.{gpt_id}"
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", gpt_id):
            raise StartRefused(
                f"{source}: gpts.{gpt_id!r}: expected an id of letters, digits and . _ -, 128 at the most"
            )
        if not isinstance(table, dict):
            raise StartRefused(f"{where}: found {table!r}, expected a table")
        table = dict(table)
        prices = table.pop("prices", {})
        for key in table:
            if key not in _GPT_READERS:
                raise StartRefused(f"{where}: unknown key {key!r}{_nearest(key, [*_GPT_READERS, 'prices'])}")
        read = {key: _read(f"{where}.{key}", _GPT_READERS[key], found) for key, found in table.items()}
        for digest in read.get("api_key_hashes", ()):
            if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
                raise StartRefused(
                    f"{where}.api_key_hashes: expected hashes such as sha256:… made by `otel-bridge keys new {gpt_id}`"
                )
        read.setdefault("name", gpt_id)
        model = read.get("model", UNKNOWN)
        gpts[gpt_id] = Gpt(id=gpt_id, prices=_prices(where, prices, model), **read)
    return gpts


def _prices(where: str, table: object, own_model: str) -> dict[str, Price]:
    """`prices = {input = 2.5, output = 10}` for the GPT's own model, or one such table a model."""
    where = f"{where}.prices"
    if not isinstance(table, dict):
        raise StartRefused(f"{where}: found {table!r}, expected {{input = 2.5, output = 10.0}}")
    if "input" in table or "output" in table:
        table = {own_model: table}
    prices = {}
    for model, price in table.items():
        if not isinstance(price, dict) or set(price) != {"input", "output"}:
            raise StartRefused(f"{where}: found {price!r}, expected {{input = 2.5, output = 10.0}}")
        number = _number(0, 1_000_000)
        prices[model] = Price(
            _read(f"{where}.input", number, price["input"]), _read(f"{where}.output", number, price["output"])
        )
    return prices


# --- the standard OpenTelemetry environment -----------------------------------------------------------------
# https://opentelemetry.io/docs/specs/otel/protocol/exporter/


def _otlp(environ: Mapping[str, str]) -> Otlp | None:
    def get(name: str) -> tuple[str, str]:
        for variable in (f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}"):
            if environ.get(variable):
                return variable, environ[variable]
        return f"OTEL_EXPORTER_OTLP_{name}", ""

    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    where, endpoint = get("ENDPOINT")
    if not endpoint:
        return None
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StartRefused(f"environment: {where}: found {endpoint!r}, expected a URL such as http://localhost:4318")
    protocol_where, protocol = get("PROTOCOL")
    protocol = protocol or "http/protobuf"
    if protocol not in ("http/protobuf", "grpc"):
        raise StartRefused(f"environment: {protocol_where}: found {protocol!r}, expected http/protobuf or grpc")
    if protocol == "http/protobuf" and "TRACES" not in where:
        endpoint = endpoint.rstrip("/") + "/v1/traces"
    compression_where, compression = get("COMPRESSION")
    if compression not in ("", "none", "gzip"):
        raise StartRefused(f"environment: {compression_where}: found {compression!r}, expected gzip or none")
    timeout_where, timeout = get("TIMEOUT")
    insecure_where, insecure = get("INSECURE")
    return Otlp(
        endpoint=endpoint,
        protocol=protocol,
        headers=_pairs(*get("HEADERS")),
        # Seconds, as opentelemetry-python reads this variable.
        timeout_seconds=_read(f"environment: {timeout_where}", _number(0.05, 3600), timeout or "10"),
        gzip=compression == "gzip",
        insecure=_read(f"environment: {insecure_where}", _flag, insecure or "false") or parts.scheme == "http",
        certificate=get("CERTIFICATE")[1] or None,
        client_certificate=get("CLIENT_CERTIFICATE")[1] or None,
        client_key=get("CLIENT_KEY")[1] or None,
    )


def _pairs(where: str, text: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise StartRefused(f"environment: {where}: expected name=value pairs separated by commas")
        pairs.append((unquote(name.strip()).lower() if "HEADERS" in where else name.strip(), unquote(value.strip())))
    return tuple(pairs)


def _resource(environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return _pairs("OTEL_RESOURCE_ATTRIBUTES", environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
