"""`python -m otel_bridge`, and the command `otel-bridge`."""

import sys

from otel_bridge import signals


def main() -> int:
    """Runs one command; returns the exit code."""
    serves = sys.argv[1:2] == ["serve"]
    if serves:
        signals.hold()  # before the imports, which take longer than all the rest
    from otel_bridge.commands import cli

    if serves:
        cli.begin_log(sys.argv[1:])
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
