"""`otel-bridge keys`: API keys of a GPT."""

from __future__ import annotations

import argparse

from otel_bridge import config
from otel_bridge.access import keys
from otel_bridge.commands.configuration import load, registered_gpt, table_of
from otel_bridge.errors import StartRefused


def new(arguments: argparse.Namespace) -> int:
    """Makes a key and shows it once; only its hash is kept."""
    loaded = load(arguments)
    gpt = registered_gpt(loaded, arguments.gpt)
    key = keys.new_key()
    digest = keys.hash_of(key.encode())
    written, refusal = "", None
    if arguments.write and loaded.source == config.SHIPPED:
        raise StartRefused(f"no hay aquí {config.DEFAULT_FILE} donde escribir: ejecuta antes `otel-bridge init`")
    if arguments.write:
        try:
            keys.add_hash(loaded.source, gpt.id, digest)
            written = f"Su hash está en {loaded.source}; un puente en marcha lo acepta en segundos.\n"
        except StartRefused as error:  # it says to paste the line: so the line is shown, and its key
            refusal = error
    hashes = ", ".join(f'"{hash_}"' for hash_ in (*gpt.api_key_hashes, digest))
    print(f"Clave de {gpt.id}, que se muestra solo esta vez:\n\n  {key}\n")
    print("Los clientes la envían en «Authorization: Bearer …» o «X-API-Key: …».")
    print(
        written
        or f"Para permitirla, pon esto en {table_of(gpt.id)} de {loaded.source}:\n\n  api_key_hashes = [{hashes}]\n",
        flush=True,
    )
    if refusal is not None:
        raise refusal
    return 0
