"""`otel-bridge init`: the configuration that ships with the bridge, written to edit."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from otel_bridge import config
from otel_bridge.commands.configuration import table_of
from otel_bridge.errors import StartRefused

SHIPPED_ID = "devops-expert"
SHIPPED_NAME = '"DevOps Expert"'


def run(arguments: argparse.Namespace) -> int:
    file = Path(arguments.file)
    text = _registered(config.SHIPPED.read_text(encoding="utf-8"), arguments.gpt, arguments.name)
    try:
        if os.path.lexists(file):
            raise FileExistsError
        _write(file, text)
    except FileExistsError:
        raise StartRefused(f"{file}: ya existe, no se cambió nada. Edítalo, o nombra otro archivo.") from None
    except OSError as error:
        raise StartRefused(f"{file}: no se puede escribir: {error.strerror}") from None
    gpt = arguments.gpt or SHIPPED_ID
    print(f"{file} escrito, con el GPT {gpt}. Edítalo si hace falta, y después: otel-bridge check --config {file}")
    return 0


def _registered(text: str, gpt: str | None, name: str | None) -> str:
    """The configuration with this GPT in the place of the one that ships. Raises StartRefused."""
    if gpt is not None:
        if not config.GPT_ID.fullmatch(gpt):
            raise StartRefused(
                f"--gpt: se encontró {gpt!r}, se esperaba un id de letras, cifras y . _ -, de 128 caracteres como mucho"
            )
        text = text.replace(table_of(SHIPPED_ID), table_of(gpt))
        text = text.replace(SHIPPED_ID, gpt)
        name = name or gpt
    if name is not None:
        if not name.isprintable():
            raise StartRefused(f"--name: se encontró {name!r}, se esperaba un texto en una línea")
        text = text.replace(SHIPPED_NAME, _quoted(name))
    return text


def _quoted(text: str) -> str:
    """As TOML writes a text."""
    return json.dumps(text, ensure_ascii=False)


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
