"""Where spans go, from the standard OpenTelemetry environment.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from otel_bridge.config import readers
from otel_bridge.config.diagnostics import Diagnostics


@dataclass(frozen=True, slots=True)
class Otlp:
    """Where spans go, from the standard `OTEL_EXPORTER_OTLP_*` variables."""

    endpoint: str
    protocol: str
    """`http/protobuf` or `grpc`."""
    headers: tuple[tuple[str, str], ...] = ()
    timeout_seconds: float = 10.0
    gzip: bool = False
    insecure: bool = True
    certificate: str | None = None
    """Files: the authorities of the endpoint's certificate, the client's certificate, its key."""
    client_certificate: str | None = None
    client_key: str | None = None


def read_otlp(environ: Mapping[str, str], diagnostics: Diagnostics) -> Otlp | None:
    """The endpoint and how it is reached; None where there is none. Wrong variables go to `diagnostics`."""

    def get(name: str) -> tuple[str, str]:
        for variable in (f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}"):
            if environ.get(variable):
                return variable, environ[variable]
        return f"OTEL_EXPORTER_OTLP_{name}", ""

    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    endpoint_variable, endpoint = get("ENDPOINT")
    if not endpoint:
        return None
    endpoint = diagnostics.read(f"environment: {endpoint_variable}", readers.http_url, endpoint, "")
    protocol_variable, protocol = get("PROTOCOL")
    protocol = protocol or "http/protobuf"
    if protocol not in ("http/protobuf", "grpc"):
        diagnostics.wrong(f"environment: {protocol_variable}", protocol, "http/protobuf or grpc")
    if protocol == "http/protobuf" and "TRACES" not in endpoint_variable:
        endpoint = endpoint.rstrip("/") + "/v1/traces"
    compression_variable, compression = get("COMPRESSION")
    if compression not in ("", "none", "gzip"):
        diagnostics.wrong(f"environment: {compression_variable}", compression, "gzip or none")
    headers = _pairs(*get("HEADERS"), diagnostics)
    timeout_variable, timeout = get("TIMEOUT")
    # Seconds, as opentelemetry-python reads this variable.
    seconds = diagnostics.read(f"environment: {timeout_variable}", readers.number(0.05, 3600), timeout or "10", 10.0)
    insecure_variable, insecure = get("INSECURE")
    plain = diagnostics.read(f"environment: {insecure_variable}", readers.flag, insecure or "false", False)
    return Otlp(
        endpoint=endpoint,
        protocol=protocol,
        headers=headers,
        timeout_seconds=seconds,
        gzip=compression == "gzip",
        insecure=plain or urlsplit(endpoint).scheme == "http",
        certificate=get("CERTIFICATE")[1] or None,
        client_certificate=get("CLIENT_CERTIFICATE")[1] or None,
        client_key=get("CLIENT_KEY")[1] or None,
    )


def read_resource(environ: Mapping[str, str], diagnostics: Diagnostics) -> tuple[tuple[str, str], ...]:
    """The attributes of every span's resource. A wrong variable goes to `diagnostics`."""
    return _pairs("OTEL_RESOURCE_ATTRIBUTES", environ.get("OTEL_RESOURCE_ATTRIBUTES", ""), diagnostics)


def read_service_name(environ: Mapping[str, str]) -> str:
    """The bridge's own name."""
    return environ.get("OTEL_SERVICE_NAME") or "otel-bridge"


def _pairs(variable: str, text: str, diagnostics: Diagnostics) -> tuple[tuple[str, str], ...]:
    pairs = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            # What was found is not repeated: headers carry credentials.
            diagnostics.add(f"environment: {variable}: expected name=value pairs separated by commas")
            return ()
        pairs.append((unquote(name.strip()).lower() if "HEADERS" in variable else name.strip(), unquote(value.strip())))
    return tuple(pairs)
