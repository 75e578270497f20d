"""Ids of MCP sessions (`Mcp-Session-Id`, protocol versions up to 2025-11-25), without a list of them.

An id is 16 random bytes and their keyed digest. So one that this bridge gave is told from any other, after a restart
too, and nothing is kept for it: a session ends when its client forgets the id. An id that the bridge did not give is
the same as none.
"""

from __future__ import annotations

import hmac
import os
from base64 import b64decode, urlsafe_b64encode
from hashlib import blake2b

HEADER = b"mcp-session-id"
_BYTES = 16


class SessionIds:
    """One for the process; `key` is the journal's own, so that ids outlive it."""

    def __init__(self, key: bytes) -> None:
        self._key = blake2b(key, digest_size=32, person=b"mcp-session-id").digest()

    def new(self) -> bytes:
        """An id to give to a client that begins."""
        secret = os.urandom(_BYTES)
        return urlsafe_b64encode(secret + self._digest(secret)).rstrip(b"=")

    def name_of(self, given: bytes) -> str | None:
        """What a session may be called where its id must not be shown; None: the bridge did not give this id."""
        try:
            whole = b64decode(given + b"=" * (-len(given) % 4), b"-_", validate=True)
        except ValueError:
            return None
        secret, digest = whole[:_BYTES], whole[_BYTES:]
        if not hmac.compare_digest(digest, self._digest(secret)):
            return None
        return blake2b(secret, digest_size=16, key=self._key, person=b"mcp-name").hexdigest()

    def _digest(self, secret: bytes) -> bytes:
        return blake2b(secret, digest_size=_BYTES, key=self._key).digest()
