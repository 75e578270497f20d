"""`otel-bridge journal backup` and `journal restore`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from otel_bridge import journal
from otel_bridge.commands.configuration import load
from otel_bridge.config import Config
from otel_bridge.errors import StartRefused
from otel_bridge.journal import Backup
from otel_bridge.ops.forms import SnapshotForms
from otel_bridge.ops.going_back import FOLLOWS, moment
from otel_bridge.privacy.users import fingerprint, kept_key, key_file, load_or_create_key, put_key

PROGRESS_SECONDS = 1.0
LABELS = {
    "bytes": "bytes",
    "made_at": "hecha",
    "records": "registros",
    "exported_up_to": "exportado hasta",
    "has_key": "con clave",
    "release": "versión",
}
"""What `--json` names, as a person reads it."""


def run(arguments: argparse.Namespace) -> int:
    loaded = load(arguments)
    started = time.monotonic()
    key = kept_key(loaded)
    of_users = key_file(loaded)
    if of_users is not None and Path(arguments.file).resolve() == of_users.resolve():
        raise StartRefused(f"{arguments.file}: esta es la clave del hash de usuarios. Nombra otro archivo.")
    os.nice(10)  # answers are more urgent
    with told_to_end():
        made = journal.backup(
            loaded.journal, Path(arguments.file), key, arguments.replace, _progress(), SnapshotForms()
        )
    seconds = time.monotonic() - started
    if arguments.json:
        print(json.dumps({**_values(made), "seconds": round(seconds, 3)}))
        return 0
    print(f"{made.place} escrito y comprobado, en {seconds:.1f} s")
    _show(made)
    if made.key is None:
        if loaded.user_hash_key:
            print(
                "\nLa clave del hash de usuarios está en la configuración y no en la copia: guarda también la "
                "configuración."
            )
        else:
            print(
                f"\nNo hay clave del hash de usuarios ({loaded.key_path}): tras restaurar, los usuarios parecerán "
                "nuevos."
            )
    return 0


def restore(arguments: argparse.Namespace) -> int:
    loaded = load(arguments)
    file = Path(arguments.file)
    if arguments.key_only:
        key = journal.carried_key(f"sqlite:///{file}")
        if key is None:
            raise StartRefused(
                f"{file}: no es una copia que contenga una clave del hash de usuarios. No se cambió nada."
            )
        print(put_key(loaded, key))
        return 0
    key_file(loaded)  # refuses two of them before anything is changed
    with told_to_end():
        restored, moved = journal.restore(
            file, loaded.journal, arguments.replace, _fingerprint(loaded, file), SnapshotForms(), rows_progress()
        )
    said = None if restored.key is None else put_key(loaded, restored.key)
    if arguments.json:
        print(json.dumps({**_values(restored), "journal": loaded.journal_shown, "moved_to": moved, "key": said}))
        return 0
    print(f"{restored.place} es ahora el diario {loaded.journal_shown}")
    _show(restored)
    for place in moved:
        print(f"lo que había es ahora {place}")
    print(said or "La copia no contiene clave del hash de usuarios: vale la configurada, o la que hay.")
    print("\nAl arrancar el puente:")
    for line in FOLLOWS:
        print(f"- {line}")
    return 0


def _fingerprint(loaded: Config, file: Path) -> bytes | None:
    """Of the key that the bridge will use: the configured one, else the backup's."""
    key = load_or_create_key(loaded.key_path, loaded.user_hash_key) if loaded.user_hash_key else None
    if key is None:
        key = journal.carried_key(f"sqlite:///{file}")
    return None if key is None else fingerprint(key)


def _values(found: Backup) -> dict[str, object]:
    return {
        "file": found.place,
        "bytes": found.size,
        "made_at": moment(found.made_us),
        "records": found.last,
        "exported_up_to": found.cursor,
        "has_key": found.key is not None,
        "damaged": found.damaged,
        "release": found.release,
    }


def _show(found: Backup) -> None:
    for name, value in _values(found).items():
        if name not in ("file", "damaged"):
            shown = {True: "sí", False: "no"}.get(value, value) if isinstance(value, bool) else value
            print(f"  {LABELS[name]:15} {shown}")
    if found.damaged:
        print(
            f"  {found.damaged} grupo(s) de registros están dañados en la copia, como en el diario; el puente los "
            "aparta"
        )


def _progress() -> Callable[[int, int], None]:
    """Tells somebody who waits at a terminal how far it is."""
    next_line = time.monotonic() + PROGRESS_SECONDS

    def tell(done: int, total: int) -> None:
        nonlocal next_line
        if sys.stderr.isatty() and time.monotonic() >= next_line:
            next_line = time.monotonic() + PROGRESS_SECONDS
            print(f"{done / 1e6:,.0f} de {total / 1e6:,.0f} MB", file=sys.stderr, flush=True)

    return tell


def rows_progress() -> Callable[[str, int], None]:
    """The same, of what is told by tables and rows."""
    next_line = time.monotonic() + PROGRESS_SECONDS

    def tell(table: str, rows: int) -> None:
        nonlocal next_line
        if sys.stderr.isatty() and time.monotonic() >= next_line:
            next_line = time.monotonic() + PROGRESS_SECONDS
            print(f"{table}: {rows:,} filas", file=sys.stderr, flush=True)

    return tell


@contextlib.contextmanager
def told_to_end() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does: nothing half-made is left."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
