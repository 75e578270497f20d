"""Signals of the process that serves, from its first line on: what comes before there is somebody to act on it is kept.

    hold ──▶ kept here ──take──▶ the event loop's own handlers, which first act on what was kept

A start takes a second and more, and by default a SIGHUP in it ends the process, as a reload sent too early would.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)
ALL = (*STOPPING, signal.SIGHUP)

_kept: list[int] = []


def hold() -> None:
    """Keeps every signal of `ALL` from now on; a second one that stops ends the process at once. Main thread only."""
    for number in ALL:
        signal.signal(number, _keep)


def _keep(number: int, frame: FrameType | None) -> None:
    if number in STOPPING and stopped_by() is not None:
        os._exit(128 + number)
    _kept.append(number)


def stopped_by() -> int | None:
    """The first kept signal that asks to stop."""
    return next((number for number in _kept if number in STOPPING), None)


def take() -> Iterable[int]:
    """What was kept, each number once in its order; nothing of it is kept any longer."""
    kept = list(dict.fromkeys(_kept))
    _kept.clear()
    return kept
