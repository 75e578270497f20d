"""`otel-bridge init`: the configuration that ships with the bridge, written to edit."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from otel_bridge import config
from otel_bridge.errors import StartRefused


def run(arguments: argparse.Namespace) -> int:
    file = Path(arguments.file)
    try:
        if os.path.lexists(file):
            raise FileExistsError
        _write(file, config.SHIPPED.read_text(encoding="utf-8"))
    except FileExistsError:
        raise StartRefused(f"{file}: ya existe, no se cambió nada. Edítalo, o nombra otro archivo.") from None
    except OSError as error:
        raise StartRefused(f"{file}: no se puede escribir: {error.strerror}") from None
    print(f"{file} escrito. Registra tu GPT en él, y después: otel-bridge check --config {file}")
    return 0


def _write(file: Path, text: str) -> None:
    """Makes the file, whole or not at all. Raises OSError: FileExistsError where it is there."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with part.open("x", encoding="utf-8") as written:
            written.write(text)
        file.open("x").close()  # of two who write it at once, the second is told
        try:
            part.replace(file)
        except OSError:
            file.unlink()
            raise
    finally:
        part.unlink(missing_ok=True)
