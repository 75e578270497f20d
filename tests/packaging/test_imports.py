"""What is imported is asked for by name in pyproject.toml: another package that brings it along may stop doing so."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TOGETHER = {
    "opentelemetry-exporter-otlp-proto-grpc": "opentelemetry-exporter-otlp",
    "opentelemetry-exporter-otlp-proto-http": "opentelemetry-exporter-otlp",
}
"""Parts of a package that is nothing but these, in the same version."""
OURS = {"otel_bridge", "otel_bridge_client", "tests", "benchmarks", "grafana", "deploy", "prometheus_files"}
OF_ANOTHER_LOCK = {"langchain_core", "langchain_openai", "litellm", "scenarios"}
"""tests/integrations/requirements.in"""
OF_THE_INTERPRETER = {"pip"}
ELSEWHERE = ROOT / "tests/clients/sdk"
"""Run with releases of the SDKs that no lock of ours has."""


def imported(*folders: str) -> Iterator[tuple[str, Path]]:
    """Each module that a file imports, wherever in it, and the file."""
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*.py")):
            if ELSEWHERE in file.parents:
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    yield from ((alias.name, file) for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
                    yield node.module, file
                    yield from ((f"{node.module}.{alias.name}", file) for alias in node.names)


def owners() -> dict[str, set[str]]:
    """Which distribution has a module's file, by the module's whole name; a namespace (`google`) has many."""
    found: dict[str, set[str]] = {}
    for distribution in distributions():
        name = canonicalize_name(distribution.metadata["Name"])
        for file in distribution.files or ():
            if file.suffix not in (".py", ".so", ".pyd") or ".." in file.parts:
                continue
            parts = [*file.parts[:-1], file.name.partition(".")[0]]
            if parts[-1] == "__init__":
                parts.pop()
            found.setdefault(".".join(parts), set()).add(name)
    return found


def undeclared(requirements: list[str], *folders: str) -> list[str]:
    asked = {canonicalize_name(Requirement(text).name) for text in requirements}
    owned, wrong = owners(), []
    for module, file in imported(*folders):
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top in OURS | OF_ANOTHER_LOCK | OF_THE_INTERPRETER:
            continue
        if module not in owned and module.rpartition(".")[0] in owned:
            continue  # a name in a module, which is looked at itself
        having = {TOGETHER.get(name, name) for name in owned.get(module, set())}
        if not having & asked:
            wrong.append(f"{file.relative_to(ROOT)}: {module} ({', '.join(sorted(having)) or 'not installed'})")
    return wrong


def plain() -> list[str]:
    return list(PROJECT["project"]["dependencies"])


def with_extras() -> list[str]:
    return plain() + [text for extra in PROJECT["project"]["optional-dependencies"].values() for text in extra]


def test_what_the_package_imports_is_declared() -> None:
    assert undeclared(with_extras(), "otel_bridge") == []


def test_what_tests_boards_and_measurements_import_is_declared() -> None:
    everything = with_extras() + PROJECT["dependency-groups"]["dev"]
    assert undeclared(everything, "tests", "benchmarks", "grafana", "deploy", "clients/python") == []


def test_what_is_imported_for_an_extra_stands_where_it_is_looked_for() -> None:
    """Without its extra the rest is imported all the same; tests/packaging/test_extras.py runs it."""
    found = {entry.split(":")[0].removeprefix("otel_bridge/") for entry in undeclared(plain(), "otel_bridge")}
    lazy = {"access/redis.py", "access/tokens.py", "access/keyset.py", "commands/export_files.py"}
    lazy |= {f"mcp/{name}.py" for name in ("messages", "tool", "tools", "transport")}
    assert {name for name in found if not name.startswith("journal/postgres/")} == lazy


def test_it_sees_what_is_not_declared() -> None:
    asked = [text for text in with_extras() if not text.startswith(("grpcio", "googleapis", "mcp-types"))]
    found = " ".join(undeclared(asked, "otel_bridge"))
    assert "grpc (grpcio)" in found
    assert "google.rpc.status_pb2 (googleapis-common-protos)" in found
    assert "mcp_types (mcp-types)" in found
