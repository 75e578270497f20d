"""`python -m grafana.boards` writes the dashboards; with `--check` it only says which are not as the code has them."""

from __future__ import annotations

import argparse
import sys

from grafana.boards import DASHBOARDS, files


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m grafana.boards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file is out of date")
    check: bool = parser.parse_args(arguments).check
    wanted = files()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    foreign = sorted(set(DASHBOARDS.glob("*.json")) - set(wanted))
    if check:
        for path in (*stale, *foreign):
            print(
                f"{path}: {'no board makes it' if path in foreign else 'out of date'}; run: make boards",
                file=sys.stderr,
            )
        return 1 if stale or foreign else 0
    DASHBOARDS.mkdir(exist_ok=True)
    for path in stale:
        path.write_text(wanted[path], "utf-8")
        print(f"written {path}")
    for path in foreign:
        path.unlink()
        print(f"removed {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
