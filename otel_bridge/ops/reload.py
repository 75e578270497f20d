"""A changed configuration, taken on while the bridge runs: on SIGHUP, and when the file changes.

    watching ──SIGHUP, or the file is another──▶ read ──good──▶ applied (what needs a restart stays, and is named)
        ▲                                         └────bad──▶ the old one stays; log, /readyz and a metric say so
        └──────────────────────────────────────────────────────────────┘

Keys, prices, objectives, types and limits change at once, so that a key can be rotated without losing a request.
What is wired at the start (addresses, the journal, redaction …) is not: the log names it and `/readyz` repeats it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from otel_bridge.access import keys
from otel_bridge.config import SETTINGS, Config
from otel_bridge.errors import StartRefused

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0

RELOADED = frozenset(
    (
        "journal_max_size",
        "disk_min_free",
        "retention_days",
        "content_max_chars",
        "trace_url",
        "rate_limit",
        "trusted_proxies",
        "cors_origins",
        "allow_keyless",
        "public_url",
        "oauth_issuer",
        "oauth_jwks_url",
        "oauth_audiences",
        "oauth_scopes",
        "oauth_algorithms",
        "oauth_leeway_seconds",
        "idle_after_seconds",
        "clock_settle_seconds",
        "windows_interval_seconds",
        "body_timeout_seconds",
        "log_format",
        "log_level",
    )
)
"""Settings that a running bridge takes on, besides everything of `[gpts.…]`. Every other one needs a restart."""


class Reloader:
    """Watches the configuration file. `run` is a supervised worker's body; `soon` may be called from any thread."""

    def __init__(self, config: Config, read: Callable[[], Config], apply: Callable[[Config], None]) -> None:
        self._config = config
        self._read = read
        self._apply = apply
        self._asked = threading.Event()
        self._ended = False
        self._seen = _signature(config.source)
        self.failure: str | None = None
        """Why the file as it is now is not in force; None where it is."""
        self.pending: tuple[str, ...] = ()
        """Settings that have changed in the file and wait for a restart."""

    def soon(self) -> None:
        self._asked.set()

    def stop(self) -> None:
        self._ended = True
        self._asked.set()

    def run(self) -> None:
        while True:
            asked = self._asked.wait(POLL_SECONDS)
            self._asked.clear()
            if self._ended:
                return
            seen = _signature(self._config.source)
            if asked or seen != self._seen:
                self._seen = seen
                self.reload()

    def reload(self) -> None:
        try:
            fresh = self._read()
            held = {key: getattr(self._config, key) for key in _changed(self._config, fresh) if key not in RELOADED}
            # What stays is as it was; what is checked and applied is what will really be in force.
            fresh = replace(fresh, **held)
            keys.refuse_keyless(fresh)
        except StartRefused as refusal:
            self.failure = str(refusal)
            for line in refusal.args:
                log.error("the configuration is wrong; the one before it stays in force: %s", line)
            return
        self.pending = tuple(held)
        changed = _changed(self._config, fresh)
        changed += [f"gpts.{name}" for name in sorted({*fresh.gpts, *self._config.gpts})
                    if fresh.gpts.get(name) != self._config.gpts.get(name)]  # fmt: skip
        self._apply(fresh)
        self._config = fresh
        self.failure = None
        log.info("the configuration was read again; changed: %s", ", ".join(changed) or "nothing")
        if held:
            log.warning("these settings have changed and need a restart: %s", ", ".join(held))


def _changed(before: Config, after: Config) -> list[str]:
    """Keys of the settings that differ."""
    keys = (setting.key for setting in SETTINGS)
    return [key for key in keys if getattr(before, key) != getattr(after, key)]


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
