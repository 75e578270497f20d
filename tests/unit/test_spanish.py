"""The commands speak Spanish: their helps, what they print and how they refuse. (Logs are English.)"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from otel_bridge import journal
from otel_bridge.commands import cli
from otel_bridge.commands.arguments.examples import parsers
from otel_bridge.export.pipe import CONSUMER

ENGLISH = frozenset(
    re.findall(
        r"\S+",
        "the of is are was not and or with which there this it its must cannot expected found already unknown "
        "missing usage options positional arguments show default file name must make run what where how from "
        "to for by when be has have been good wrong warning written records pending exported journal's ",
    )
)
_CODE = re.compile(r"`[^`]*`|\$ ?[^\n]*|\S*[_/=:.]\S+|--?[a-z][a-z-]*|otel-bridge( [a-z]+)*")
"""Names, paths, options and commands: they are what they are in any language."""


def english(text: str) -> list[str]:
    """The English words in a text."""
    return [word for word in re.findall(r"[\w']+", _CODE.sub(" ", text).lower()) if word in ENGLISH]


def test_english_is_recognised() -> None:
    assert english("otel-bridge: no such file, expected another: make it with `otel-bridge init`") == [
        "file", "expected", "make", "it", "with",
    ]  # fmt: skip
    assert not english("otel-bridge journal status: se esperaba uno de `the`; mira docs/the.md y --not-this")


def test_the_help_of_every_command_is_spanish() -> None:
    commands = parsers(cli.build_parser()).values()
    assert len(commands) > 12
    assert {one.prog: found for one in commands if (found := english(one.format_help()))} == {}


@pytest.mark.parametrize(
    "arguments",
    [
        "", "nada", "serve --nada", "serve --port", "serve --workers x", "serve --workers", "serve --me 1",
        "demo --rate 0", "demo --seed x", "demo --hour 25", "journal", "journal nada", "journal replay x",
        "journal replay --wait -1", "journal copy a", "keys new", "keys", "check --config a b",
        "check --config=a --json=1",
    ],
)  # fmt: skip
def test_what_is_no_command_is_refused_in_spanish(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments.split())
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("uso: ") and english(said) == []


SAID = {
    "init": 0, "init otel-bridge.toml": 2, "check": 0, "openapi --gpt devops-expert": 0, "keys new devops-expert": 0,
    "keys new otro": 2, "journal status": 0, "journal status --space": 0, "journal parked": 0, "journal replay": 0,
    "journal replay 7": 1, "journal backup copia.db": 0, "journal restore copia.db": 2, "journal restore nada.db": 2,
    "journal restore copia.db --replace": 0, "journal restore copia.db --key-only": 2, "journal migrate": 0,
    "journal migrate --grant x": 2, "journal copy sqlite:///a.db sqlite:///b.db": 2,
    "journal status --journal sqlite:///nada.db": 2, "journal status --journal sqlite:///.": 2,
    "check --journal postgresql://u@127.0.0.1:1/b?nada=1": 2, "check --config nada.toml": 2,
    "check --config mal.toml": 2, "check --config avisos.toml": 0, "check --journal nada": 2, "serve --port nada": 2,
    "serve --workers 2": 2, "doctor --wait 0.1 --url http://127.0.0.1:1 --metrics-url http://127.0.0.1:1": 1,
}  # fmt: skip
"""Commands in this order in one folder, and how they end."""
WRONG = """
prot = 1
host = "0.0.0.0"
journal = "postgres:x"
journal_max_size = "mucho"
public_url = "nada"
redaction = "quizá"
trusted_proxies = ["x"]
regions = ["XX"]
oauth_algorithms = ["none"]
user_hash_key = "corta"
[gpts.a]
slo_target = 7
prices = 3
api_key_hashes = ["x"]
modle = "x"
[gpts."b c"]
"""
DOUBTFUL = """
[gpts.a]
model = "m"
slo_target = 0.8
ttft_target = 0.6
prices = { otro = { input = 1, output = 1 } }
"""


def test_what_commands_say_is_spanish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("OTEL_", "GPT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_BRIDGE_NADA", "1")
    assert cli.main(["check"]) == 2
    said = {"an unknown variable": capsys.readouterr().err}
    monkeypatch.delenv("OTEL_BRIDGE_NADA")
    Path("mal.toml").write_text(WRONG, encoding="utf-8")
    Path("avisos.toml").write_text(DOUBTFUL, encoding="utf-8")
    journal.open("sqlite:///data/otel-bridge.db", CONSUMER).close()
    for command, code in SAID.items():
        ended = cli.main(command.split())
        told = capsys.readouterr()
        assert ended == code, (command, told)
        said[command] = told.err if command.startswith("openapi") else told.out + told.err
    assert all(said.values())
    assert {command: found for command, text in said.items() if (found := english(text))} == {}
