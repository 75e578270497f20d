"""A line for each erasure, in a file that only grows: that it was done, when and of how much; never of whom.

It stands beside the journal (of one in a database: beside the key of the user hash), and no restore takes it back: what
was erased after a backup was made is still told, and is to be erased again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from otel_bridge.config import Config


def audit_path(config: Config) -> Path:
    """Where the lines are."""
    return config.key_path.with_suffix(".audit.jsonl")


def note(path: Path, line: Mapping[str, object]) -> None:
    """Appends a line, durable when it returns; makes the folder where there is none. Raises OSError."""
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, json.dumps(line, ensure_ascii=False).encode() + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
