"""Where spans go: what cannot work stops the start, names its variable and repeats no secret."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from otel_bridge import config
from otel_bridge.config import Diagnostics, Otlp, Push
from otel_bridge.errors import StartRefused

PREFIX = "OTEL_EXPORTER_OTLP_"
SECRET = "s3cr3t-Zx9"

Read = Callable[..., tuple[Otlp | None, Diagnostics]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    file = tmp_path / "otel-bridge.toml"
    file.write_text("[gpts.a]\n", encoding="utf-8")

    def read(**variables: str) -> tuple[Otlp | None, Diagnostics]:
        """Capitals are the names without their prefix; the other variables are given as they are."""
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example:4318"}
        environ |= {
            name if name.islower() or name.endswith("PROXY") else PREFIX + name: v for name, v in variables.items()
        }
        loaded, diagnostics = config.read(str(file), environ)
        return loaded.otlp, diagnostics

    return read


def only_line(diagnostics: Diagnostics) -> str:
    (line,) = diagnostics.lines
    assert SECRET not in line
    return line


# --- the endpoint -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "endpoint",
    [
        f"http://user:{SECRET}@collector:4318",
        f"http://{SECRET}@collector:4318",
        f"http://user:{SECRET}@[::1",
        f"http://user:{SECRET}@collector:99999",
        f"http://collector:4318/?token={SECRET}",
        f"http://collector:4318/v1/traces?api-key={SECRET}",
        f"http://collector:99999/?token={SECRET}",
        f"http://collector:4318/#{SECRET}",
        f"user:{SECRET}@collector:4318",
        f"ftp://user:{SECRET}@collector",
        "http://collector:99999",
        "http://collector:65536",
        "http://collector:0",
        "http://collector:-1",
        "http://collector:port",
        "http://collector:",
        "http://collector:4318?",
        "http://[::1",
        "http://::1]:4318",
        "http://::1:4318",
        "http://[::zz]:4318",
        "http://[]:4318",
        "http://999.1.1.1:4318",
        "http://",
        "http:///v1/traces",
        "http://:4318",
        "http://coll ector:4318",
        "http://collector:4318\n",
        " http://collector:4318",
        "http://coll\tector",
        "http://a..b",
        "http://-",
        "http://" + "a" * 64,
        "http://\udcff",
        '"http://collector:4318"',
        "collector:4318",
        "grpc://collector:4317",
        "unix:///run/otlp.sock",
    ],
)
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("variable", ["ENDPOINT", "TRACES_ENDPOINT"])
def test_an_endpoint_that_cannot_work_is_refused(read: Read, endpoint: str, protocol: str, variable: str) -> None:
    line = only_line(read(**{variable: endpoint}, PROTOCOL=protocol)[1])
    assert line.startswith(f"entorno: {PREFIX}{variable}: se encontró ") and "se esperaba una URL" in line


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://my_collector:4318",
        "http://[::1]:4318",
        "http://10.0.0.1",
        "https://ingest.example.com./otlp",
        "http://ñu:1",
    ],
)
def test_an_endpoint_that_can_work_is_taken(read: Read, endpoint: str) -> None:
    otlp, diagnostics = read(ENDPOINT=endpoint)
    assert otlp is not None and otlp.endpoint == endpoint + "/v1/traces"
    assert diagnostics.lines == diagnostics.warnings == []


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ENDPOINT": "http://h:4318/v1/traces"}, "los spans van a /v1/traces/v1/traces"),
        ({"ENDPOINT": "http://h:4318/v1/traces/"}, "los spans van a /v1/traces/v1/traces"),
        ({"ENDPOINT": "http://h:4318/otlp/v1/metrics"}, "los spans van a /otlp/v1/metrics/v1/traces"),
        ({"TRACES_ENDPOINT": "http://h:4318/v1/logs"}, "donde no se aceptan trazas"),
        ({"TRACES_ENDPOINT": "http://h:4318"}, "no tiene ruta"),
        ({"ENDPOINT": "http://h:4317/v1/traces", "PROTOCOL": "grpc"}, "gRPC no tiene rutas"),
    ],
)
def test_a_path_that_is_probably_not_meant_is_a_warning(read: Read, variables: dict[str, str], said: str) -> None:
    otlp, diagnostics = read(**variables)
    assert otlp is not None and diagnostics.lines == []
    (warning,) = diagnostics.warnings
    assert said in warning and warning.startswith(f"entorno: {PREFIX}")


@pytest.mark.parametrize("variables", [{"ENDPOINT": "http://h/v1"}, {"TRACES_ENDPOINT": "http://h/v1/traces"}])
def test_a_path_that_is_meant_is_none(read: Read, variables: dict[str, str]) -> None:
    assert read(**variables)[1].warnings == []


# --- headers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        f'"authorization=Bearer {SECRET}"',
        f"'authorization=Bearer {SECRET}'",
        f'authorization="Bearer {SECRET}"',
        f'"authorization"=Bearer {SECRET}',
        f'x-team=a,authorization="{SECRET}"',
        f'x-key="{SECRET}",x-team=a',
        f"“authorization={SECRET}”",
        f"authorization=Bearer%0A{SECRET}",
        f"authorization={SECRET}\r\nx-evil: 1",
        f"authorization={SECRET}%00",
        f"authorization={SECRET}%0d%0a",
        f"authorization={SECRET}\x7f",
        f"authorization={SECRET}ñ",
        f"authorization={SECRET}%ff",
        f"authorization={SECRET}\udcff",
        f"author ization={SECRET}",
        f"authorization: Bearer={SECRET}",
        f"content-length={SECRET}",
        f"Transfer-Encoding={SECRET}",
        f"={SECRET}",
        SECRET,
    ],
)
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("variable", ["HEADERS", "TRACES_HEADERS"])
def test_headers_that_cannot_be_sent_are_refused_unrepeated(
    read: Read, headers: str, protocol: str, variable: str
) -> None:
    line = only_line(read(**{variable: headers}, PROTOCOL=protocol)[1])
    assert line.startswith(f"entorno: {PREFIX}{variable}: se esperaba")
    assert "evil" not in line


@pytest.mark.parametrize("name", ["grpc-timeout", "token-bin", "x+y"])
def test_a_name_that_grpc_cannot_send_is_refused_over_grpc_alone(read: Read, name: str) -> None:
    assert PREFIX + "HEADERS" in only_line(read(HEADERS=f"{name}={SECRET}", PROTOCOL="grpc")[1])
    assert read(HEADERS=f"{name}={SECRET}")[1].lines == []


def test_of_a_header_that_comes_twice_the_last_is_sent_and_a_real_quote_can_be_written(read: Read) -> None:
    otlp, diagnostics = read(HEADERS="X-A=1, x-b=%22q%22 ,x-a=two=2\n")
    assert diagnostics.lines == [] and otlp is not None
    assert otlp.headers == (("x-a", "two=2"), ("x-b", '"q"'))
    assert "two" not in repr(otlp)


@pytest.mark.parametrize("raw", ["a=\udcff", "a=b%00", "a%0a=b"])
def test_resource_attributes_that_cannot_be_encoded_are_refused(tmp_path: Path, raw: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[gpts.a]\n")
    with pytest.raises(StartRefused, match="OTEL_RESOURCE_ATTRIBUTES: se esperaba"):
        config.load(str(file), {"OTEL_RESOURCE_ATTRIBUTES": raw})


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e9", " ", "10s"])
def test_a_timeout_that_cannot_work_is_refused(read: Read, value: str) -> None:
    assert f"{PREFIX}TIMEOUT: se encontró {value!r}, se esperaba un número de 0.05" in only_line(read(TIMEOUT=value)[1])


# --- certificates -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates, keys, and files that are neither."""
    folder = tmp_path_factory.mktemp("pem")
    form, pkcs8, now = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, datetime.now(UTC)
    for name in ("a", "b"):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
        made = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .sign(key, hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(made.public_bytes(form))
        (folder / f"{name}.key").write_bytes(key.private_bytes(form, pkcs8, serialization.NoEncryption()))
        (folder / f"{name}.der").write_bytes(made.public_bytes(serialization.Encoding.DER))
        locked = serialization.BestAvailableEncryption(SECRET.encode())
        (folder / "locked.key").write_bytes(key.private_bytes(form, pkcs8, locked))
    both = (folder / "a.pem").read_text() + (folder / "a.key").read_text()
    (folder / "both.pem").write_text(both)
    (folder / "commented.pem").write_text("# Autoridad Certificación Ñ\n" + (folder / "a.pem").read_text())
    (folder / "empty.pem").write_text("")
    (folder / "text.pem").write_text(f"{SECRET}\n")
    (folder / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (folder / "broken.key").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    (folder / "folder").mkdir()
    return folder


NO_CERTIFICATE = {
    "none.pem": "no existe",
    "folder": "no lo es",
    "empty.pem": "formato PEM",
    "text.pem": "formato PEM",
    "broken.pem": "formato PEM",
    "a.der": "formato PEM",
    "a.key": "formato PEM",
    "none\0.pem": "no es una ruta",
    "x" * 300: "File name too long",
}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("name", NO_CERTIFICATE)
def test_a_file_that_is_no_certificate_is_refused(read: Read, pem: Path, name: str, protocol: str) -> None:
    for variable in ("CERTIFICATE", "TRACES_CERTIFICATE"):
        line = only_line(read(**{variable: f"{pem}/{name}"}, PROTOCOL=protocol)[1])
        assert f"{PREFIX}{variable}: " in line and NO_CERTIFICATE[name] in line
    line = only_line(read(CLIENT_CERTIFICATE=f"{pem}/{name}", CLIENT_KEY=f"{pem}/a.key")[1])
    assert f"{PREFIX}CLIENT_CERTIFICATE: " in line


@pytest.mark.parametrize(
    ("certificate", "key", "variable", "said"),
    [
        ("a.pem", "", "CLIENT_CERTIFICATE", "el certificado de un cliente sin su clave"),
        ("", "a.key", "CLIENT_KEY", "la clave de un cliente sin su certificado"),
        ("a.pem", "b.key", "CLIENT_KEY", "esta es de otro"),
        ("a.pem", "none.key", "CLIENT_KEY", "no existe"),
        ("a.pem", "text.pem", "CLIENT_KEY", "formato PEM"),
        ("a.pem", "b.pem", "CLIENT_KEY", "una clave privada en formato PEM"),
        ("a.pem", "broken.key", "CLIENT_CERTIFICATE", "que se puedan leer"),
        ("a.pem", "locked.key", "CLIENT_KEY", "sin contraseña"),
    ],
)
def test_a_certificate_and_a_key_that_are_no_pair_are_refused(
    read: Read, pem: Path, certificate: str, key: str, variable: str, said: str
) -> None:
    files = {"CLIENT_CERTIFICATE": certificate, "CLIENT_KEY": key}
    line = only_line(read(**{name: f"{pem}/{file}" for name, file in files.items() if file})[1])
    assert f"{PREFIX}{variable}: " in line and said in line


def test_what_stands_in_a_key_is_not_shown_where_its_path_belongs(read: Read, pem: Path) -> None:
    key = (pem / "a.key").read_text()
    diagnostics = read(CLIENT_CERTIFICATE=f"{pem}/a.pem", CLIENT_KEY=key)[1]
    assert "se esperaba la ruta de un archivo" in only_line(diagnostics)
    assert key.splitlines()[1] not in only_line(diagnostics)


@pytest.mark.parametrize("name", ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"])
@pytest.mark.parametrize("text", [SECRET, "c2VjcmV0" * 8, "c2VjcmV0" * 20], ids=["short", "64", "160"])
def test_what_is_no_path_is_not_shown_either(read: Read, pem: Path, name: str, text: str) -> None:
    files = {"CLIENT_CERTIFICATE": f"{pem}/a.pem", "CLIENT_KEY": f"{pem}/a.key", name: text}
    line = only_line(read(**files)[1])
    assert f"{PREFIX}{name}: se esperaba un archivo: no existe" in line and text not in line


def test_certificates_that_can_be_used_are_taken(read: Read, pem: Path) -> None:
    variables = {"CERTIFICATE": "commented.pem", "CLIENT_CERTIFICATE": "a.pem", "CLIENT_KEY": "a.key"}
    otlp, diagnostics = read(**{name: f"{pem}/{file}" for name, file in variables.items()})
    assert diagnostics.lines == [] and otlp is not None
    assert (otlp.certificate, otlp.client_key) == (f"{pem}/commented.pem", f"{pem}/a.key")
    otlp, diagnostics = read(CLIENT_CERTIFICATE=f"{pem}/both.pem")
    assert diagnostics.lines == [] and otlp is not None
    assert otlp.client_certificate == otlp.client_key == f"{pem}/both.pem"


# --- proxies ------------------------------------------------------------------------------------------------------

P = "http://proxy.example:3128"
HTTP = {"ENDPOINT": "http://collector.example:4318"}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({}, None),
        ({"https_proxy": P}, P),
        ({"HTTPS_PROXY": P}, P),
        ({"https_proxy": P, "HTTPS_PROXY": "http://other:1"}, P),
        ({"http_proxy": P, "HTTP_PROXY": P}, None),
        ({**HTTP, "http_proxy": P}, P),
        ({**HTTP, "HTTP_PROXY": P}, P),
        ({**HTTP, "https_proxy": P, "HTTPS_PROXY": P}, None),
        ({"https_proxy": ""}, None),
        ({"https_proxy": "proxy.example:3128"}, P),
        ({"https_proxy": "http://proxy.example/"}, "http://proxy.example:80"),
        ({"https_proxy": "http://u:p@proxy.example:3128"}, "http://u:p@proxy.example:3128"),
        ({"https_proxy": P, "no_proxy": "collector.example"}, None),
        ({"https_proxy": P, "NO_PROXY": "other, example "}, None),
        ({"https_proxy": P, "NO_PROXY": ".example"}, None),
        ({"https_proxy": P, "NO_PROXY": "*.EXAMPLE"}, None),
        ({"https_proxy": P, "NO_PROXY": "*"}, None),
        ({"https_proxy": P, "NO_PROXY": "collector.example:4318"}, None),
        ({"https_proxy": P, "NO_PROXY": "collector.example:4317"}, P),
        ({"https_proxy": P, "NO_PROXY": "lector.example"}, P),
        ({"https_proxy": P, "NO_PROXY": ",10.0.0.0/8"}, P),
        ({"https_proxy": P, "no_proxy": "x", "NO_PROXY": "*"}, P),
        ({"ENDPOINT": "https://10.1.2.3:4318", "https_proxy": P, "NO_PROXY": "10.0.0.0/8"}, None),
        ({"ENDPOINT": "https://10.1.2.3:4318", "https_proxy": P, "NO_PROXY": "10.1.2.3:4318"}, None),
        ({"ENDPOINT": "https://11.1.2.3:4318", "https_proxy": P, "NO_PROXY": "10.0.0.0/8"}, P),
        ({"ENDPOINT": "https://[fd00::1]:4318", "https_proxy": P, "NO_PROXY": "fd00::/8"}, None),
        ({"ENDPOINT": "https://[fd00::1]:4318", "https_proxy": P, "NO_PROXY": "[fd00::1]"}, None),
    ],
)
def test_the_proxy_is_the_same_over_http_and_grpc(
    read: Read, variables: dict[str, str], proxy: str | None, protocol: str
) -> None:
    otlp, diagnostics = read(**variables, PROTOCOL=protocol)
    assert diagnostics.lines == [] and otlp is not None and otlp.proxy == proxy
    assert "proxy.example" not in repr(otlp)


def test_grpc_has_a_variable_of_its_own(read: Read) -> None:
    variables = {"grpc_proxy": P, "https_proxy": "http://other:1"}
    over_grpc, over_http = read(**variables, PROTOCOL="grpc")[0], read(**variables)[0]
    assert over_grpc is not None and over_grpc.proxy == P
    assert over_http is not None and over_http.proxy == "http://other:1"


@pytest.mark.parametrize(
    "proxy", [f"socks5://u:{SECRET}@p:1080", "https://p:3128", "http://p:99999", "http://[::1", f"http://u:{SECRET}@:1"]
)
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_proxy_that_cannot_work_is_refused_where_it_would_be_used(read: Read, proxy: str, protocol: str) -> None:
    line = only_line(read(HTTPS_PROXY=proxy, PROTOCOL=protocol)[1])
    assert line.startswith("entorno: HTTPS_PROXY: se encontró ") and "se esperaba un proxy HTTP" in line
    assert read(HTTPS_PROXY=proxy, PROTOCOL=protocol, no_proxy="*")[1].lines == []
    assert read(http_proxy=proxy, PROTOCOL=protocol)[1].lines == []


# --- metrics that are pushed ----------------------------------------------------------------------------------------


@pytest.fixture
def read_push(tmp_path: Path) -> Callable[..., tuple[Push | None, Diagnostics]]:
    file = tmp_path / "otel-bridge.toml"
    file.write_text("[gpts.a]\n", encoding="utf-8")

    def read(**variables: str) -> tuple[Push | None, Diagnostics]:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example:4318", "OTEL_METRICS_EXPORTER": "otlp"}
        loaded, diagnostics = config.read(str(file), environ | variables)
        return loaded.push, diagnostics

    return read


@pytest.mark.parametrize("chosen", ["", "none", "None", "prometheus"])
def test_metrics_are_not_pushed_unless_it_is_said(read_push: Callable[..., Any], chosen: str) -> None:
    push, diagnostics = read_push(OTEL_METRICS_EXPORTER=chosen)
    assert push is None and diagnostics.lines == []


def test_metrics_go_where_spans_go(read_push: Callable[..., Any]) -> None:
    push, diagnostics = read_push()
    assert diagnostics.lines == diagnostics.warnings == []
    assert push.otlp.endpoint == "https://collector.example:4318/v1/metrics" and push.seconds == 15


def test_metrics_have_variables_of_their_own(read_push: Callable[..., Any]) -> None:
    push, diagnostics = read_push(
        OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="http://prometheus:9090/api/v1/otlp/v1/metrics",
        OTEL_EXPORTER_OTLP_METRICS_HEADERS="x-scope-orgid=equipo",
        OTEL_EXPORTER_OTLP_HEADERS="x-otro=1",
        OTEL_EXPORTER_OTLP_METRICS_TIMEOUT="3",
        OTEL_EXPORTER_OTLP_METRICS_COMPRESSION="gzip",
        OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE="Cumulative",
        OTEL_METRIC_EXPORT_INTERVAL="2500",
    )
    assert diagnostics.lines == diagnostics.warnings == []
    assert push.otlp.endpoint == "http://prometheus:9090/api/v1/otlp/v1/metrics" and push.seconds == 2.5
    assert push.otlp.headers == (("x-scope-orgid", "equipo"),)
    assert (push.otlp.timeout_seconds, push.otlp.gzip) == (3, True)


def test_metrics_can_go_where_no_spans_go(tmp_path: Path) -> None:
    file = tmp_path / "otel-bridge.toml"
    file.write_text("[gpts.a]\n", encoding="utf-8")
    environ = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://a:4318/v1/metrics"}
    loaded, diagnostics = config.read(str(file), environ)
    assert loaded.otlp is None and loaded.push is not None and diagnostics.lines == []


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (
            {"OTEL_METRICS_EXPORTER": "console"},
            "OTEL_METRICS_EXPORTER: se encontró 'console', se esperaba otlp (se empujan) o none",
        ),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "15s"}, "OTEL_METRIC_EXPORT_INTERVAL: se encontró '15s', se esperaba"),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "0"}, "OTEL_METRIC_EXPORT_INTERVAL: se encontró '0', se esperaba"),
        (
            {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/json"},
            "METRICS_PROTOCOL: se encontró 'http/json', se esperaba",
        ),
        (
            {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"},
            "TEMPORALITY_PREFERENCE: se encontró 'delta', se esperaba cumulative",
        ),
        (
            {"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram"},
            "se esperaba explicit_bucket_histogram",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, "no hay destino"),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "0"}, "OTEL_EXPORTER_OTLP_TIMEOUT: se encontró '0', se esperaba"),
    ],
)
def test_what_cannot_be_pushed_is_told_once(
    read_push: Callable[..., Any], variables: dict[str, str], told: str
) -> None:
    _, diagnostics = read_push(**variables)
    assert told in only_line(diagnostics)


def test_a_path_of_another_signal_is_a_warning(read_push: Callable[..., Any]) -> None:
    _, diagnostics = read_push(OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="http://a:4318/v1/traces")
    (line,) = diagnostics.warnings
    assert "termina en /v1/traces, donde no se aceptan métricas; se esperaba /v1/metrics" in line


def test_nothing_is_pushed_where_the_sdk_is_disabled(read_push: Callable[..., Any]) -> None:
    assert read_push(OTEL_SDK_DISABLED="true")[0] is None
