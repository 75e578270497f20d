"""`otel-bridge openapi`: the OpenAPI document of the API, or the one that a GPT's builder imports as its actions."""

from __future__ import annotations

import argparse
import json
import sys

from otel_bridge.commands.configuration import load, registered_gpt
from otel_bridge.http import actions_openapi, openapi


def run(arguments: argparse.Namespace) -> int:
    if arguments.gpt is not None:
        return _actions(arguments)
    print(json.dumps(openapi.document(load(arguments).public_url), ensure_ascii=False, indent=2))
    return 0


def _actions(arguments: argparse.Namespace) -> int:
    loaded = load(arguments)
    gpt = registered_gpt(loaded, arguments.gpt)
    server = loaded.public_url or f"http://127.0.0.1:{loaded.port}"
    if not server.startswith("https://"):
        print(f'servers es {server}: ChatGPT solo llega a https. Define public_url = "https://…".', file=sys.stderr)
    print(json.dumps(actions_openapi.document(gpt, server), ensure_ascii=False, indent=2))
    return 0
