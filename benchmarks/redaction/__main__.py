"""How often redaction is wrong, as two tables: false finds in real DevOps text, misses of planted personal data.

The text is what packages of Debian ship (manuals, examples, configurations, changelogs; a third in Spanish): fetched
with apt, unpacked in --cache, not installed. The choice of lines is the same each time for the same versions. What is
planted is drawn from a fixed seed and belongs to no one.

examples:
  python -m benchmarks.redaction                 both tables, with a few examples of each kind
  python -m benchmarks.redaction --list          with all of them
  python -m benchmarks.redaction --only misses   one of the tables
  python -m benchmarks.redaction --list --write  into benchmarks/REDACTION.md as well
  python -m benchmarks.redaction --whole --only false --list   all 700,000 lines, for what to mend; finds not reviewed
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.redaction import report
from benchmarks.redaction.corpus import corpus
from benchmarks.redaction.packages import NoApt

CACHE = Path(__file__).resolve().parents[2] / ".run" / "redaction"
RESULT = Path(__file__).resolve().parents[1] / "REDACTION.md"
HEAD = """# Redaction: what it finds falsely, and what it misses

Written by `python -m benchmarks.redaction --list --write`. The text is what Debian's packages ship; what is planted in
it is made up, from a fixed seed. What a find is judged by: `benchmarks/redaction/finds.py`.
"""
PARTS = ("false", "misses", "cost")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.redaction", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--list", action="store_true", help="every false find and every miss")
    parser.add_argument("--whole", action="store_true", help="every line of the packages, not the sample")
    parser.add_argument("--write", action="store_true", help="write benchmarks/REDACTION.md, too")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where packages are kept (default: .run/redaction)")
    arguments = parser.parse_args()
    try:
        lines = corpus(arguments.cache, arguments.whole)
    except NoApt as why:
        print(f"no corpus: {why}", file=sys.stderr)
        return 1
    parts = []
    if "false" in arguments.only:
        parts.append(report.false_finds(lines, arguments.list))
    if "misses" in arguments.only:
        parts.append(report.misses(lines, arguments.list))
    if "cost" in arguments.only:
        parts.append(report.cost(lines))
    text = "\n\n".join(parts)
    print(text)
    if arguments.write:
        RESULT.write_text(f"{HEAD}\n{text}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
