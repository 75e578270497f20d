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


def run(arguments: argparse.Namespace) -> int:
    source, target = (_of(arguments, url) for url in (arguments.source, arguments.target))
    if source.journal == target.journal:
        raise StartRefused(f"{source.journal_shown}: it is named twice. Name the journal that is, and where it goes.")
    if not source.in_database and not target.in_database:
        raise StartRefused(
            "from a file to a file: `otel-bridge journal backup` and `journal restore` do that, while a bridge serves."
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
    print(f"{target.journal_shown} holds all of {source.journal_shown}, counted on both sides, in {seconds:.1f} s")
    for name, value in copied._asdict().items():
        print(f"  {name.replace('_', ' '):15} {value:,}")
    if said is not None:
        print(said)
    elif not source.user_hash_key:
        print(f"There is no key of the user hash ({source.key_path}): users will look new.")
    if target.in_database and not source.user_hash_key:
        print(f"Every replica needs this key: copy {target.key_path} to the same place on each, for its user alone.")
    print(
        f"{source.journal_shown} is left as it is. Do not serve it again: what both hold would be delivered and "
        "counted twice."
    )
    return 0


def _of(arguments: argparse.Namespace, url: str) -> Config:
    return config.load(arguments.config, os.environ, {"journal": url})
