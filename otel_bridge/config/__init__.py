"""The configuration: settings, the registry of GPTs, the OTLP endpoint. The only reader of the environment.

One TOML file; every setting also as an `OTEL_BRIDGE_…` variable, which wins, and some as an argument, which wins over
both. What concerns export follows the standard `OTEL_*` variables. Everything that is wrong stops the start, and all
of it is told at once: the key, the value found and what was expected (`StartRefused`).
"""

from otel_bridge.config.diagnostics import Diagnostics
from otel_bridge.config.gpts import GPT_ID, UNKNOWN, Gpt
from otel_bridge.config.limit_storage import LIMITS_IN_MEMORY
from otel_bridge.config.loading import DEFAULT_FILE, SHIPPED, load, log_format, read
from otel_bridge.config.otlp import Otlp, Push, Signal
from otel_bridge.config.prices import Price, shipped
from otel_bridge.config.proxies import VARIABLES as PROXY_VARIABLES
from otel_bridge.config.rates import NO_LIMIT, Rate
from otel_bridge.config.settings import REGIONS, SETTINGS, Config, Setting

__all__ = [
    "DEFAULT_FILE",
    "GPT_ID",
    "LIMITS_IN_MEMORY",
    "NO_LIMIT",
    "PROXY_VARIABLES",
    "REGIONS",
    "SETTINGS",
    "SHIPPED",
    "UNKNOWN",
    "Config",
    "Diagnostics",
    "Gpt",
    "Otlp",
    "Price",
    "Push",
    "Rate",
    "Setting",
    "Signal",
    "load",
    "log_format",
    "read",
    "shipped",
]
