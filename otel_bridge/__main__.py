"""`python -m otel_bridge`."""

import sys

from otel_bridge.cli import main

sys.exit(main())
