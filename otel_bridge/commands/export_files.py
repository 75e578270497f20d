"""What `otel-bridge export` writes: JSON lines, CSV or Parquet, a record at a time."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from typing import Any, BinaryIO, Protocol

import msgspec

from otel_bridge.errors import StartRefused

COLUMNS = {
    "registro": str,
    "momento": str,
    "gpt_id": str,
    "usuario_hash": str,
    "sesion_id": str,
    "id": str,
    "tipo": str,
    "contenido": str,
    "latency_ms": float,
    "tokens_entrada": int,
    "tokens_salida": int,
    "tokens_cache": int,
    "tokens_razonamiento": int,
    "ttft_ms": float,
    "modelo": str,
    "error": str,
    "version": str,
    "herramientas": str,
    "evento_id": str,
    "valor": float,
    "comentario": str,
    "trace_id": str,
}
"""Of a table, in this order in every release: new ones come at the end. `registro`: `sesion`, `evento`, `valoracion`;
`momento` is when it began, ended or was told; `herramientas` is JSON."""

_FORMULA = re.compile(r"[\t\r\n]|[\s\x00-\x1f\x7f-\x9f\u200b\ufeff]*[=+\-@＝＋－＠]").match
"""What a text begins with that a spreadsheet takes for a formula (OWASP, CSV injection): some step over what is not
seen, and take full-width signs, too."""
_ROWS_AT_ONCE = 10_000
"""Of a Parquet file's row group, at the most: what is in memory."""


class Rows(Protocol):
    """A file of some format. A row has the columns above, those alone that have a value."""

    def write(self, row: Mapping[str, Any]) -> None: ...

    def end(self) -> None:
        """All is written; the file itself is closed by who opened it."""


class JsonLines:
    """A line a record, of whatever fields it has."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._encode = msgspec.json.Encoder().encode

    def write(self, row: Mapping[str, Any]) -> None:
        self._file.write(self._encode(row) + b"\n")

    def end(self) -> None:
        pass


class Csv:
    """RFC 4180, UTF-8, with a line of names. A text that a spreadsheet would run as a formula gets an apostrophe before
    it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        self._writer = csv.writer(self._file)  # its line ends are RFC 4180's
        self._writer.writerow(COLUMNS)

    def write(self, row: Mapping[str, Any]) -> None:
        self._writer.writerow([_cell(row.get(name)) for name in COLUMNS])

    def end(self) -> None:
        self._file.detach()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and _FORMULA(value) else value


class Parquet:
    """Columns by type, compressed; `momento` is a timestamp in UTC."""

    def __init__(self, file: BinaryIO) -> None:
        """Raises StartRefused where pyarrow is not installed."""
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise StartRefused(
                "--format parquet: hace falta pyarrow. Instálalo: pip install 'otel-bridge[parquet]'. Sin él quedan "
                "jsonl y csv."
            ) from None
        types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
        fields = [(name, types[type_]) for name, type_ in COLUMNS.items()]
        self._arrow = pyarrow
        self._schema = pyarrow.schema([("momento", pyarrow.timestamp("us", "UTC")) if n == "momento" else (n, t)
                                       for n, t in fields])  # fmt: skip
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[Mapping[str, Any]] = []

    def write(self, row: Mapping[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._flush()

    def end(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(self._arrow.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []
