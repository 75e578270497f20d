"""A whole journal to another place: backups, which are files of the other backend, and copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from otel_bridge.journal.archive import Archive, Forms, Progress
from otel_bridge.journal.postgres.dump import PostgresArchive
from otel_bridge.journal.postgres.dump import archive as database_archive
from otel_bridge.journal.postgres.load import Target
from otel_bridge.journal.postgres.load import load as load_rows
from otel_bridge.journal.sqlite.backup_file import look
from otel_bridge.journal.sqlite.dump import archive as file_archive
from otel_bridge.journal.sqlite.load import load_backup
from otel_bridge.journal.store import Backup


def backup(
    url: str, to: Path, key: bytes | None, replace: bool, progress: Callable[[int, int], None], forms: Forms | None
) -> Backup:
    assert forms is not None
    with database_archive(url, forms, served=True) as archive:
        return load_backup(archive, to, key, replace, progress)


def restore(
    file: Path, url: str, replace: bool, fingerprint: bytes | None, forms: Forms | None, progress: Progress
) -> tuple[Backup, list[str]]:
    assert forms is not None
    found = look(file)
    with file_archive(file, is_backup=True) as rows:
        moved = load_rows(rows, Target(url, fingerprint, replace, found.made_us), forms, progress)
    return found, moved


@contextmanager
def archive(url: str, forms: Forms) -> Iterator[PostgresArchive]:
    with database_archive(url, forms, served=False) as found:
        yield found


def load(archive: Archive, url: str, fingerprint: bytes | None, forms: Forms, progress: Progress) -> None:
    load_rows(archive, Target(url, fingerprint), forms, progress)
