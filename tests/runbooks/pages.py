"""What a runbook page asks its reader to run: every fenced block and every command among its words."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "runbooks"
PLACES = FOLDER / "README.md"
"""Where each command's place is: prefixes, the service, files."""
PAGES = sorted(path for path in FOLDER.glob("*.md") if path != PLACES)

_FENCE = re.compile(r"^[ ]*```(\w*)\n(.*?)^[ ]*```[ ]*$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`]+)`")
_SQL = re.compile(r"(?:SELECT|SHOW|VACUUM|ALTER|DROP|INSERT|UPDATE|DELETE)\b")

BESIDE_THE_BRIDGE = {"otel-bridge", "ls", "df"}
BESIDE_PROMETHEUS = {"promtool"}
BESIDE_ALERTMANAGER = {"amtool"}
ON_THE_MACHINE = {"timedatectl", "chronyc", "dmesg", "smartctl", "sqlite3"}
"""They set or read the machine itself, or must be brought along: none is in an image."""
PREFIXES = {"docker", "docker-compose", "kubectl", "systemctl", "journalctl", "sudo"}
"""They belong to one place: README.md has them all."""
PROGRAMS = BESIDE_THE_BRIDGE | BESIDE_PROMETHEUS | BESIDE_ALERTMANAGER | ON_THE_MACHINE | PREFIXES

SAID = {
    "b. exportados": "a row of `journal status --space`",
    "b. pendientes": "a row of it",
    "b. del resto": "a row of it",
    "volvió atrás": "a row of `journal status`",
    "más antiguo": "a row of it",
    "(se vacía)": "a mark of it",
    "pendientes": "a row of it",
    "ilegibles": "a row of it",
    "servidor": "a row of it",
    "encargada": "a row of it",
    "libre": "a turn in it",
    "terminado": "a turn in it",
    "entregados": "words of `journal replay`",
    "apartados otra vez": "words of it",
    "aún no": "words of it",
}
"""What commands print, in their words (`test_what_commands_are_quoted_with_is_what_they_print`) → where."""
WRITTEN = {
    "ANY 1 (a, b)": "a value of synchronous_standby_names",
    "TRACE_TOO_LARGE … trace=…": "words of Tempo's log",
    "causa: parte": "a label of an alert",
    "ventana: 1h": "a label of an alert",
    "kill -9": "what not to do",
    "--grant ROL": "an option of the command before it",
    "--wait 60": "an option of the command before it",
    "sed -i": "an editor that does harm",
    "psql -U otel_bridge -d otel_bridge": "the names of docker-compose.scale.yml",
    "helm upgrade": "how an environment is changed",
}
"""What else has a blank in it and is no command → what it is."""
OF_OTHERS = {
    "disk I/O error": "SQLite",
    "SQL logic error": "SQLite",
    "sending queue is full": "a Collector",
    "data refused due to high memory usage": "a Collector",
    "connection refused": "PostgreSQL, and libpq",
    "server closed the connection": "PostgreSQL, and libpq",
    "starting up": "PostgreSQL, and libpq",
    "read-only transaction": "PostgreSQL, and libpq",
    "too many clients": "PostgreSQL, and libpq",
    "remaining connection slots": "PostgreSQL, and libpq",
    "No space left on device": "PostgreSQL, and libpq",
    "not accepting commands … wraparound": "PostgreSQL, and libpq",
    "does not exist": "PostgreSQL, and libpq",
    "permission denied": "PostgreSQL, and libpq",
    "Notify for alerts failed": "Alertmanager",
}
"""Quoted words of other programs → whose."""
_NAME = re.compile(r"[^\s|;&$<>()'{}]+")
"""One word: a setting, a label's value, a file, a series."""


class Unknown(Exception):
    """Something of a page that might be a command, and that nothing here runs."""


@dataclass(frozen=True)
class Item:
    """One thing to run. `kind`: sh, promql, traceql, sql."""

    kind: str
    text: str

    @property
    def program(self) -> str:
        return self.text.split()[0]


def printed(*folders: str) -> str:
    """The texts in the bridge's code, without its docstrings: what it can print."""
    found = []
    for path in sorted(path for folder in folders for path in (ROOT / "otel_bridge" / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found += [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
        ]
    return "\n".join(found)


def items(markdown: str) -> list[Item]:
    """In the page's order, each once. Raises Unknown."""
    found = []
    for match in re.finditer(rf"{_FENCE.pattern}|{_INLINE.pattern}", markdown, _FENCE.flags):
        language, block, inline = match.groups()
        if inline is not None:
            found += _inline(" ".join(inline.split()))
        elif language == "sh":
            found += [_command(line.strip()) for line in block.splitlines() if line.strip()]
        elif language == "sql":
            found += [Item("sql", statement.strip()) for statement in block.split(";") if statement.strip()]
        elif language in ("promql", "traceql"):
            found.append(Item(language, " ".join(block.split())))
        else:
            raise Unknown(f"a block of {language or 'no language'}: {block.strip()[:80]}")
    return list(dict.fromkeys(found))


def _command(line: str) -> Item:
    command = re.sub(r"\s+#.*", "", line)
    if command.split()[0] not in PROGRAMS:
        raise Unknown(f"a program that no place is known for: {line}")
    return Item("sh", command)


def _inline(text: str) -> list[Item]:
    word = text.split()[0]
    if _SQL.match(text) and " " in text:
        return [Item("sql", text)]
    if word in PROGRAMS and (" " in text or word in ON_THE_MACHINE):
        return [_command(text)]
    if text in SAID or text in WRITTEN or _NAME.fullmatch(text):
        return []
    raise Unknown(f"a command, a query or only words? {text}")
