"""`otel-bridge files`: writes what runs beside the bridge, which an installation carries, into a folder.

    the package's files/, else the repository ──▶ each file: not there → written
                                                             the same → left
                                                             as an earlier run wrote it → replaced
                                                             anything else → kept, and named; replaced with --force

What was written is noted in the folder (`NOTES`): so that a file that its owner changed is told from one that a newer
release has changed. The image that docker-compose.yml builds is made of a wheel of this very installation.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import runpy
import stat
from collections import Counter
from pathlib import Path

from otel_bridge import __version__
from otel_bridge.commands import wheel
from otel_bridge.errors import StartRefused

PACKAGE = Path(__file__).parents[1]
NOTES = ".otel-bridge-files.json"
IMAGE = ("Dockerfile", ".dockerignore", "requirements/run.txt")
"""What builds the image, from a wheel."""

_FROM_SOURCES = re.compile(
    r"^# `otel-bridge files` writes .*\n(?:COPY .*\n)+(RUN \S+/pip install --no-deps) --no-build-isolation \. ", re.M
)


def run(arguments: argparse.Namespace) -> int:
    if not arguments.to.strip():  # an empty variable of a script: it would be the current folder
        raise StartRefused(f"--to: se encontró {arguments.to!r}, se esperaba una carpeta (--to . es la actual)")
    folder = Path(arguments.to)
    if folder.exists() and not folder.is_dir():
        raise StartRefused(f"{folder}: no es una carpeta; nombra otra con --to.")
    source, names = _shipped()
    made = wheel.of_this_installation()
    contents = {name: (source / name).read_bytes() for name in names if made is not None or name not in IMAGE}
    if made is not None:
        contents[made.name] = made.content
        contents["Dockerfile"] = for_a_wheel(contents["Dockerfile"].decode()).encode()
    runnable = {name for name in names if os.access(source / name, os.X_OK)}
    written, kept = _write(folder, contents, runnable, arguments.force)
    _tell(folder, contents, written, kept)
    _tell_next(folder, contents, made.name if made is not None else None)
    return 0


def _shipped() -> tuple[Path, list[str]]:
    """Where the files are, and their names. Raises StartRefused where this installation has none."""
    inside, repository = PACKAGE / "files", PACKAGE.parent
    if inside.is_dir():
        return inside, sorted(path.relative_to(inside).as_posix() for path in inside.rglob("*") if path.is_file())
    if (repository / "setup.py").is_file() and (repository / "grafana/dashboards").is_dir():
        listed = runpy.run_path(str(repository / "setup.py"))["shipped"]()
        return repository, [name.as_posix() for name in listed]
    raise StartRefused(
        "esta instalación se hizo sin los archivos que acompañan al puente (la imagen construida del repositorio no "
        "los lleva). Instálalo con pip en otro sitio y ejecútalo allí: pip install otel-bridge."
    )


def for_a_wheel(dockerfile: str) -> str:
    """A Dockerfile that installs the wheel beside it, in place of the sources."""
    made, count = _FROM_SOURCES.subn(r"COPY otel_bridge-*.whl ./\n\1 --no-index ./otel_bridge-*.whl ", dockerfile)
    assert count == 1
    return made


def _write(folder: Path, contents: dict[str, bytes], runnable: set[str], force: bool) -> tuple[list[str], list[str]]:
    """Names of what was written, and of what its owner has changed and was kept. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    notes = _read_notes(folder)
    written, kept = [], []
    for name, content in contents.items():
        target = folder / name
        there = _digest(target.read_bytes()) if target.is_file() else None
        if there is None and os.path.lexists(target):
            raise StartRefused(f"{target}: no es un archivo; quítalo de ahí, o nombra otra carpeta con --to.")
        digest = _digest(content)
        if there not in (None, digest, notes.get(name)) and not force:
            kept.append(name)
            continue
        notes[name] = digest
        if there == digest:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            part.write_bytes(content)
            if name in runnable:
                part.chmod(part.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        written.append(name)
    (folder / NOTES).write_text(json.dumps(notes, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    return written, kept


def _read_notes(folder: Path) -> dict[str, str]:
    try:
        notes = json.loads((folder / NOTES).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _tell(folder: Path, contents: dict[str, bytes], written: list[str], kept: list[str]) -> None:
    same = len(contents) - len(written) - len(kept)
    print(f"{folder}: {len(written)} archivos escritos, {same} ya estaban igual, {len(kept)} conservados")
    for place, count in sorted(Counter(_place(name) for name in written).items()):
        print(f"  escrito     {place}" + (f" ({count} archivos)" if count > 1 else ""))
    for name in kept:
        print(f"  conservado  {name} (lo cambiaste tú; --force lo reemplaza)")


def _place(name: str) -> str:
    """A file's folder, two levels of it at the most; a file at the top is its own."""
    folders = name.split("/")[:-1][:2]
    return "/".join(folders) + "/" if folders else name


def _tell_next(folder: Path, contents: dict[str, bytes], made: str | None) -> None:
    print("Y ahora:")
    if "docs/tu-propio-stack.md" in contents:
        print(f"  tableros y reglas en un stack que ya tienes: {folder}/docs/tu-propio-stack.md")
    else:
        print(f"  en un stack que ya tienes: importa {folder}/grafana/dashboards y carga {folder}/prometheus/rules")
    print(f"  el stack entero con Docker: cd {folder} && scripts/make-env && docker compose up -d --build")
    if made is not None:
        print(f"    La imagen del puente se construye ahí, de {made}: esta misma instalación.")
        print("    Lo demás se descarga: hace falta llegar al índice de paquetes y a los registros de imágenes.")
        return
    print("    Este otel-bridge corre desde su repositorio: la imagen se construye de él, antes y sin --build:")
    print(f"    docker build -t otel-bridge:{__version__} {PACKAGE.parent}")
