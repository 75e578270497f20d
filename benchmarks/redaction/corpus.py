"""A few thousand lines of real DevOps text, none of it personal, the same ones each time."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.redaction.packages import unpacked
from benchmarks.redaction.reading import lines_of
from benchmarks.redaction.sources import SOURCES, Source

SEED = 20240229
_LETTER = re.compile(r"[^\W\d_]{2}")


class Line(NamedTuple):
    text: str
    source: str
    """Package and version."""
    spanish: bool


def corpus(cache: Path, whole: bool = False) -> list[Line]:
    """The chosen lines, or all there are. They change only with the versions of the packages."""
    found = unpacked(sorted({source.package for source in SOURCES}), cache)
    seen: set[str] = set()
    chosen: list[Line] = []
    for index, source in enumerate(SOURCES):
        version, folder = found[source.package]
        lines = [line for line in dict.fromkeys(_lines(source, folder)) if line not in seen]
        seen.update(lines)
        if not whole:
            lines = random.Random(SEED + index).sample(lines, min(source.lines, len(lines)))
        chosen += [Line(line, f"{source.package} {version}", source.spanish) for line in lines]
    return chosen


def _lines(source: Source, folder: Path) -> Iterator[str]:
    for path in _files(source, folder):
        for line in lines_of(path):
            line = line.strip()
            if 20 <= len(line) <= 400 and _LETTER.search(line) and "\ufffd" not in line:
                yield line


def _files(source: Source, folder: Path) -> list[Path]:
    paths = {path for glob in source.globs for one in _braces(glob) for path in folder.glob(one)}
    return sorted(path for path in paths if path.is_file() and not path.is_symlink())


def _braces(glob: str) -> Iterator[str]:
    """`{a,b}/c` as `a/c` and `b/c`."""
    match = re.search(r"\{([^{}]*)\}", glob)
    if match is None:
        yield glob
        return
    for choice in match[1].split(","):
        yield from _braces(glob[: match.start()] + choice + glob[match.end() :])
