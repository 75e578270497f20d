"""`otel-bridge keys`: API keys of a GPT."""

from __future__ import annotations

import argparse

from otel_bridge import config
from otel_bridge.access import keys
from otel_bridge.commands.configuration import load, registered_gpt
from otel_bridge.errors import StartRefused


def new(arguments: argparse.Namespace) -> int:
    """Makes a key and shows it once; only its hash is kept."""
    loaded = load(arguments)
    gpt = registered_gpt(loaded, arguments.gpt)
    key = keys.new_key()
    digest = keys.hash_of(key.encode())
    written = ""
    if arguments.write and loaded.source == config.SHIPPED:
        raise StartRefused(f"no {config.DEFAULT_FILE} here to write to: run `otel-bridge init` first")
    if arguments.write:
        keys.add_hash(loaded.source, gpt.id, digest)
        written = f"Its hash is in {loaded.source}; a running bridge takes it on within seconds.\n"
    hashes = ", ".join(f'"{hash_}"' for hash_ in (*gpt.api_key_hashes, digest))
    print(f"Key of {gpt.id}, shown this once:\n\n  {key}\n")
    print("Clients send it as «Authorization: Bearer …» or «X-API-Key: …».")
    print(
        written or f"To allow it, put this into [gpts.{gpt.id}] of {loaded.source}:\n\n  api_key_hashes = [{hashes}]\n"
    )
    return 0
