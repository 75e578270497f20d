"""How far an import has come, noted beside its file, and the report of what was refused."""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from otel_bridge.commands.api import shown_url
from otel_bridge.errors import StartRefused


class Refused(NamedTuple):
    number: int
    problem: dict[str, Any]
    """`application/problem+json`: it repeats nothing that the line says."""


class Notes:
    """How far an import has come, in a file beside what is imported: the lines that are done, what they hash to, and
    what became of them. Also the report, which is as far."""

    def __init__(self, arguments: argparse.Namespace, url: str) -> None:
        """Raises StartRefused."""
        name = arguments.progress or (None if arguments.file == "-" else f"{arguments.file}.progreso")
        self._path = None if name is None else Path(name)
        self._url = shown_url(url)  # a login stays out of the file
        self.lines = 0
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.conflicts: set[str] = set()
        """Sessions that the bridge has otherwise: what names them here is not theirs."""
        self.events: set[str] = set()
        """Events that are refused for that, or that the bridge has otherwise."""
        self._digest = ""
        report_bytes = 0
        if self._path is not None and not arguments.restart:
            report_bytes = self._load()
        self._report: BinaryIO | None = None
        if arguments.report is not None:
            try:
                self._report = os.fdopen(os.open(arguments.report, os.O_CREAT | os.O_RDWR, 0o600), "r+b")
                self._report.truncate(min(report_bytes, os.fstat(self._report.fileno()).st_size))
                self._report.seek(0, os.SEEK_END)
            except OSError as error:
                raise StartRefused(f"--report {arguments.report}: no se puede escribir: {error.strerror}") from None

    def _load(self) -> int:
        """Bytes of the report that stand. Raises StartRefused."""
        assert self._path is not None
        try:
            noted = json.loads(self._path.read_bytes())
            url, report_bytes = str(noted["url"]), int(noted["informe"])
            self.lines, self._digest = int(noted["lineas"]), str(noted["resumen"])
            self.counts.update(noted["cuentas"])
            self.reasons.update(noted["motivos"])
            self.conflicts.update(noted["conflictos"])
            self.events.update(noted["eventos"])
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError):
            raise StartRefused(
                f"{self._path}: no es lo que anota una importación. Añade --restart para empezar por la primera línea, "
                "o nombra otro con --progress."
            ) from None
        if url != self._url:
            raise StartRefused(
                f"{self._path}: lo anotado es de otro puente ({url}), y este es {self._url}. Nombra otro archivo con "
                "--progress para no perderlo, o añade --restart para empezar por la primera línea."
            )
        return report_bytes

    @property
    def refused(self) -> int:
        return self.counts["rechazadas"]

    @property
    def resumes(self) -> str:
        if self._path is None:
            return "lo que ya se tomó se reconoce durante 24 horas y no cuenta dos veces"
        if not self.lines:
            return "empieza por la primera línea, y lo que ya se tomó se reconoce"
        return f"sigue tras la línea {self.lines}, que anota {self._path}"

    def fits(self, digest: str) -> bool:
        """Whether the lines that are done are those that were."""
        return digest == self._digest

    def refuse(self, refused: Refused) -> None:
        problem = refused.problem
        self.counts["rechazadas"] += 1
        self.reasons[reason_of(problem)] += 1
        if self._report is not None:
            self._report.write(msgspec.json.encode({"linea": refused.number, **problem}) + b"\n")

    def done(self, lines: int, digest: str) -> None:
        """A chunk is done up to this line. Raises OSError."""
        self.lines, self._digest = lines, digest
        size = 0
        if self._report is not None:
            self._report.flush()
            size = self._report.tell()
        if self._path is None:
            return
        noted = {
            "url": self._url,
            "lineas": lines,
            "resumen": digest,
            "cuentas": self.counts,
            "motivos": self.reasons,
            "conflictos": sorted(self.conflicts),
            "eventos": sorted(self.events),
            "informe": size,
        }
        part = self._path.with_name(f"{self._path.name}.part")
        part.write_bytes(json.dumps(noted, ensure_ascii=False).encode())
        part.replace(self._path)

    def close(self) -> None:
        if self._report is not None:
            self._report.close()


def reason_of(problem: dict[str, Any]) -> str:
    """A problem's id, and the fields that are wrong."""
    fields = ", ".join(error["campo"] for error in problem.get("errors", ()) if error["campo"])
    slug = str(problem["type"]).rpartition(":")[2]
    return f"{slug} ({fields})" if fields else slug
