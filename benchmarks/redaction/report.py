"""The tables of a run, as Markdown."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from benchmarks.redaction.corpus import Line
from benchmarks.redaction.finds import finds, is_true, redacted, reviewed
from benchmarks.redaction.planted import missed, plants

_SHOWN = 12
"""Examples of a kind in the tables; --list shows all."""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return "\n".join(
        ("| " + " | ".join(map(str, row)) + " |").replace("\n", "⏎")
        for row in [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    )


def false_finds(lines: Sequence[Line], everything: bool) -> str:
    """What no rule and no review calls true counts as false."""
    known = reviewed()
    found = [(find, line) for line in lines for find in finds(line.text)]
    wrong = [(find, line) for find, line in found if not is_true(find, known)]
    all_by_kind = Counter(find.kind for find, _ in found)
    wrong_by_kind = Counter(find.kind for find, _ in wrong)
    per = 1000 / len(lines)
    rows = [
        (kind, count, wrong_by_kind[kind], f"{wrong_by_kind[kind] * per:.2f}")
        for kind, count in all_by_kind.most_common()
    ]
    rows.append(("all", len(found), len(wrong), f"{len(wrong) * per:.2f}"))
    spanish = sum(line.spanish for line in lines)
    listed = _listed(((find.kind, find.text, f"{find.line}  ({line.source})") for find, line in wrong), everything)
    head = f"## False finds: {len(lines):,} lines, {spanish:,} of them in Spanish"
    return "\n\n".join((head, table(("kind", "finds", "false", "false per 1,000 lines"), rows), *listed))


def misses(lines: Sequence[Line], everything: bool) -> str:
    planted = plants(lines)
    lost = [plant for plant in planted if missed(plant)]
    groups = dict.fromkeys(_group(plant.kind) for plant in planted)
    all_by_kind = Counter(_group(plant.kind) for plant in planted)
    lost_by_kind = Counter(_group(plant.kind) for plant in lost)
    rows: list[Sequence[object]] = [(kind, all_by_kind[kind], lost_by_kind[kind]) for kind in groups]
    promised = [plant for plant in planted if plant.promised]
    rows.append(("all that is promised", len(promised), sum(plant.promised for plant in lost)))
    listed = _listed(((_group(plant.kind), plant.text, redacted(plant.line)) for plant in lost), everything)
    head = f"## Misses: {len(planted):,} planted"
    return "\n\n".join((head, table(("kind", "planted", "missed"), rows), *listed))


def _group(kind: str) -> str:
    """Countries and providers are told apart in the lists, not in the table."""
    if kind.startswith("password"):
        return kind
    if kind.startswith("phone"):
        return kind.rpartition(" (")[0]
    return kind.partition(",")[0]


def _listed(items: Iterable[tuple[str, str, str]], everything: bool) -> list[str]:
    by_kind: dict[str, dict[str, str]] = defaultdict(dict)
    for kind, text, line in items:
        by_kind[kind].setdefault(text, line)
    out = []
    for kind, texts in sorted(by_kind.items()):
        shown = list(texts.items())[: None if everything else _SHOWN]
        rest = len(texts) - len(shown)
        points = [f"- `{text}` in: {line}".replace("\n", "⏎") for text, line in shown]
        out.append("\n".join([f"{kind}:", "", *points, *([f"- and {rest} more (--list)"] if rest else [])]))
    return out


def cost(lines: Sequence[Line]) -> str:
    """Microseconds a line, the best of three: what the machine does meanwhile is not meant."""
    took = []
    for line in lines:
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            redacted(line.text)
            best = min(best, time.perf_counter() - start)
        took.append(best * 1e6)
    took.sort()
    row = (
        f"{len(took):,}",
        *(f"{value:.1f}" for value in (took[len(took) // 2], took[len(took) * 99 // 100], took[-1])),
    )
    return "## Microseconds a line\n\n" + table(("lines", "median", "p99", "max"), [row])


def figures(lines: Sequence[Line]) -> list[tuple[str, str, str]]:
    """The rows of `python -m benchmarks`: what, figure, note."""
    known = reviewed()
    wrong = sum(not is_true(find, known) for line in lines for find in finds(line.text))
    promised = [plant for plant in plants(lines) if plant.promised]
    lost = sum(map(missed, promised))
    spanish = sum(line.spanish for line in lines)
    return [
        (
            "redaction, false finds per 1,000 lines (wanted < 0.5)",
            f"{wrong * 1000 / len(lines):.2f}",
            f"{wrong} in {len(lines):,} lines of DevOps text, {spanish:,} of them Spanish",
        ),
        ("redaction, misses of planted data (wanted 0)", str(lost), f"of {len(promised):,}"),
    ]
