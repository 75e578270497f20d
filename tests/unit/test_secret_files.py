"""Secrets that come as files: `…_FILE` beside the variable of each setting that holds one."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from otel_bridge import config
from otel_bridge.commands import cli
from otel_bridge.config import SETTINGS, Config
from otel_bridge.errors import StartRefused

KEY = "Zx9-s3cr3t-of-more-than-16-characters"
VALUES = {
    "OTEL_BRIDGE_USER_HASH_KEY": KEY,
    "OTEL_BRIDGE_JOURNAL": f"postgresql://u:{KEY}@h/db",
    "OTEL_BRIDGE_RATE_LIMIT_STORAGE": f"redis://:{KEY}@h",
    "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {KEY}",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": f"authorization=Bearer {KEY}",
}
"""Every variable that holds a secret, and a good one."""
WRONG = {
    "OTEL_BRIDGE_USER_HASH_KEY": "Zx9-s3cr3t",
    "OTEL_BRIDGE_JOURNAL": "mysql://u/Zx9-s3cr3t",
    "OTEL_BRIDGE_RATE_LIMIT_STORAGE": "memcached/Zx9-s3cr3t",
    "OTEL_EXPORTER_OTLP_HEADERS": "Zx9-s3cr3t",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "Zx9-s3cr3t",
}
PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def load(tmp_path: Path, environ: dict[str, str], text: str = "", **overrides: object) -> Config:
    file = tmp_path / "otel-bridge.toml"
    file.write_text(f"{text}\n[gpts.a]\n", encoding="utf-8")
    return config.load(str(file), {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318", **environ}, overrides)


def refusal(*arguments: Any, **overrides: object) -> str:
    with pytest.raises(StartRefused) as caught:
        load(*arguments, **overrides)
    return str(caught.value)


def found(loaded: Config, variable: str) -> object:
    if variable.startswith("OTEL_EXPORTER"):
        assert loaded.otlp is not None
        return loaded.otlp.headers
    return getattr(loaded, variable.removeprefix("OTEL_BRIDGE_").lower())


def test_every_setting_that_holds_a_secret_has_its_file() -> None:
    names = {setting.env for setting in SETTINGS if setting.in_file}
    assert names == {name for name in VALUES if name.startswith("OTEL_BRIDGE")}


@pytest.mark.parametrize("variable", VALUES)
def test_a_file_gives_what_the_variable_gives(tmp_path: Path, variable: str) -> None:
    file = tmp_path / "secret"
    for end in ("", "\n", "\r\n"):
        file.write_bytes(VALUES[variable].encode() + end.encode())
        by_file = load(tmp_path, {f"{variable}_FILE": str(file)})
        assert found(by_file, variable) == found(load(tmp_path, {variable: VALUES[variable]}), variable)
        assert KEY not in repr(by_file)


@pytest.mark.parametrize("variable", VALUES)
def test_what_is_wrong_with_a_file_is_told_with_both_names_and_nothing_of_what_is_in_it(
    tmp_path: Path, variable: str
) -> None:
    name, file = f"{variable}_FILE", tmp_path / "folder" / "secret"
    file.parent.mkdir()
    contents = {
        b"": "vacío",
        b"\n": "vacío",
        b"\xff\xfe" + KEY.encode(): "UTF-8",
        KEY.encode() * 4096: "más de 64 KiB",
    }
    said = refusal(tmp_path, {name: str(file)})
    assert name in said and str(file) in said and "no existe el archivo" in said
    for content, words in contents.items():
        file.write_bytes(content)
        said = refusal(tmp_path, {name: str(file)})
        assert name in said and str(file) in said and words in said and KEY not in said
    said = refusal(tmp_path, {name: str(file.parent)})
    assert name in said and str(file.parent) in said and "no es un archivo" in said
    assert name in refusal(tmp_path, {name: ""})


@pytest.mark.parametrize("variable", WRONG)
def test_a_wrong_value_in_a_file_is_not_shown(tmp_path: Path, variable: str) -> None:
    file = tmp_path / "secret"
    file.write_text(WRONG[variable])
    said = refusal(tmp_path, {f"{variable}_FILE": str(file)})
    assert f"{variable}_FILE" in said and "s3cr3t" not in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(KEY)
    file.chmod(0)
    assert "no se puede leer" in refusal(tmp_path, {"OTEL_BRIDGE_USER_HASH_KEY_FILE": str(file)})


@pytest.mark.parametrize("variable", VALUES)
def test_both_at_once_are_refused_and_an_empty_variable_is_none(tmp_path: Path, variable: str) -> None:
    file = tmp_path / "secret"
    file.write_text(VALUES[variable])
    said = refusal(tmp_path, {variable: VALUES[variable], f"{variable}_FILE": str(file)})
    assert said.count(f"{variable}_FILE") == 1 and "quita una de las dos" in said and KEY not in said
    loaded = load(tmp_path, {variable: "", f"{variable}_FILE": str(file)})
    assert found(loaded, variable) == found(load(tmp_path, {variable: VALUES[variable]}), variable)


@pytest.mark.parametrize("variable", VALUES)
def test_a_secret_where_a_file_belongs_is_not_repeated(tmp_path: Path, variable: str) -> None:
    for written in (VALUES[variable], KEY, f"{KEY}/+x"):
        said = refusal(tmp_path, {f"{variable}_FILE": written})
        assert f"{variable}_FILE" in said and "s3cr3t" not in said


def test_a_file_wins_over_the_toml_and_loses_to_an_argument(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("sqlite:///by-file.db")
    environ = {"OTEL_BRIDGE_JOURNAL_FILE": str(file)}
    assert load(tmp_path, environ, 'journal = "sqlite:///by-toml.db"').journal == "sqlite:///by-file.db"
    assert load(tmp_path, environ, 'journal = "nonsense"').journal == "sqlite:///by-file.db"
    assert load(tmp_path, environ, journal="sqlite:///by-argument.db").journal == "sqlite:///by-argument.db"
    file.unlink()
    assert load(tmp_path, environ, journal="sqlite:///by-argument.db").journal == "sqlite:///by-argument.db"


def test_the_form_for_traces_wins(tmp_path: Path) -> None:
    general, traces = tmp_path / "general", tmp_path / "traces"
    general.write_text("x=general")
    traces.write_text("x=traces")
    name = "OTEL_EXPORTER_OTLP_{}HEADERS{}"
    for environ in (
        {name.format("", "_FILE"): str(general), name.format("TRACES_", "_FILE"): str(traces)},
        {name.format("", "_FILE"): str(general), name.format("TRACES_", ""): "x=traces"},
        {name.format("", ""): "x=general", name.format("TRACES_", "_FILE"): str(traces)},
    ):
        assert found(load(tmp_path, environ), "OTEL_EXPORTER_OTLP_HEADERS") == (("x", "traces"),)


def test_the_file_of_what_is_no_secret_is_an_unknown_variable(tmp_path: Path) -> None:
    assert "OTEL_BRIDGE_PORT_FILE" in refusal(tmp_path, {"OTEL_BRIDGE_PORT_FILE": str(tmp_path)})


def test_check_and_journal_status_look_at_the_journal_that_a_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "otel-bridge.toml").write_text("[gpts.a]\n")
    (tmp_path / "url").write_text(f"sqlite:///{tmp_path}/named.db\n")
    monkeypatch.setenv("OTEL_BRIDGE_CONFIG", str(tmp_path / "otel-bridge.toml"))
    monkeypatch.setenv("OTEL_BRIDGE_JOURNAL_FILE", str(tmp_path / "url"))
    assert cli.main(["check"]) == 0
    capsys.readouterr()
    cli.main(["journal", "status"])  # there is none yet, which it says with its name
    said = capsys.readouterr()
    assert f"{tmp_path}/named.db" in said.out + said.err
    (tmp_path / "url").unlink()
    for command in (["check"], ["journal", "status"]):
        assert cli.main(command) == 2
        assert "OTEL_BRIDGE_JOURNAL_FILE" in capsys.readouterr().err


def test_the_request_spans_of_the_sdk_carry_the_headers_of_a_file(tmp_path: Path) -> None:
    from otel_bridge.http import request_spans

    (tmp_path / "headers").write_text("authorization=Bearer%20abc\n")
    for protocol in ("http/protobuf", "grpc"):
        environ = {
            "OTEL_EXPORTER_OTLP_HEADERS_FILE": str(tmp_path / "headers"),
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }
        loaded = load(tmp_path, environ)
        assert loaded.otlp is not None
        exporter = request_spans._exporter(loaded.otlp)
        sender = exporter._client if protocol == "http/protobuf" else exporter  # type: ignore[attr-defined]
        assert dict(sender._headers)["authorization"] == "Bearer abc"
        exporter.shutdown()


def test_the_page_lists_every_one_of_them() -> None:
    section = PAGE.read_text(encoding="utf-8").split("\n## Secrets in files\n", 1)[1].split("\n## ", 1)[0]
    assert set(re.findall(r"`(OTEL_\w+)_FILE`", section)) == set(VALUES)
