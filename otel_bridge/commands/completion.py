"""`otel-bridge completion`: the script by which a shell completes commands and options, made of the parser (shtab)."""

from __future__ import annotations

import argparse

import shtab

from otel_bridge.commands import cli
from otel_bridge.commands.arguments import examples

_NAMES_A_FILE = {"--config", "file", "--to"}


def run(arguments: argparse.Namespace) -> int:
    parser = cli.build_parser()
    for one in examples.parsers(parser).values():
        for action in one._actions:
            if _NAMES_A_FILE & {*action.option_strings, action.dest}:
                action.complete = shtab.DIRECTORY if "--to" in action.option_strings else shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell=arguments.shell))
    return 0
