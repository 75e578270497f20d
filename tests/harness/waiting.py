"""Tests wait for conditions, not for times."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T | None], what: str, timeout: float = 30.0, pause: float = 0.05) -> T:
    """The first true value of `condition`; AssertionError where there is none within `timeout` seconds.
    An exception of the condition counts as «not yet»."""
    deadline = time.monotonic() + timeout
    last: object = None
    while time.monotonic() < deadline:
        try:
            value = condition()
            if value:
                return value
            last = value
        except Exception as error:
            last = error
        time.sleep(pause)
    raise AssertionError(f"within {timeout:g} s there was no {what}; last: {last!r}")
