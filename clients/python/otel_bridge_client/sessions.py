"""Which session is whose: of a conversation, of an MCP session, of a user who is not in any."""

from __future__ import annotations

import collections
import threading
import time
import weakref
from typing import Callable

IDLE_SECONDS = 30 * 60
"""The bridge calls a session idle after half an hour: then a user who is in no conversation begins another one."""
ASK_AGAIN_SECONDS = 60.0
"""A session that the bridge refused is offered again, for the fault may have been mended: a key, a configuration. So is
one that it has no more, past retention."""
MAX_SESSIONS = 10_000


class _Known:
    __slots__ = ("id", "opened", "used")

    def __init__(self, session: str) -> None:
        self.id = session
        self.opened = self.used = time.monotonic()


class Sessions:
    """Remembers sessions by key; from any thread. `open` opens one, or opens the same one again."""

    def __init__(self, lacks: Callable[[str], bool]) -> None:
        self._lacks = lacks
        self.reset()

    def reset(self) -> None:
        """None are known: after a fork, parent and child open their own."""
        self._lock = threading.RLock()  # opening one may call the builder's `on_drop`, and that us
        self._by_key: collections.OrderedDict[object, _Known] = collections.OrderedDict()
        self._key_of: dict[str, object] = {}
        self._by_object: weakref.WeakKeyDictionary[object, _Known] = weakref.WeakKeyDictionary()

    def of_key(self, key: object, open: Callable[[str | None], str], idle: float | None = None) -> str:
        """`idle`: seconds without use after which it is another session."""
        with self._lock:
            known = self._by_key.pop(key, None)
            if known is not None and idle is not None and time.monotonic() - known.used > idle:
                del self._key_of[known.id]
                known = None
            known = self._kept(known, open)
            self._by_key[key] = known
            self._key_of[known.id] = key
            if len(self._by_key) > MAX_SESSIONS:
                _, oldest = self._by_key.popitem(last=False)
                self._key_of.pop(oldest.id, None)
            return known.id

    def of_object(self, owner: object, open: Callable[[str | None], str]) -> str:
        """As long as the object lives."""
        with self._lock:
            known = self._kept(self._by_object.get(owner), open)
            self._by_object[owner] = known
            return known.id

    def forget(self, session: str) -> None:
        """What comes after its end begins another one, where the session is not given by a conversation."""
        with self._lock:
            key = self._key_of.pop(session, None)
            if key is not None:
                del self._by_key[key]
            for owner in [owner for owner, known in self._by_object.items() if known.id == session]:
                del self._by_object[owner]

    def _kept(self, known: _Known | None, open: Callable[[str | None], str]) -> _Known:
        now = time.monotonic()
        if known is None:
            return _Known(open(None))
        known.used = now
        if now - known.opened > ASK_AGAIN_SECONDS and self._lacks(known.id):
            open(known.id)
            known.opened = now
        return known
