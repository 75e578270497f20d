"""Where spans go, and metrics where they are pushed, from the standard OpenTelemetry environment.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote, urlsplit

from otel_bridge.config import certificates, readers, secret_files
from otel_bridge.config.diagnostics import Diagnostics
from otel_bridge.config.proxies import read_proxy

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token (RFC 9110, 5.6.2)."""
_GRPC_NAME = re.compile(r"(?!grpc-)[0-9a-z_.-]+(?<!-bin)")
"""gRPC keeps `grpc-` for itself, and a `-bin` name has bytes for a value (gRPC over HTTP/2, Custom-Metadata)."""
_OURS = frozenset(("connection", "content-encoding", "content-length", "content-type", "te", "transfer-encoding"))
"""Headers that each request has for itself: another value would break it."""
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_QUOTE = "[\"'“”‘’«»]"
_QUOTED = re.compile(rf"(^|[,=])\s*{_QUOTE}|{_QUOTE}\s*($|,)")
"""A quote where a pair, a name or a value begins or ends."""

_SDK_LIMITS = (
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
)
_SDK_BATCHES = {
    "OTEL_BSP_MAX_QUEUE_SIZE": 2048,
    "OTEL_BSP_SCHEDULE_DELAY": 5000,
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": 512,
}
"""With their defaults."""

Signal = Literal["traces", "metrics"]

PUSH_MILLISECONDS = 15_000.0
"""Between two pushes, unless `OTEL_METRIC_EXPORT_INTERVAL` says another. The specification's minute would leave windows
of one minute, which boards and rules have, empty."""

SECRET_CHARS = 8
"""A shorter word is no secret: it would be found in everything."""


@dataclass(frozen=True, slots=True)
class Otlp:
    """Where one signal goes, from the standard `OTEL_EXPORTER_OTLP_*` variables."""

    endpoint: str
    protocol: str
    """`http/protobuf` or `grpc`."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout_seconds: float = 10.0
    gzip: bool = False
    insecure: bool = True
    certificate: str | None = None
    """Files: the authorities of the endpoint's certificate, the client's certificate, its key."""
    client_certificate: str | None = None
    client_key: str | None = None
    proxy: str | None = field(default=None, repr=False)
    """The HTTP proxy on the way, with a port and maybe a login in it; None: the way is direct."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What an endpoint may repeat and no message shows: values of headers, their words, a proxy's login."""
        words = [word for _, value in self.headers for word in (value, *value.split())]
        words += [unquote(word) for word in urlsplit(self.proxy or "").netloc.rpartition("@")[0].split(":")]
        return tuple(sorted({word for word in words if len(word) >= SECRET_CHARS}, key=len, reverse=True))


@dataclass(frozen=True, slots=True)
class Push:
    """Where metrics are pushed, and how often."""

    otlp: Otlp
    seconds: float


def read_push(environ: Mapping[str, str], diagnostics: Diagnostics) -> Push | None:
    """Where metrics are pushed; None where they are not, as `/metrics` shows them. Wrong variables go to
    `diagnostics`."""
    variable = "OTEL_METRICS_EXPORTER"
    chosen = environ.get("OTEL_METRICS_EXPORTER", "").strip().lower()
    if chosen not in ("", "none", "prometheus", "otlp"):
        diagnostics.wrong(
            f"entorno: {variable}", environ[variable], "otlp (se empujan) o none (/metrics las muestra siempre)"
        )
    if chosen != "otlp" or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    met = Diagnostics()
    otlp = read_otlp(environ, met, "metrics")
    # A variable of all signals was looked at for spans, too: what is wrong with it is said once.
    diagnostics.lines += [line for line in met.lines if line not in diagnostics.lines]
    diagnostics.warnings += [line for line in met.warnings if line not in diagnostics.warnings]
    for name, expected in (
        ("TEMPORALITY_PREFERENCE", "cumulative"),
        ("DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram"),
    ):
        preferred = f"OTEL_EXPORTER_OTLP_METRICS_{name}"
        if environ.get(preferred, "").strip().lower() not in ("", expected):
            diagnostics.wrong(
                f"entorno: {preferred}", environ[preferred], f"{expected}: se empuja lo que muestra /metrics"
            )
    milliseconds = diagnostics.read(
        "entorno: OTEL_METRIC_EXPORT_INTERVAL",
        readers.number(100, 3_600_000),
        environ.get("OTEL_METRIC_EXPORT_INTERVAL") or str(PUSH_MILLISECONDS),
        PUSH_MILLISECONDS,
    )
    if otlp is None:
        diagnostics.add(
            f"entorno: {variable}: dice 'otlp' y no hay destino; se esperaba uno en OTEL_EXPORTER_OTLP_ENDPOINT u "
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
        )
        return None
    return Push(otlp, milliseconds / 1000)


def read_otlp(environ: Mapping[str, str], diagnostics: Diagnostics, signal: Signal = "traces") -> Otlp | None:
    """The endpoint of a signal and how it is reached; None where there is none. Wrong variables go to `diagnostics`."""

    def get(name: str) -> tuple[str, str]:
        for variable in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", f"OTEL_EXPORTER_OTLP_{name}"):
            if environ.get(variable):
                return variable, environ[variable]
        return f"OTEL_EXPORTER_OTLP_{name}", ""

    def file(variable: str, path: str) -> tuple[str, str]:
        return f"entorno: {variable}", path

    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    endpoint_variable, endpoint = get("ENDPOINT")
    if not endpoint:
        return None
    endpoint = diagnostics.read(f"entorno: {endpoint_variable}", readers.http_url, endpoint, "")
    protocol_variable, protocol = get("PROTOCOL")
    protocol = protocol or "http/protobuf"
    if protocol not in ("http/protobuf", "grpc"):
        diagnostics.wrong(f"entorno: {protocol_variable}", protocol, "http/protobuf o grpc")
    if endpoint:
        endpoint = _signal_endpoint(signal, endpoint_variable, endpoint, protocol, diagnostics)
    compression_variable, compression = get("COMPRESSION")
    if compression not in ("", "none", "gzip"):
        diagnostics.wrong(f"entorno: {compression_variable}", compression, "gzip o none")
    headers = _headers(*_of_file(signal, *get("HEADERS"), environ, diagnostics), protocol, diagnostics)
    timeout_variable, timeout = get("TIMEOUT")
    # Seconds, as opentelemetry-python reads this variable.
    seconds = diagnostics.read(f"entorno: {timeout_variable}", readers.number(0.05, 3600), timeout or "10", 10.0)
    insecure_variable, insecure = get("INSECURE")
    plain = diagnostics.read(f"entorno: {insecure_variable}", readers.flag, insecure or "false", False)
    authorities = file(*get("CERTIFICATE"))
    if authorities[1]:
        certificates.check_authorities(*authorities, diagnostics)
    client_certificate, client_key = certificates.check_own(
        file(*get("CLIENT_CERTIFICATE")), file(*get("CLIENT_KEY")), diagnostics
    )
    return Otlp(
        endpoint=endpoint,
        protocol=protocol,
        headers=headers,
        timeout_seconds=seconds,
        gzip=compression == "gzip",
        insecure=plain or urlsplit(endpoint).scheme == "http",
        certificate=authorities[1] or None,
        client_certificate=client_certificate,
        client_key=client_key,
        proxy=read_proxy(environ, endpoint, protocol, diagnostics) if endpoint else None,
    )


def _of_file(
    signal: Signal, variable: str, text: str, environ: Mapping[str, str], diagnostics: Diagnostics
) -> tuple[str, str]:
    """The variable and the text that hold: those of a `…_FILE` where there is one. The form for the signal wins, as
    elsewhere."""
    for name in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"):
        if name + secret_files.SUFFIX in environ:
            found = secret_files.read(name, environ, diagnostics)
            return name + secret_files.SUFFIX, found or ""
        if environ.get(name):
            break
    return variable, text


def _signal_endpoint(signal: Signal, variable: str, endpoint: str, protocol: str, diagnostics: Diagnostics) -> str:
    """Where the signal goes: over HTTP the base has its path added. Warns where another path was probably meant."""
    path = urlsplit(endpoint).path.rstrip("/")
    place = f"entorno: {variable}"
    if protocol == "grpc":
        if path:
            diagnostics.warn(
                f"{place}: gRPC no tiene rutas y {path} no se usa; quítala, o pon …_PROTOCOL a http/protobuf"
            )
        return endpoint
    what, kind = ("los spans", "trazas") if signal == "traces" else ("las métricas", "métricas")
    own_variable = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
    is_own = variable == own_variable
    named = re.search(r"/v1/(traces|metrics|logs)$", path)
    if named is not None and not is_own:
        diagnostics.warn(
            f"{place}: termina en {named[0]}, y se le añade /v1/{signal}: {what} van a {path}/v1/{signal}. "
            f"Quita la ruta, o usa {own_variable}"
        )
    elif named is not None and named[1] != signal:
        diagnostics.warn(f"{place}: termina en {named[0]}, donde no se aceptan {kind}; se esperaba /v1/{signal}")
    elif is_own and not path:
        diagnostics.warn(
            f"{place}: no tiene ruta, y no se le añade ninguna: {what} van a /. Añade /v1/{signal}, o usa "
            "OTEL_EXPORTER_OTLP_ENDPOINT"
        )
    return endpoint if is_own else endpoint.rstrip("/") + f"/v1/{signal}"


def read_resource(environ: Mapping[str, str], diagnostics: Diagnostics) -> tuple[tuple[str, str], ...]:
    """The attributes of every span's resource. A wrong variable goes to `diagnostics`."""
    variable = "OTEL_RESOURCE_ATTRIBUTES"
    pairs = _pairs(variable, environ.get("OTEL_RESOURCE_ATTRIBUTES", ""), diagnostics)
    for name, value in pairs:
        if readers.UNWRITABLE.search(name + value):
            diagnostics.add(f"entorno: {variable}: se esperaban valores de texto UTF-8 imprimible (no se muestran)")
            return ()
    return pairs


def read_service_name(environ: Mapping[str, str], diagnostics: Diagnostics) -> str:
    """The bridge's own name. A wrong variable goes to `diagnostics`."""
    name = environ.get("OTEL_SERVICE_NAME") or "otel-bridge"
    if readers.UNWRITABLE.search(name):
        diagnostics.wrong("entorno: OTEL_SERVICE_NAME", name, "texto UTF-8 imprimible")
    return name


def check_sdk(environ: Mapping[str, str], diagnostics: Diagnostics) -> None:
    """Adds what the OpenTelemetry SDK, which makes request spans, refuses in its environment
    (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/)."""
    for variable in _SDK_LIMITS:
        raw = environ.get(variable)
        if raw is None or raw.strip().lower() == "unset":
            continue
        number = _integer(raw)
        if number is None or number < 0:
            diagnostics.wrong(f"entorno: {variable}", raw, "un número entero desde 0, o unset")
    sizes = {}
    for variable, default in _SDK_BATCHES.items():
        number = _integer(environ.get(variable, ""))
        sizes[variable] = default if number is None else number  # as the SDK does, which then logs it
        if sizes[variable] <= 0:
            diagnostics.wrong(f"entorno: {variable}", environ[variable], "un número entero desde 1")
    queue, batch = sizes["OTEL_BSP_MAX_QUEUE_SIZE"], sizes["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"]
    if 0 < queue < batch:
        diagnostics.add(
            f"entorno: OTEL_BSP_MAX_EXPORT_BATCH_SIZE: se encontró {batch}, se esperaba como mucho "
            f"OTEL_BSP_MAX_QUEUE_SIZE, que es {queue}"
        )


def _integer(raw: str) -> int | None:
    try:
        return int(raw)
    except ValueError:
        return None


def _headers(variable: str, text: str, protocol: str, diagnostics: Diagnostics) -> tuple[tuple[str, str], ...]:
    """Headers of every request; of a name that comes twice, the last. What is found is never repeated: it carries
    credentials."""
    headers = {}
    if _QUOTED.search(text):
        diagnostics.add(
            f"entorno: {variable}: se esperaban pares nombre=valor sin comillas (lo encontrado no se muestra): "
            "aquí se enviarían con el texto; %22 escribe unas que hagan falta"
        )
        return ()
    for name, value in _pairs(variable, text, diagnostics):
        name, problem = name.lower(), ""
        if not _HEADER_NAME.fullmatch(name):
            problem = "nombres de letras, cifras, - y _"
        elif protocol == "grpc" and not _GRPC_NAME.fullmatch(name):
            problem = "nombres de letras, cifras, - y _, sin grpc- delante ni -bin al final"
        elif name in _OURS:
            problem = f"que no hubiera {name}: cada petición lleva el suyo"
        elif not _HEADER_VALUE.fullmatch(value):
            problem = "valores de caracteres ASCII imprimibles, sin saltos de línea ni otros caracteres de control"
        if problem:
            diagnostics.add(f"entorno: {variable}: se esperaba {problem} (lo encontrado no se muestra)")
            return ()
        headers[name] = value
    return tuple(headers.items())


def _pairs(variable: str, text: str, diagnostics: Diagnostics) -> tuple[tuple[str, str], ...]:
    pairs = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            # What was found is not repeated: headers carry credentials.
            diagnostics.add(f"entorno: {variable}: se esperaban pares nombre=valor separados por comas")
            return ()
        pairs.append((unquote(name.strip()), unquote(value.strip())))
    return tuple(pairs)
