"""A backup put in a journal's place. Nothing that is there is deleted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from otel_bridge.errors import StartRefused
from otel_bridge.journal.sqlite import folder
from otel_bridge.journal.sqlite.backup_file import look
from otel_bridge.journal.sqlite.lock import not_served
from otel_bridge.journal.sqlite.names import Place, index_of, log_of
from otel_bridge.journal.sqlite.new_file import new_file, put_in_place, refuse_narrow, stamp, words
from otel_bridge.journal.store import Backup


def restore(file: Path, to: Place, replace: bool) -> tuple[Backup, list[str]]:
    """Returns what was restored, and where that is which was there before. The next start finds the backup there, and
    says so (`witness.py`). Raises StartRefused, StoreError: then what is there is as it was."""
    path = to.path
    if path.exists() and file.exists() and path.samefile(file):
        raise StartRefused(f"{file}: ya está en el lugar del diario. Arranca el puente.")
    found = look(file)
    moved: list[str] = []
    with words(f"el diario {path}"):
        folder.make(path.parent, mode=0o700)
        _refuse_as_root(path.parent)
        with not_served(to):
            there = [one for one in (path, log_of(path), index_of(path)) if os.path.lexists(one)]
            if there and not replace:
                raise StartRefused(
                    f"diario {path}: ya hay uno, y queda como está. Con --replace se aparta, y la copia toma su lugar."
                )
            with new_file(path) as part:
                refuse_narrow(path.parent, found.size)
                with file.open("rb") as source, part.open("r+b") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                    target.flush()
                    os.fsync(target.fileno())
                aside = f"{path}.before-{stamp()}"
                try:
                    for one in there:
                        name = f"{aside}{one.name.removeprefix(path.name)}"
                        one.rename(name)
                        moved.append(name)
                    put_in_place(part, path, replace=False)
                except BaseException:
                    for one, name in zip(there, moved, strict=False):
                        Path(name).rename(one)
                    raise
    return found, moved


def _refuse_as_root(place: Path) -> None:
    """Raises StartRefused where the bridge, as another user, could not open what root makes."""
    owner = place.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        raise StartRefused(f"{place}: es del usuario {owner}. Ejecuta esto como ese usuario (sudo -u '#{owner}' …).")
