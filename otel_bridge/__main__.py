"""`python -m otel_bridge`."""

import sys

from otel_bridge.commands.cli import main

sys.exit(main())
