"""A wall clock of its own for a program, by libfaketime; its steady clock goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

_LIBRARIES = (
    *Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"),
    *Path("/usr/lib").glob("faketime/libfaketimeMT*"),
)


def faked_clock(**settings: str) -> dict[str, str]:
    """The environment of such a program. `settings`: libfaketime's own, such as FAKETIME="+10s" (faketime(1)). Not by
    its command: that refuses to start where one of the same process id was killed at some time. Skips the test where it
    is not installed."""
    if not _LIBRARIES:
        pytest.skip("libfaketime is not installed: apt-get install faketime")
    return {
        "LD_PRELOAD": str(_LIBRARIES[0]), "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", **settings
    }  # fmt: skip
