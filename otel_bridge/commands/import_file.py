"""The file that an import reads, line by line."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from otel_bridge.contract import MAX_OBJECT_BYTES
from otel_bridge.errors import StartRefused, of_system


class Line(NamedTuple):
    number: int
    text: bytes


class Source:
    """The lines of a file or of standard input, numbered from 1; gzip is recognised by how it begins."""

    def __init__(self, name: str) -> None:
        """Raises StartRefused."""
        self.size: int | None = None
        try:
            self._raw = io.BufferedReader(io.FileIO(0 if name == "-" else name, closefd=name != "-"))
            packed = self._raw.peek(2)[:2] == b"\x1f\x8b"
            if name != "-":
                self.size = os.fstat(self._raw.fileno()).st_size or None
        except OSError as error:
            raise StartRefused(f"{name}: no se puede leer{of_system(error)}") from None
        self._lines = gzip.GzipFile(fileobj=self._raw) if packed else self._raw
        self.read = 0
        """Bytes of what was read, unpacked."""
        self.damaged = False
        self._packed = packed

    def lines(self) -> Iterator[Line]:
        """Whole ones, up to the end or to where the file is `damaged`. Of a line that is longer than any record may be,
        the beginning alone."""
        number = 0
        while text := self._part():
            number += 1
            rest = text
            while not rest.endswith(b"\n") and len(rest) > MAX_OBJECT_BYTES:
                rest = self._part()
            if self.damaged:
                return
            yield Line(number, text)

    def _part(self) -> bytes:
        try:
            text = self._lines.readline(MAX_OBJECT_BYTES + 2)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            self.damaged = True
            return b""
        self.read += len(text)
        return text

    @property
    def share(self) -> float | None:
        """How much of it is read; None: nobody knows."""
        if self.size is None:
            return None
        return min(1.0, (self._raw.tell() if self._packed else self.read) / self.size)

    def close(self) -> None:
        self._raw.close()
