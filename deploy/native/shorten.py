"""The shipped files of Prometheus and Alertmanager, with every wait and window divided by one factor.

An alert waits minutes on purpose; a demonstration and a test cannot. What is divided: `for`, `interval`, the scrape and
evaluation intervals, range windows (`[5m]`), `offset`, and Alertmanager's group and repeat intervals. What is not:
expressions, thresholds, labels, routes, texts. A text that says «5m» goes on saying so.
"""

from __future__ import annotations

import re

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
_DURATION = r"\d+(?:ms|[smhdwy])"
_KEYS = (
    "for|keep_firing_for|interval|scrape_interval|scrape_timeout|evaluation_interval"
    "|group_wait|group_interval|repeat_interval"
)
_KEY = re.compile(rf"^(\s*(?:- )?(?:{_KEYS}): +)({_DURATION})\b", re.MULTILINE)
_WINDOW = re.compile(rf"\[({_DURATION})(?::({_DURATION})?)?\]")
_OFFSET = re.compile(rf"(\boffset -?)({_DURATION})")


def milliseconds(duration: str) -> int:
    match = re.fullmatch(r"(\d+)(\D+)", duration)
    assert match is not None
    return int(match[1]) * UNITS_MS[match[2]]


LEAST_MS = 1_000
"""As often as anything is scraped and evaluated."""
LEAST_WINDOW_MS = 5_000
"""A rate needs several samples in its window."""


def divide(duration: str, factor: float, least_ms: int = LEAST_MS) -> str:
    """`5m` by 10 is `30s`."""
    short = max(least_ms, round(milliseconds(duration) / factor))
    return f"{short // 1000}s" if short % 1000 == 0 else f"{short}ms"


def shorten(text: str, factor: float) -> str:
    """The file's text with every duration divided by `factor`; 1 leaves it as it is."""
    if factor == 1:
        return text

    def window(match: re.Match[str]) -> str:
        step = f":{divide(match[2], factor)}" if match[2] else ":" if ":" in match[0] else ""
        return f"[{divide(match[1], factor, LEAST_WINDOW_MS)}{step}]"

    text = _KEY.sub(lambda match: match[1] + divide(match[2], factor), text)
    text = _WINDOW.sub(window, text)
    return _OFFSET.sub(lambda match: match[1] + divide(match[2], factor), text)
