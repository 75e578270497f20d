"""docs/scaling.md: its commands, settings and names exist."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from benchmarks.__main__ import PARTS
from otel_bridge import catalog
from otel_bridge.commands.cli import build_parser
from otel_bridge.config.settings import SETTINGS
from tests.docs.markdown import DOCS, ROOT, blocks, headings
from tests.journal.backends import PostgresBackend

PAGE = DOCS / "scaling.md"
TEXT = PAGE.read_text(encoding="utf-8")
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", TEXT, flags=re.M | re.S))
COMMANDS = [line for block in blocks(PAGE) if block.language == "bash" for line in block.text.splitlines() if line]
NAMES = sorted({code for code in CODE if re.fullmatch(r"[a-z]+(_[a-z]+)+", code)})
SERVER = dict(re.findall(r"^(\w+) = (\S+)", "".join(b.text for b in blocks(PAGE) if b.language == "ini"), re.M))


def subcommand(words: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser of a command, and the words that are left for it."""
    parser, rest = build_parser(), words
    while rest:
        inside = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if not inside or rest[0] not in inside[0].choices:
            break
        parser, rest = inside[0].choices[rest[0]], rest[1:]
    return parser, rest


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_one_and_takes_its_arguments(line: str) -> None:
    program, *words = shlex.split(line, comments=True)
    assert program == "otel-bridge"
    build_parser().parse_args(words)


@pytest.mark.parametrize("code", [code for code in CODE if code.startswith("otel-bridge ")])
def test_a_command_in_the_text_is_one_with_these_options(code: str) -> None:
    parser, rest = subcommand(shlex.split(code)[1:])
    assert all(word in parser._option_string_actions for word in rest), rest


@pytest.fixture(scope="module")
def known_to_postgresql(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str] | None]:
    """Settings with the values that an enumeration has, and names of views and functions."""
    backend = PostgresBackend(tmp_path_factory.mktemp("names"))
    try:
        found = dict(backend.sql("SELECT name, enumvals FROM pg_settings"))
        return found | dict(backend.sql("SELECT relname, NULL FROM pg_class UNION SELECT proname, NULL FROM pg_proc"))
    finally:
        backend.close()


def test_a_name_is_a_setting_a_metric_or_the_servers(known_to_postgresql: dict[str, list[str] | None]) -> None:
    ours = {setting.key for setting in SETTINGS} | {metric.name for metric in catalog.METRICS}
    assert [name for name in NAMES if name not in ours and name not in known_to_postgresql] == []


def test_the_servers_settings_are_such(known_to_postgresql: dict[str, list[str] | None]) -> None:
    assert len(SERVER) >= 5
    for name, value in SERVER.items():
        values = known_to_postgresql[name]
        assert values is None or value in values, name


def test_an_alert_that_is_named_is_one() -> None:
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "prometheus" / "rules").glob("*.yml"))
    named = set(re.findall(r"\bBridge[A-Z]\w+", TEXT))
    assert named
    assert [name for name in sorted(named) if f"alert: {name}\n" not in rules] == []


def test_the_parts_of_the_benchmark_are_such() -> None:
    named = re.search(r"parts ((?:`\w+`(?:, )?)+)", TEXT)
    assert named is not None
    assert set(re.findall(r"`(\w+)`", named[1])) <= set(PARTS)


def test_a_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        file, _, anchor = target.partition("#")
        path = PAGE if not file else (DOCS / file).resolve()
        assert path.exists(), target
        anchors = [_anchor(heading) for level in (1, 2, 3) for heading in headings(Path(path), level)]
        assert not anchor or anchor in anchors, target


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
