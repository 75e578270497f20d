"""Settings of access tokens: what is read, what stops the start, what is a warning; all told at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from otel_bridge import config
from otel_bridge.access import keys
from otel_bridge.commands import cli
from otel_bridge.config import Config, Diagnostics
from otel_bridge.errors import StartRefused

PUBLIC = 'public_url = "https://koomtai.com"\n'
ISSUER = 'oauth_issuer = "https://login.example/"\n'
TAKES = '[gpts.a]\noauth_clients = ["x"]\n'
Read = Callable[..., tuple[Config, Diagnostics]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def from_text(text: str, **environ: str) -> tuple[Config, Diagnostics]:
        file = tmp_path / "otel-bridge.toml"
        file.write_text(text, encoding="utf-8")
        return config.read(str(file), environ)

    return from_text


def test_the_settings_are_read_from_the_file_and_the_environment(read: Read) -> None:
    found, diagnostics = read(
        PUBLIC + ISSUER + 'oauth_algorithms = ["ES256"]\n[gpts.a]\noauth_clients = ["*"]\n'
        'oauth_claims = { sub = "ana", "realm_access.roles" = ["uno", "dos"] }\n',
        OTEL_BRIDGE_OAUTH_SCOPES="leer, metricas:escribir",
        OTEL_BRIDGE_OAUTH_AUDIENCES="api://uno,dos",
        OTEL_BRIDGE_OAUTH_LEEWAY_SECONDS="5",
        OTEL_BRIDGE_OAUTH_JWKS_URL="https://login.example/keys?p=1",
    )
    assert diagnostics.lines == [] and diagnostics.warnings == []
    assert found.oauth_issuer == "https://login.example/" and found.oauth_jwks_url == "https://login.example/keys?p=1"
    assert (found.oauth_scopes, found.oauth_audiences) == (("leer", "metricas:escribir"), ("api://uno", "dos"))
    assert (found.oauth_algorithms, found.oauth_leeway_seconds) == (("ES256",), 5.0)
    gpt = found.gpts["a"]
    assert gpt.oauth_clients == ("*",) and gpt.takes_tokens and gpt.closed
    assert gpt.oauth_claims == (("sub", ("ana",)), ("realm_access.roles", ("uno", "dos")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('oauth_issuer = "login.example"\n', "oauth_issuer: se encontró 'login.example', se esperaba una URL"),
        (
            'oauth_issuer = "https://u:p@login.example"\n',
            "oauth_issuer: se encontró un valor que puede contener un secreto",
        ),
        ('oauth_issuer = "https://login.example/?tenant=1"\n', "oauth_issuer: se encontró un valor que puede"),
        ("oauth_issuer = 7\n", "oauth_issuer: se encontró 7"),
        ('oauth_jwks_url = "ftp://login.example"\n', "oauth_jwks_url: se encontró 'ftp://login.example'"),
        ('oauth_algorithms = ["HS256"]\n', "oauth_algorithms: se encontró ['HS256'], se esperaba una lista de RS256"),
        ('oauth_algorithms = ["none"]\n', "oauth_algorithms: se encontró ['none']"),
        ("oauth_algorithms = []\n", "oauth_algorithms: se encontró []"),
        ('oauth_scopes = ["con espacio"]\n', "oauth_scopes: se encontró ['con espacio']"),
        ("oauth_scopes = ['a\"b']\n", "oauth_scopes: se encontró"),
        ('oauth_audiences = [""]\n', "oauth_audiences: se encontró ['']"),
        ("oauth_leeway_seconds = 601\n", "oauth_leeway_seconds: se encontró 601, se esperaba un número de 0 a 600"),
    ],
)
def test_a_wrong_value_is_told_and_nothing_that_follows_from_it(read: Read, text: str, said: str) -> None:
    issuer = "" if "oauth_issuer" in text else ISSUER
    _, diagnostics = read(PUBLIC + issuer + text + TAKES)
    (line,) = diagnostics.lines
    assert line.partition(": ")[2].startswith(said)


@pytest.mark.parametrize(
    "written", ["'x'", "{}", "{ roles = [] }", "{ roles = 7 }", "{ roles = [''] }", "{ roles = [7] }", "{ '' = 'x' }"]
)
def test_claims_need_values(read: Read, written: str) -> None:
    _, diagnostics = read(PUBLIC + ISSUER + f"[gpts.a]\noauth_claims = {written}\n")
    (line,) = diagnostics.lines
    assert "gpts.a.oauth_claims: se encontró" in line


def test_all_that_cannot_work_is_told_at_once_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("https_proxy", raising=False)
    file = tmp_path / "otel-bridge.toml"
    file.write_text(
        ISSUER + 'oauth_algorithms = ["HS256"]\noauth_leeway_seconds = -1\n[gpts.a]\noauth_clients = [""]\n'
    )
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy.example:1")
    assert cli.main(["check", "--config", str(file)]) == 2
    said = capsys.readouterr().err.splitlines()
    starts = (
        "oauth_algorithms",
        "oauth_leeway_seconds",
        "gpts.a.oauth_clients",
        "oauth_issuer: se encontró",
        "HTTPS_PROXY",
    )
    assert len(said) == len(starts)
    for line, start in zip(said, starts, strict=True):
        assert f": {start}" in line, line


def test_tokens_without_an_issuer_would_open_nothing(read: Read) -> None:
    _, diagnostics = read(PUBLIC + TAKES + "[gpts.b]\noauth_claims = { sub = 'x' }\n")
    assert ["gpts.a" in diagnostics.lines[0], "gpts.b" in diagnostics.lines[1]] == [True, True]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PUBLIC + ISSUER + "[gpts.a]\n", "ningún GPT acepta sus tokens"),
        ('oauth_scopes = ["x"]\n[gpts.a]\n', "oauth_scopes: no sirve de nada sin oauth_issuer"),
        (PUBLIC + 'oauth_issuer = "http://login.example"\n' + TAKES, "quien esté en el camino puede emitir tokens"),
        ('public_url = "http://koomtai.com"\n' + ISSUER + TAKES, "los tokens se pueden leer por el camino"),
        (PUBLIC + ISSUER + 'oauth_jwks_url = "http://keycloak:8080/keys"\n' + TAKES, "oauth_jwks_url"),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(read: Read, text: str, said: str) -> None:
    _, diagnostics = read(text)
    (warning,) = diagnostics.warnings
    assert said in warning and not diagnostics.lines


def test_loopback_needs_no_tls(read: Read) -> None:
    _, diagnostics = read('public_url = "http://127.0.0.1:8000"\noauth_issuer = "http://localhost:9000"\n' + TAKES)
    assert diagnostics.warnings == [] and diagnostics.lines == []


def test_a_gpt_that_takes_tokens_is_not_open_to_the_network(read: Read) -> None:
    closed, _ = read(PUBLIC + ISSUER + 'host = "0.0.0.0"\n' + TAKES)
    keys.refuse_keyless(closed)
    opened, _ = read(PUBLIC + ISSUER + 'host = "0.0.0.0"\n' + TAKES + "[gpts.b]\n")
    with pytest.raises(StartRefused, match=r"y b sin"):
        keys.refuse_keyless(opened)


def test_the_variables_of_proxies_are_kept_and_not_shown(read: Read) -> None:
    found, _ = read(PUBLIC + ISSUER + TAKES, https_proxy="http://user:secret@proxy.example:3128", HOME="/")
    assert found.proxy_variables == (("https_proxy", "http://user:secret@proxy.example:3128"),)
    assert "secret" not in repr(found)
