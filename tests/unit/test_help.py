"""Every `--help` has examples, and each of them is a command that the parser takes."""

from __future__ import annotations

import argparse
import re
import shlex

import pytest

from otel_bridge.commands import cli
from otel_bridge.commands.arguments.examples import EXAMPLES, parsers

COMMANDS = parsers(cli.build_parser())
_VARIABLES = re.compile(r"^(?:[A-Z_]+=\S+ )+")


def examples(epilog: str) -> list[str]:
    """The commands of an epilog: what is for a reader is two spaces or more to the right of them."""
    lines = [line for line in epilog.splitlines() if re.match(r"  (?:[A-Z_]+=\S+ )*otel-bridge ", line)]
    return [re.split(r" {2,}| > | < ", line.strip())[0] for line in lines]


@pytest.mark.parametrize("words", COMMANDS)
def test_every_help_ends_with_examples_that_the_parser_takes(words: str) -> None:
    command = COMMANDS[words]
    assert command.epilog, f"otel-bridge {words} --help has no examples: otel_bridge/commands/arguments/examples.py"
    found = examples(command.epilog)
    assert any(f"otel-bridge {words}".rstrip() in example for example in found), command.epilog
    for example in found:
        line = _VARIABLES.sub("", example)
        arguments = cli.build_parser().parse_args(shlex.split(line)[1:])
        assert callable(arguments.run)
    assert all(f"  {example}" in command.format_help() for example in found)


def test_no_example_is_of_a_command_that_is_not_there() -> None:
    assert set(EXAMPLES) <= set(COMMANDS)


def test_every_command_and_option_says_what_it_is_for() -> None:
    for words, command in COMMANDS.items():
        for action in command._actions:
            if not isinstance(action, argparse._SubParsersAction):
                assert action.help, f"otel-bridge {words}: {action.option_strings or action.dest}"
