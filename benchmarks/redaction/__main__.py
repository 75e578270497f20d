"""How often redaction is wrong, as two tables: false finds in real DevOps text, misses of planted personal data.

The text is what packages of Debian ship (manuals, examples, configurations, changelogs; a third in Spanish): fetched
with apt, unpacked in --cache, not installed. The choice of lines is the same each time for the same versions. What is
planted is drawn from a fixed seed and belongs to no one.

examples:
  python -m benchmarks.redaction                 both tables, with a few examples of each kind
  python -m benchmarks.redaction --list          with all of them
  python -m benchmarks.redaction --only misses   one of the tables
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
PARTS = ("false", "misses", "cost")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.redaction", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--list", action="store_true", help="every false find and every miss")
    parser.add_argument("--whole", action="store_true", help="every line of the packages, not the sample")
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
    print("\n\n".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
