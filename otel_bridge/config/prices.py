"""Prices of models: those of a GPT's table, and the list that ships with the bridge."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

from otel_bridge.config import readers
from otel_bridge.config.diagnostics import Diagnostics

SHIPPED_PRICES = "shipped"
"""A GPT's `prices` that stands for the list."""
FILE = Path(__file__).parents[1] / "prices.toml"
OLD_MONTHS = 6
"""From this age on the list is told as old."""

_EXAMPLE = (
    "{input = 2.0, output = 10.0}, y cached = 0.1 donde la entrada en caché cueste menos; o "
    f'"{SHIPPED_PRICES}" para la lista que viene con otel-bridge'
)
_KEYS = {"input", "output", "cached"}
"""The keys of a price; `cached` is optional."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float
    cached: float | None = None
    """Of input that the provider's cache served; None: as of any other input, which is never less."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """The providers' list prices on one day."""

    read: date
    """When they were last compared with the source."""
    source: str
    models: Mapping[str, Price]

    def months(self, today: date) -> int:
        """How many whole months old it is; 0 where the clock is behind it."""
        months = (today.year - self.read.year) * 12 + today.month - self.read.month
        return max(0, months - (today.day < self.read.day))

    def age(self, today: date) -> str:
        """In words: `7 months old`."""
        months = self.months(today)
        return f"tiene {months} {'mes' if months == 1 else 'meses'}" if months else "es de este mes"


@cache
def shipped() -> PriceList:
    """The list that ships with the bridge."""
    table = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return PriceList(
        table["read"], table["source"], {model: Price(**price) for model, price in table["models"].items()}
    )


def read_prices(place: str, table: object, own_model: str, diagnostics: Diagnostics) -> Mapping[str, Price]:
    """By model: `prices = {input = 2.0, cached = 0.1, output = 10}` for the GPT's own model, one such table a model, or
    `prices = "shipped"`."""
    if table == SHIPPED_PRICES:
        return shipped().models
    if not isinstance(table, dict):
        diagnostics.wrong(place, table, _EXAMPLE)
        return {}
    if _KEYS & table.keys():
        table = {own_model: table}
    prices = {}
    dollars = readers.number(0, 1_000_000)
    for model, price in table.items():
        if not isinstance(price, dict) or not _KEYS - {"cached"} <= price.keys() <= _KEYS:
            diagnostics.wrong(place, price, _EXAMPLE)
            continue
        prices[model] = Price(
            diagnostics.read(f"{place}.input", dollars, price["input"], 0.0),
            diagnostics.read(f"{place}.output", dollars, price["output"], 0.0),
            diagnostics.read(f"{place}.cached", dollars, price["cached"], None) if "cached" in price else None,
        )
    return prices
