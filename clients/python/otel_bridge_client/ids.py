"""Ids of records, and times as the bridge reads them."""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from datetime import datetime, timezone
from uuid import UUID


def new_uuid() -> str:
    """A UUIDv7 (RFC 9562): nobody can guess it, and those made together stand together in the bridge's index."""
    return _stamped(time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10), "big"), 7)


def conversation_uuid(gpt_id: str, conversation: str, key: str | None) -> str:
    """The session id of a conversation: the same one in every process, in the JavaScript client too;
    who lacks the key cannot tell which."""
    secret = hashlib.sha256(f"otel-bridge\0{key or ''}".encode()).digest()
    text = f"{gpt_id}\0{conversation}".encode("utf-8", "replace")
    return _stamped(int.from_bytes(hmac.digest(secret, text, "sha256")[:16], "big"), 8)


def _stamped(value: int, version: int) -> str:
    return str(UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | version << 76 | 2 << 62))


def utc_now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
