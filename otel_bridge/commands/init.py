"""`otel-bridge init`: the configuration that ships with the bridge, written to edit."""

from __future__ import annotations

import argparse
from pathlib import Path

from otel_bridge import config
from otel_bridge.errors import StartRefused


def run(arguments: argparse.Namespace) -> int:
    file = Path(arguments.file)
    try:
        with file.open("x", encoding="utf-8") as written:
            written.write(config.SHIPPED.read_text(encoding="utf-8"))
    except FileExistsError:
        raise StartRefused(f"{file}: there already, nothing changed. Edit it, or name another file.") from None
    except OSError as error:
        raise StartRefused(f"{file}: cannot be written: {error.strerror}") from None
    print(f"{file} written. Register your GPT in it, then: otel-bridge check --config {file}")
    return 0
