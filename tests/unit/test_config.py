"""Settings: read from file, environment and command line; wrong ones stop the start and say so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_bridge import config
from otel_bridge.commands import cli
from otel_bridge.commands.configuration import missing
from otel_bridge.config import SETTINGS, Config, Price, Rate
from otel_bridge.config.gpts import GPT_READERS, PAGES
from otel_bridge.errors import StartRefused

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "otel_bridge" / "config"
GPT = '[gpts.devops-expert]\nname = "DevOps Expert"\n'

Load = Any


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str = GPT, environ: dict[str, str] | None = None, **overrides: object) -> Config:
        file = tmp_path / "otel-bridge.toml"
        file.write_text(text, encoding="utf-8")
        return config.load(str(file), environ or {}, overrides)

    return load


def refusal(load: Load, *arguments: Any, **overrides: object) -> str:
    with pytest.raises(StartRefused) as caught:
        load(*arguments, **overrides)
    return str(caught.value)


# --- where a value comes from -------------------------------------------------------------------------------------


def test_the_shipped_file_is_good_and_registers_the_guides_gpt() -> None:
    loaded = config.load(str(ROOT / "otel-bridge.toml"), {})
    gpt = loaded.gpts["devops-expert"]
    assert (gpt.name, len(gpt.event_types), gpt.api_key_hashes) == ("DevOps Expert", 7, ())
    assert loaded.otlp is None


def test_the_file_inside_the_package_is_the_one_that_ships() -> None:
    assert config.SHIPPED.read_text(encoding="utf-8") == (ROOT / "otel-bridge.toml").read_text(encoding="utf-8")


def test_where_nobody_named_a_file_and_none_is_here_the_shipped_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.load(None, {}).source == config.SHIPPED
    (tmp_path / "otel-bridge.toml").symlink_to("nowhere")
    with pytest.raises(StartRefused, match="no existe ese archivo de configuración"):
        config.load(None, {})


@pytest.mark.parametrize("named", ["environment", "line"])
def test_a_named_file_that_is_missing_is_refused_although_one_ships(tmp_path: Path, named: str) -> None:
    missing = str(tmp_path / "none.toml")
    with pytest.raises(StartRefused, match=r"no existe ese archivo de configuración.*otel-bridge init"):
        config.load(missing if named == "line" else None, {} if named == "line" else {"OTEL_BRIDGE_CONFIG": missing})


def test_every_setting_has_a_default_that_it_would_itself_accept(load: Load) -> None:
    loaded = load()
    for setting in SETTINGS:
        assert getattr(loaded, setting.key) == setting.default


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(load: Load) -> None:
    text = "port = 1\nmetrics_port = 1\nhost = 'file'\n" + GPT
    environ = {"OTEL_BRIDGE_METRICS_PORT": "2", "OTEL_BRIDGE_HOST": "environment"}
    loaded = load(text, environ, host="line")
    assert (loaded.port, loaded.metrics_port, loaded.host) == (1, 2, "line")


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text(GPT, encoding="utf-8")
    assert config.load(None, {"OTEL_BRIDGE_CONFIG": str(file)}).source == file


def test_other_variables_are_none_of_ours(load: Load) -> None:
    load(GPT, {"HOME": "/", "OTEL_TRACES_SAMPLER": "always_on", "OTELBRIDGE": "x"})


@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("port", "0", 0),
        ("port", "65535", 65535),
        ("journal_max_size", '"512MiB"', 512 << 20),
        ("journal_max_size", '"3 GiB"', 3 << 30),
        ("journal_max_size", "1024", 1024),
        ("retention_days", "7", 7.0),
        ("redaction", '"full"', "full"),
        ("rate_limit", '"off"', None),
        ("rate_limit", '"10/second"', Rate(10, 1)),
        ("trace_url", '"http://t/{trace_id}"', "http://t/{trace_id}"),
        ("user_hash_key", '""', None),
        ("allow_keyless", "true", True),
        ("idle_after_seconds", "1.5", 1.5),
    ],
)
def test_a_value_of_the_file_is_read(load: Load, key: str, written: str, value: object) -> None:
    assert getattr(load(f"{key} = {written}\n{GPT}"), key) == value


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("OTEL_BRIDGE_PORT", "8080", "port", 8080),
        ("OTEL_BRIDGE_JOURNAL_MAX_SIZE", "20GiB", "journal_max_size", 20 << 30),
        ("OTEL_BRIDGE_RETENTION_DAYS", "0.5", "retention_days", 0.5),
        ("OTEL_BRIDGE_RATE_LIMIT", "off", "rate_limit", None),
        ("OTEL_BRIDGE_RATE_LIMIT", "6000/minute", "rate_limit", Rate(6000, 60)),
        ("OTEL_BRIDGE_ALLOW_KEYLESS", "yes", "allow_keyless", True),
        ("OTEL_BRIDGE_ALLOW_KEYLESS", "0", "allow_keyless", False),
    ],
)
def test_a_variable_is_read_as_the_file_would_be(load: Load, variable: str, text: str, key: str, value: object) -> None:
    assert getattr(load(GPT, {variable: text}), key) == value


# --- refusals: the key, the value found, what was expected --------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "written", "found"),
    [
        ("port", '"http"', "'http'"),
        ("port", "65536", "65536"),
        ("port", "-1", "-1"),
        ("port", "true", "True"),
        ("port", "80.5", "80.5"),
        ("host", "7", "7"),
        ("journal", '"mysql://x"', "'mysql://x'"),
        ("journal", '"sqlite:///"', "'sqlite:///'"),
        ("journal_max_size", '"20 GB"', "'20 GB'"),
        ("journal_max_size", "true", "True"),
        ("retention_days", "0", "0"),
        ("retention_days", "nan", "nan"),
        ("retention_days", "inf", "inf"),
        ("redaction", '"yes"', "'yes'"),
        ("rate_limit", '"6000"', "'6000'"),
        ("rate_limit", '"0/minute"', "'0/minute'"),
        ("rate_limit", "6000", "6000"),
        ("trace_url", '"http://tempo/"', "'http://tempo/'"),
        ("trace_url", '"/explore/{trace_id}"', "'/explore/{trace_id}'"),
        ("allow_keyless", '"maybe"', "'maybe'"),
        ("cors_origins", "[1]", "[1]"),
        ("port", "99999", "99999"),
        ("metrics_port", "99999", "99999"),
        ("host", '""', "''"),
        ("host", '"127.0.0.1 "', "'127.0.0.1 '"),
        ("host", '"999.0.0.1"', "'999.0.0.1'"),
        ("host", '"[::1]"', "'[::1]'"),
        ("metrics_host", '"a\\u0000b"', r"'a\x00b'"),
        ("journal", '"sqlite:////var/lib/"', "'sqlite:////var/lib/'"),
        ("journal", '"sqlite:///a\\u0000b"', r"'sqlite:///a\x00b'"),
        ("journal_max_size", "0", "0"),
        ("journal_max_size", '"0GiB"', "'0GiB'"),
        ("journal_max_size", "-1", "-1"),
        ("journal_max_size", '"9999999999TiB"', "'9999999999TiB'"),
        ("disk_min_free", str(1 << 64), str(1 << 64)),
        ("retention_days", "1" + "0" * 60, "1" + "0" * 60),
        ("public_url", '"http://[::1"', "'http://[::1'"),
        ("public_url", '"https://h:99999"', "'https://h:99999'"),
        ("rate_limit_storage", '"redis://"', "'redis://'"),
        ("rate_limit_storage", '"redis://h:99999"', "'redis://h:99999'"),
        ("rate_limit_storage", '"redis://[::1"', "'redis://[::1'"),
        ("rate_limit_storage", '"redis://h/first"', "'redis://h/first'"),
        ("rate_limit_storage", '"redis://h1,h2"', "'redis://h1,h2'"),
        ("rate_limit_storage", '"memcached://h"', "'memcached://h'"),
        ("rate_limit_storage", '"unix://"', "'unix://'"),
        ("cors_origins", '["https://[::1"]', "['https://[::1']"),
        ("cors_origins", '["https://h:99999"]', "['https://h:99999']"),
        ("log_level", '"loud"', "'loud'"),
    ],
)
def test_a_wrong_value_names_key_value_and_what_was_expected(load: Load, key: str, written: str, found: str) -> None:
    said = refusal(load, f"{key} = {written}\n{GPT}")
    assert f": {key}: se encontró {found}, se esperaba " in said
    assert said.split(":")[0].endswith("otel-bridge.toml")


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"OTEL_BRIDGE_JOURNAL": "postgresql://h/db"}, True),
        ({"OTEL_BRIDGE_JOURNAL": "postgresql://h/db", "OTEL_BRIDGE_RATE_LIMIT_STORAGE": "redis://h"}, False),
        ({"OTEL_BRIDGE_JOURNAL": "postgresql://h/db", "OTEL_BRIDGE_RATE_LIMIT": "off"}, False),
        ({}, False),
    ],
)
def test_replicas_that_share_no_limits_are_told_so(load: Load, environ: dict[str, str], told: bool) -> None:
    assert any("límites que las réplicas compartan" in what for what in missing(load(GPT, environ))) == told


@pytest.mark.parametrize("scheme", ["redis+sentinel", "redis+cluster", "rediss+cluster", "sentinel"])
def test_a_redis_of_several_servers_is_refused_with_what_to_name_instead(load: Load, scheme: str) -> None:
    said = refusal(load, f"rate_limit_storage = '{scheme}://:{KEY}@h:26379,h2:26379/primary'\n{GPT}")
    assert "la dirección única que lleva al primario" in said and KEY not in said


@pytest.mark.parametrize(
    "url",
    [
        "redis://h", "redis://h:6379/3", "redis://h?db=3", "redis://u:p%40%2Fw@h", "rediss://h?ssl_ca_certs=/ca.pem",
        "unix:///run/redis.sock?db=1", "redis://[::1]:6379/0",
    ],
)  # fmt: skip
def test_a_redis_is_named_as_its_client_names_it(load: Load, url: str) -> None:
    assert load(f"rate_limit_storage = '{url}'\n{GPT}").rate_limit_storage == url


@pytest.mark.parametrize(
    "url",
    ["redis://h?socket_timeout=60", "redis://h?ssl_ca_certs=x", "redis://h?db=x", "redis://:p#w@h", "redis://h/1#2"],
)
def test_what_a_redis_cannot_be_asked_with_is_refused(load: Load, url: str) -> None:
    assert "se esperaba" in refusal(load, f"rate_limit_storage = '{url}'\n{GPT}")


def test_a_wrong_variable_names_itself(load: Load) -> None:
    assert "entorno: OTEL_BRIDGE_PORT: se encontró 'x', se esperaba" in refusal(load, GPT, {"OTEL_BRIDGE_PORT": "x"})


def test_a_wrong_argument_names_itself(load: Load) -> None:
    assert "línea de órdenes: --metrics-port: se encontró 'x', se esperaba" in refusal(load, metrics_port="x")


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("prot = 1\n" + GPT, "clave desconocida 'prot'; ¿querías decir 'port'?"),
        ("zzz = 1\n" + GPT, "clave desconocida 'zzz'; los conocidos son: host, port"),
        (GPT + "modle = 'x'\n", "gpts.devops-expert: clave desconocida 'modle'; ¿querías decir 'model'?"),
        ("gpt = 1\n" + GPT, "¿querías decir 'gpts'?"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(load: Load, text: str, near: str) -> None:
    assert near in refusal(load, text)


def test_an_unknown_variable_of_ours_is_refused(load: Load) -> None:
    said = refusal(load, GPT, {"OTEL_BRIDGE_RATELIMIT": "off"})
    assert "variable desconocida OTEL_BRIDGE_RATELIMIT; ¿querías decir 'OTEL_BRIDGE_RATE_LIMIT'?" in said


SERVICE = {
    "SERVICE_HOST": "10.96.0.7",
    "SERVICE_PORT": "8000",
    "SERVICE_PORT_HTTP": "8000",
    "SERVICE_PORT_METRICS_2": "9464",
    "PORT": "tcp://10.96.0.7:8000",
    "PORT_8000_TCP": "tcp://10.96.0.7:8000",
    "PORT_8000_TCP_PROTO": "tcp",
    "PORT_8000_TCP_PORT": "8000",
    "PORT_8000_TCP_ADDR": "10.96.0.7",
    "PORT_53_UDP": "udp://10.96.0.7:53",
    "PORT_53_UDP_PROTO": "udp",
}
"""What Kubernetes sets for a Service, behind its name."""


@pytest.mark.parametrize("service", ["OTEL_BRIDGE", "OTEL_BRIDGE_METRICS", "OTEL_BRIDGE_JOURNAL", "OTEL_BRIDGE_V2"])
@pytest.mark.parametrize("address", ["10.96.0.7", "fd00::7"])
def test_the_variables_of_a_kubernetes_service_are_none_of_ours(load: Load, service: str, address: str) -> None:
    shown = {True: f"[{address}]", False: address}
    environ = {
        f"{service}_{name}": value.replace("10.96.0.7", shown[":" in address and "://" in value])
        for name, value in SERVICE.items()
    }
    loaded = load(f"port = 1234\nmetrics_port = 1235\n{GPT}", environ)
    assert (loaded.port, loaded.metrics_port) == (1234, 1235)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVICE_HOST", "collector"),
        ("SERVICE_PORT", "x"),
        ("SERVICE_NAME", "10.96.0.7"),
        ("SERVIC_PORT", "8000"),
        ("PORT_8000_TCP_ADR", "10.96.0.7"),
        ("PORT_8000_TCP_PORT", "tcp"),
        ("PROT", "8000"),
        ("PORTS", "tcp://10.96.0.7:8000"),
    ],
)
def test_what_only_looks_like_one_of_them_is_an_unknown_variable(load: Load, name: str, value: str) -> None:
    assert f"variable desconocida OTEL_BRIDGE_{name}" in refusal(load, GPT, {f"OTEL_BRIDGE_{name}": value})


@pytest.mark.parametrize("value", ["tcp://10.96.0.7:99999", "tcp://collector:8000", "http://10.96.0.7:8000", "tcp://"])
def test_a_port_that_is_neither_a_number_nor_a_services_is_refused(load: Load, value: str) -> None:
    assert f"OTEL_BRIDGE_PORT: se encontró {value!r}, se esperaba un número entero" in refusal(
        load, GPT, {"OTEL_BRIDGE_PORT": value}
    )


def test_a_missing_file_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match=r"no existe ese archivo de configuración.*--config"):
        config.load(str(tmp_path / "none.toml"), {})


@pytest.mark.parametrize("raw", [b"port =", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "otel-bridge.toml"
    file.write_bytes(raw)
    with pytest.raises(StartRefused, match=re.escape(str(file))):
        config.load(str(file), {})


@pytest.mark.parametrize("text", ["port = " + "9" * 5000, "x = " + "[" * 50_000], ids=["digits", "depth"])
def test_a_file_that_python_cannot_read_is_refused(load: Load, text: str) -> None:
    assert "no es TOML válido" in refusal(load, text)


def test_a_size_and_a_number_of_any_length_are_refused_with_words(load: Load) -> None:
    for key, raw in {"DISK_MIN_FREE": "9" * 5000, "RETENTION_DAYS": "1e999", "PORT": "9" * 5000}.items():
        (line,) = refusal(load, GPT, {f"OTEL_BRIDGE_{key}": raw}).splitlines()
        assert f"OTEL_BRIDGE_{key}: se encontró " in line and ", se esperaba " in line and len(line) < 400


@pytest.mark.parametrize(
    ("host", "metrics_host", "meet"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "localhost", True),
        ("::", "127.0.0.1", True),
        ("::1", "127.0.0.1", False),
        ("::1", "0.0.0.0", False),
        ("127.0.0.1", "127.0.0.2", False),
    ],
)
def test_one_port_for_two_listeners_is_refused(load: Load, host: str, metrics_host: str, meet: bool) -> None:
    arguments = {"port": 9000, "metrics_port": 9000, "host": host, "metrics_host": metrics_host}
    if meet:
        assert "metrics_port: se encontró 9000, que también es el puerto de la API" in refusal(load, **arguments)
    else:
        load(**arguments)


def test_free_ports_are_never_the_same(load: Load) -> None:
    assert load(port=0, metrics_port=0).port == 0


@pytest.mark.parametrize("key", ["tiny7", " " * 40 + "x", "x" * 15])
def test_a_short_key_of_the_user_hash_is_refused_unshown(load: Load, key: str) -> None:
    for said in (
        refusal(load, f"user_hash_key = '{key}'\n{GPT}"),
        refusal(load, GPT, {"OTEL_BRIDGE_USER_HASH_KEY": key}),
    ):
        assert "al menos 16 caracteres" in said and "no se muestra" in said and key not in said
    assert load(GPT, {"OTEL_BRIDGE_USER_HASH_KEY": "x" * 16}).user_hash_key == "x" * 16


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="no se puede leer"):
        config.load(str(tmp_path), {})


# --- everything that is wrong is told at once ---------------------------------------------------------------------


KEYED = f'[gpts.a]\napi_key_hashes = ["sha256:{"0" * 64}"]\n'


def test_every_problem_is_a_line_in_the_order_of_the_file_then_the_environment_then_the_line(load: Load) -> None:
    text = (
        "prot = 1\n"
        "retention_days = 0\n"
        "[gpts.a]\nslo_target = 2\nmodle = 'm'\napi_key_hashes = ['x']\nprices = {input = -1, output = 'x'}\n"
        "[gpts.b]\nprices = {m1 = {input = 1}, m2 = 3}\n"
        "[gpts.'c d']\nrate_limit = 3\n"
        "[other]\n"
    )
    environ = {
        "OTEL_RESOURCE_ATTRIBUTES": "x",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "soon",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "carrier-pigeon",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "h:4317",
        "OTEL_BRIDGE_QUEUE": "7",
        "OTEL_BRIDGE_LOG_LEVEL": "loud",
    }
    with pytest.raises(StartRefused) as caught:
        load(text, environ, metrics_port="x")
    starts = (
        "clave desconocida 'prot'",
        "retention_days: se encontró 0",
        "gpts.a.slo_target: se encontró 2",
        "gpts.a: clave desconocida 'modle'",
        "gpts.a.api_key_hashes: se esperaban hashes",
        "gpts.a.prices.input: se encontró -1",
        "gpts.a.prices.output: se encontró 'x'",
        "gpts.b.prices: se encontró {'input': 1}",
        "gpts.b.prices: se encontró 3",
        "gpts.'c d': se esperaba un id",
        "gpts.'c d'.rate_limit: se encontró 3",
        "clave desconocida 'other'",
        "OTEL_BRIDGE_LOG_LEVEL: se encontró 'loud'",
        "variable desconocida OTEL_BRIDGE_QUEUE",
        "OTEL_EXPORTER_OTLP_ENDPOINT: se encontró 'h:4317'",
        "OTEL_EXPORTER_OTLP_PROTOCOL: se encontró 'carrier-pigeon'",
        "OTEL_EXPORTER_OTLP_TIMEOUT: se encontró 'soon'",
        "OTEL_RESOURCE_ATTRIBUTES: se esperaba",
        "--metrics-port: se encontró 'x'",
    )
    lines = str(caught.value).splitlines()
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.split(": ", 1)[1].startswith(start)


def test_a_file_that_cannot_be_read_hides_no_wrong_variable(load: Load) -> None:
    lines = refusal(load, "port =", {"OTEL_BRIDGE_PORT": "x"}).splitlines()
    assert len(lines) == 2 and "no es TOML válido" in lines[0] and "OTEL_BRIDGE_PORT" in lines[1]


def test_a_value_that_another_one_wins_over_is_not_read(load: Load) -> None:
    assert load(f"port = 'x'\n{GPT}", {"OTEL_BRIDGE_PORT": "y"}, port=7).port == 7


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[gpst.a]\n", "clave desconocida 'gpst'; ¿querías decir 'gpts'?"),
        ("alow_keyless = true\n" + GPT, "clave desconocida 'alow_keyless'"),
        ("allow_keyless = 'maybe'\n" + GPT, "allow_keyless: se encontró 'maybe'"),
        ("[gpts.a]\napi_key_hash = ['sha256:0']\n", "gpts.a: clave desconocida 'api_key_hash'"),
        ("[gpts.a]\napi_key_hashes = ['sha256:0']\n", "gpts.a.api_key_hashes: se esperaban hashes"),
        ("prot = 1\n" + KEYED, "clave desconocida 'prot'"),
        (GPT, "host: se encontró '0.0.0.0', a donde otros pueden llegar"),
    ],
)
def test_one_mistake_is_one_line_and_none_about_what_follows_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, line: str
) -> None:
    file = tmp_path / "otel-bridge.toml"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setenv("OTEL_BRIDGE_HOST", "0.0.0.0")
    assert cli.main(["check", "--config", str(file)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"otel-bridge: {file}: {line}")


# --- GPTs ---------------------------------------------------------------------------------------------------------


def test_a_gpt_needs_nothing_but_its_id(load: Load) -> None:
    gpt = load("[gpts.ventas]\n").gpts["ventas"]
    assert (gpt.name, gpt.provider, gpt.model, len(gpt.event_types)) == ("ventas", "openai", "unknown", 7)
    assert (gpt.prices, gpt.rate_limit, gpt.api_key_hashes) == ({}, None, ())


def test_prices_are_flat_for_the_gpts_own_model_or_by_model(load: Load) -> None:
    flat = "[gpts.a]\nmodel = 'm'\nprices = {input = 2.5, output = 10}\n"
    assert load(flat).gpts["a"].prices == {"m": Price(2.5, 10.0)}
    table = "[gpts.a.prices]\nm1 = {input = 1, output = 2}\n'm-2.1' = {input = 0, output = 0}\n"
    assert load(table).gpts["a"].prices == {"m1": Price(1, 2), "m-2.1": Price(0, 0)}


def test_input_from_the_cache_may_have_a_price(load: Load) -> None:
    flat = "[gpts.a]\nmodel = 'm'\nprices = {input = 2.5, cached = 0.25, output = 10}\n"
    assert load(flat).gpts["a"].prices == {"m": Price(2.5, 10.0, 0.25)}
    table = "[gpts.a.prices]\nm1 = {input = 1, output = 2, cached = 0}\n"
    assert load(table).gpts["a"].prices == {"m1": Price(1, 2, 0)}


PRICED = "prices = {input = 1, output = 1}\n"
DOUBTS: dict[str, tuple[str, list[str]]] = {
    "priced": (f"[gpts.a]\nmodel = 'm'\n{PRICED}", []),
    "no price at all": ("[gpts.a]\nmodel = 'm'\n", []),
    "prices of others": (
        "[gpts.a]\nmodel = 'm'\n[gpts.a.prices]\no3 = {input = 1, output = 1}\n",
        [
            "gpts.a.prices: no hay precio de 'm', el modelo de los eventos que no dicen otro: no suman coste, y sus "
            "tokens se cuentan en gpt_unpriced_tokens_total"
        ],
    ),
    "prices of others and no model": (
        "[gpts.a.prices]\no3 = {input = 1, output = 1}\n",
        ["gpts.a.prices: no hay precio de 'unknown', el modelo de los eventos que no dicen otro"],
    ),
    "a target that can page": ("[gpts.a]\nslo_target = 0.9306\n", []),
    "a target that just cannot": (
        "[gpts.a]\nslo_target = 0.9305\n",
        ["gpts.a.slo_target: con 0.9305, el presupuesto se gasta a 14.4× cuando toda respuesta es mala"],
    ),
    "a low target": (
        "[gpts.a]\nslo_target = 0.9\n",
        [
            "gpts.a.slo_target: con 0.9, el presupuesto se gasta a 10× cuando toda respuesta es mala, y nunca más "
            "deprisa: el aviso de 14.4× no puede saltar por él; GPTLatencyBudgetBurn avisa por proporción: más "
            "del 55 % de las respuestas de una hora malas"
        ],
    ),
    "a very low target": ("[gpts.a]\nslo_target = 0.8\n", ["los avisos de 14.4× y 6× no pueden saltar por él"]),
    "a GPT that is refused": ("[gpts.a]\nslo_target = 0.9\nmodle = 'm'\n", []),
}


@pytest.mark.parametrize("case", DOUBTS)
def test_what_of_a_gpt_is_probably_not_meant_is_a_warning(tmp_path: Path, case: str) -> None:
    text, expected = DOUBTS[case]
    file = tmp_path / "c.toml"
    file.write_text(text, encoding="utf-8")
    warnings = config.read(str(file), {})[1].warnings
    assert len(warnings) == len(expected)
    for warning, said in zip(warnings, expected, strict=True):
        assert said in warning and warning.startswith(f"{file}: gpts.a.")


def test_the_burn_rates_that_are_warned_of_are_those_that_page() -> None:
    groups = yaml.safe_load((ROOT / "prometheus" / "rules" / "gpt.alerts.yml").read_text(encoding="utf-8"))["groups"]
    pages = [
        rule["expr"]
        for group in groups
        for rule in group["rules"]
        if rule["alert"] == "GPTLatencyBudgetBurn" and rule["labels"]["severity"] == "page"
    ]
    assert {float(rate) for expr in pages for rate in re.findall(r"burn_rate\w+ > ([\d.]+)", expr)} == set(PAGES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no hay ningún GPT registrado"),
        ("gpts = 3\n", "no hay ningún GPT registrado"),
        ("[gpts]\n", "no hay ningún GPT registrado"),
        ("[gpts.'con espacio']\n", "se esperaba un id de letras"),
        ("[gpts]\na = 3\n", "se esperaba una tabla"),
        ("[gpts.a]\nslo_target = 1\n", "gpts.a.slo_target: se encontró 1, se esperaba un número de 0.5"),
        ("[gpts.a]\nretention_days = 0\n", "gpts.a.retention_days: se encontró 0, se esperaba un número de 0.01"),
        ("retention_days = 7\n[gpts.a]\nretention_days = 8\n", "gpts.a.retention_days: se encontró 8, y el diario no"),
        ("[gpts.a]\nlatency_objective_seconds = 0\n", "gpts.a.latency_objective_seconds: se encontró 0"),
        ("[gpts.a]\nevent_types = 7\n", "gpts.a.event_types: se encontró 7, se esperaba una lista"),
        ("[gpts.a]\nrate_limit = 'fast'\n", "gpts.a.rate_limit: se encontró 'fast'"),
        ("[gpts.a]\napi_key_hashes = ['secret']\n", "gpts.a.api_key_hashes: se esperaban hashes"),
        ("[gpts.a]\nprices = 3\n", "gpts.a.prices: se encontró 3, se esperaba {input = 2.0, output = 10.0}"),
        ("[gpts.a]\nprices = {input = 1}\n", "gpts.a.prices: se encontró {'input': 1}"),
        ("[gpts.a]\nprices = {cached = 1}\n", "gpts.a.prices: se encontró {'cached': 1}"),
        (
            "[gpts.a]\nprices = {input = 1, output = 1, cache = 1}\n",
            "y cached = 0.1 donde la entrada en caché cueste menos",
        ),
        ("[gpts.a]\nprices = {input = 1, output = 1, cached = 'x'}\n", "gpts.a.prices.cached: se encontró 'x'"),
        ("[gpts.a]\nprices = {input = -1, output = 1}\n", "gpts.a.prices.input: se encontró -1"),
    ],
)
def test_a_wrong_gpt_is_refused(load: Load, text: str, said: str) -> None:
    assert said in refusal(load, text)


KEY = "oops-my-key"


@pytest.mark.parametrize(
    "text",
    [
        f"[gpts.a]\napi_key_hashes = ['{KEY}']\n",
        f"[gpts.a]\napi_key_hashes = ['{KEY}', 1]\n",
        f"[gpts.a]\napi_key_hashes = [['{KEY}']]\n",
        f"[gpts.a]\napi_key_hashes = '{KEY}'\n",
        f"[gpts.a]\napi_key_hashes = {{key = '{KEY}'}}\n",
        f"[gpts]\na = '{KEY}'\n",
        f"[gpts]\na = ['{KEY}']\n",
        f"user_hash_key = ['{KEY}']\n{GPT}",
        f"user_hash_key = '{KEY}'\n{GPT}",
        f"rate_limit_storage = 'redis://:{KEY}@h:99999'\n{GPT}",
        f"rate_limit_storage = 'rediss://h:port?password={KEY}'\n{GPT}",
        f"journal = 'postgresql://bridge:{KEY}@db:port/journal'\n{GPT}",
        f"journal = 'postgresql://bridge:a/{KEY}@db/journal'\n{GPT}",
        f"journal = 'postgresql://bridge:{KEY}%zz@db/journal'\n{GPT}",
        f"public_url = 'https://user:{KEY}@example.com'\n{GPT}",
        f"public_url = 'https://example.com?key={KEY}'\n{GPT}",
        f"trace_url = 'http://user:{KEY}@tempo/{{trace_id}}'\n{GPT}",
        f"cors_origins = ['https://user:{KEY}@app.example']\n{GPT}",
        f"log_level = 'Bearer {KEY}'\n{GPT}",
        f"log_level = 'otb_{KEY}'\n{GPT}",
        f"'otb_{KEY}' = 1\n{GPT}",
        f"[gpts.a]\n'otb_{KEY}' = 1\n",
    ],
)
def test_a_value_that_may_be_a_secret_is_not_repeated(load: Load, text: str) -> None:
    """Somebody who put the key itself there must not find it in a log."""
    assert KEY not in refusal(load, text)


def test_a_configuration_shows_no_secret_of_its_own(load: Load) -> None:
    environ = {
        "OTEL_BRIDGE_USER_HASH_KEY": KEY * 2,
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {KEY}",
        "http_proxy": f"http://u:{KEY}@h:1",
        "OTEL_BRIDGE_JOURNAL": f"postgresql://u:{KEY}@h/db",
        "OTEL_BRIDGE_RATE_LIMIT_STORAGE": f"redis://:{KEY}@h",
    }
    loaded = load(GPT, environ)
    assert KEY not in repr(loaded)
    assert loaded.journal_shown == "postgresql://u:***@h/db"


def test_the_key_of_a_journal_in_a_database_stands_where_the_shipped_configurations_does(load: Load) -> None:
    loaded = load(f"journal = 'postgresql://u@h/db'\n{GPT}")
    assert str(loaded.key_path) == str(loaded.linked_key_path) == "data/otel-bridge.key"


# --- the standard OpenTelemetry environment -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "endpoint", "protocol"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318"}, "http://h:4318/v1/traces", "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318/"}, "http://h:4318/v1/traces", "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://h/otlp"}, "https://h/otlp/v1/traces", "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h/custom"}, "http://h/custom", "http/protobuf"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b/x"},
            "http://b/x",
            "http/protobuf",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "http://h:4317",
            "grpc",
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4317",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
            },
            "http://h:4317",
            "grpc",
        ),
    ],
)
def test_the_endpoint_follows_the_specification(
    load: Load, environ: dict[str, str], endpoint: str, protocol: str
) -> None:
    otlp = load(GPT, environ).otlp
    assert (otlp.endpoint, otlp.protocol) == (endpoint, protocol)


def test_no_endpoint_or_a_disabled_sdk_exports_nothing(load: Load) -> None:
    assert load().otlp is None
    assert load(GPT, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}).otlp is None
    assert load(GPT, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h", "OTEL_SDK_DISABLED": "true"}).otlp is None


def test_headers_compression_and_time_out_are_read(load: Load) -> None:
    otlp = load(
        GPT,
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h",
            "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20x, X-Scope-OrgID=7",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2.5",
        },
    ).otlp
    assert otlp.headers == (("authorization", "Bearer x"), ("x-scope-orgid", "7"))
    assert (otlp.gzip, otlp.timeout_seconds) == (True, 2.5)


def test_resource_attributes_are_read(load: Load) -> None:
    resource = load(GPT, {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=prod,team=a%2Cb"}).resource
    assert dict(resource) == {"deployment.environment": "prod", "team": "a,b"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENDPOINT", "localhost:4318"),
        ("ENDPOINT", "ftp://h"),
        ("ENDPOINT", "http://["),
        ("PROTOCOL", "http/json"),
        ("COMPRESSION", "zstd"),
        ("TIMEOUT", "soon"),
        ("INSECURE", "perhaps"),
        ("HEADERS", "novalue"),
    ],
)
def test_a_wrong_standard_variable_is_refused_by_name(load: Load, name: str, value: str) -> None:
    variable = f"OTEL_EXPORTER_OTLP_{name}"
    said = refusal(load, GPT, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h", variable: value})
    assert variable in said and "se esperaba" in said


# --- the package --------------------------------------------------------------------------------------------------


def test_it_stands_on_the_catalog_and_the_errors_alone() -> None:
    """Every other package reads the configuration: it must not need them."""
    sources = "".join(file.read_text(encoding="utf-8") for file in PACKAGE.glob("*.py"))
    imported = set(re.findall(r"from otel_bridge(?: import |\.)(\w+)", sources))
    assert imported == {"config", "catalog", "errors"}


# --- the page -----------------------------------------------------------------------------------------------------


PAGE = ROOT / "docs" / "configuration.md"


def rows(heading: str) -> dict[str, list[str]]:
    """First column, without back-ticks → cells of a table's row, under a heading of the page."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    table = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| `"):
            table[cells[0].strip("`")] = cells
    return table


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_every_setting_is_documented_with_variable_default_and_help(setting: config.Setting[Any]) -> None:
    documented = rows("Settings").get(setting.key)
    assert documented is not None, f"{PAGE.name} has no row for {setting.key}"
    assert documented[1] == f"`{setting.env}`"
    assert documented[3] == setting.help


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_a_documented_default_is_the_default(setting: config.Setting[Any]) -> None:
    """What the page shows as default is read as a configuration would be, and gives the same value."""
    shown = rows("Settings")[setting.key][2].strip("`")
    if shown == "none":
        assert setting.default is None
    else:
        assert setting.read(tomllib.loads(f"x = {shown}")["x"]) == setting.default


def test_the_page_has_no_setting_that_does_not_exist() -> None:
    assert rows("Settings").keys() == {setting.key for setting in SETTINGS}


def test_every_key_of_a_gpt_is_documented() -> None:
    assert rows("GPTs").keys() == {*GPT_READERS, "prices"}


def test_every_standard_variable_that_is_read_is_documented() -> None:
    source = (PACKAGE / "otlp.py").read_text(encoding="utf-8")
    suffixes = set(re.findall(r'(?<!\.)\bget\("([A-Z_]+)"\)', source))
    read = {f"OTEL_EXPORTER_OTLP_{suffix}" for suffix in suffixes}
    read |= set(re.findall(r'environ\.get\("(OTEL_(?!BRIDGE)[A-Z_]+)"', source))
    of_metrics = {name for name in read if name.startswith("OTEL_METRIC")}
    assert rows("Export").keys() == read - of_metrics
    pushed = rows("Metrics that are pushed").keys()
    assert pushed >= of_metrics
    assert {name for name in pushed - of_metrics if not name.startswith("OTEL_EXPORTER_OTLP_METRICS_")} == set()
