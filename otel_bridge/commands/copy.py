"""`otel-bridge journal copy`: a whole journal to another backend, such as from a file to PostgreSQL."""

from __future__ import annotations

import argparse
import json
import os
import time

from otel_bridge import config, journal
from otel_bridge.commands.backup import rows_progress, told_to_end
from otel_bridge.config import Config
from otel_bridge.errors import StartRefused
from otel_bridge.ops.forms import SnapshotForms
from otel_bridge.privacy.users import fingerprint, kept_key, key_file, load_or_create_key, put_key

LABELS = {
    "segments": "segmentos",
    "records": "registros",
    "spans": "spans",
    "body_bytes": "bytes",
    "keys": "claves de reintentos",
    "sessions": "sesiones",
    "session_events": "sus eventos",
    "session_tokens": "sus tokens",
    "live": "activas",
    "usage_rows": "filas de uso",
    "usage_events": "sus eventos",
    "usage_tokens": "sus tokens",
    "parked": "apartados",
    "parked_spans": "sus spans",
}
"""What `--json` names, as a person reads it."""


def run(arguments: argparse.Namespace) -> int:
    source, target = (_of(arguments, url) for url in (arguments.source, arguments.target))
    if source.journal == target.journal:
        raise StartRefused(f"{source.journal_shown}: aparece dos veces. Nombra el diario que hay y a dónde va.")
    if not source.in_database and not target.in_database:
        raise StartRefused(
            "de un archivo a otro: eso lo hacen `otel-bridge journal backup` y `journal restore`, con un puente "
            "en marcha."
        )
    key_file(target)  # refuses two of them before anything is copied
    kept = kept_key(source)
    key = kept
    if source.user_hash_key:
        key = load_or_create_key(source.key_path, source.user_hash_key)
    started = time.monotonic()
    with told_to_end():
        copied = journal.copy(
            source.journal, target.journal, None if key is None else fingerprint(key), SnapshotForms(), rows_progress()
        )
    seconds = time.monotonic() - started
    said = None if kept is None else put_key(target, kept)
    if arguments.json:
        values = {"from": source.journal_shown, "to": target.journal_shown, **copied._asdict(), "key": said}
        print(json.dumps({**values, "seconds": round(seconds, 3)}))
        return 0
    print(f"{target.journal_shown} contiene todo {source.journal_shown}, contado en los dos lados, en {seconds:.1f} s")
    for name, value in copied._asdict().items():
        print(f"  {LABELS[name]:21} {value:,}")
    if said is not None:
        print(said)
    elif not source.user_hash_key:
        print(f"No hay clave del hash de usuarios ({source.key_path}): los usuarios parecerán nuevos.")
    if target.in_database and not source.user_hash_key:
        print(
            f"Cada réplica necesita esta clave: copia {target.key_path} al mismo lugar en cada una, solo para su "
            "usuario."
        )
    print(
        f"{source.journal_shown} queda como está. No lo sirvas más: lo que contienen los dos se entregaría y "
        "contaría dos veces."
    )
    return 0


def _of(arguments: argparse.Namespace, url: str) -> Config:
    return config.load(arguments.config, os.environ, {"journal": url})
