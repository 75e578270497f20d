"""The list of prices that ships with the bridge: who takes it, and how its age is told."""

from __future__ import annotations

import argparse
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from otel_bridge import clock, config
from otel_bridge.commands import check
from otel_bridge.config import Config, Price, prices
from otel_bridge.errors import StartRefused

LISTED = "[gpts.a]\nmodel = 'gpt-6.2-sol'\nprices = 'shipped'\n"
OWN = "[gpts.a]\nmodel = 'gpt-6.2-sol'\nprices = {input = 1, output = 2}\n"


def read(tmp_path: Path, text: str) -> tuple[Config, list[str]]:
    file = tmp_path / "otel-bridge.toml"
    file.write_text(text, encoding="utf-8")
    loaded, diagnostics = config.read(str(file), {})
    diagnostics.refuse()
    return loaded, diagnostics.warnings


def set_today(monkeypatch: pytest.MonkeyPatch, today: date) -> None:
    at = datetime(today.year, today.month, today.day, 12, tzinfo=UTC)
    monkeypatch.setattr(clock, "now_us", lambda: int(at.timestamp() * 1e6))


def test_a_gpt_takes_the_shipped_prices_of_every_model_by_one_word(tmp_path: Path) -> None:
    loaded, _ = read(tmp_path, LISTED)
    assert loaded.gpts["a"].takes_shipped_prices()
    assert loaded.gpts["a"].prices == config.shipped().models
    assert loaded.gpts["a"].prices["gpt-6-luna"] == Price(0.1, 0.5, 0.01)


def test_prices_of_ones_own_win_whole(tmp_path: Path) -> None:
    loaded, _ = read(tmp_path, OWN)
    assert not loaded.gpts["a"].takes_shipped_prices()
    assert loaded.gpts["a"].prices == {"gpt-6.2-sol": Price(1, 2)}


def test_the_list_is_read_by_the_rules_of_a_gpts_own_prices(tmp_path: Path) -> None:
    table = tomllib.loads(prices.FILE.read_text(encoding="utf-8"))
    written = "[gpts.a.prices]\n" + "".join(
        f"'{model}' = {{ {', '.join(f'{key} = {value}' for key, value in price.items())} }}\n"
        for model, price in table["models"].items()
    )
    loaded, _ = read(tmp_path, written)
    assert loaded.gpts["a"].prices == config.shipped().models
    for price in config.shipped().models.values():
        assert price.cached is not None and price.cached < price.input < price.output


def test_the_shipped_configuration_takes_the_list_and_its_model_is_in_it() -> None:
    loaded, diagnostics = config.read(str(config.SHIPPED), {})
    (gpt,) = loaded.gpts.values()
    assert gpt.takes_shipped_prices() and gpt.model in gpt.prices
    assert not [line for line in diagnostics.warnings if "no hay precio de" in line]


@pytest.mark.parametrize(
    ("today", "months"),
    [
        ("2026-11-27", 0), ("2026-12-26", 0), ("2026-12-27", 1), ("2027-01-01", 1), ("2027-05-26", 5),
        ("2027-05-27", 6), ("2028-11-27", 24), ("2026-11-01", 0), ("2020-01-01", 0),
    ],
)  # fmt: skip
def test_its_age_is_in_whole_months_and_never_negative(today: str, months: int) -> None:
    one = prices.PriceList(date(2026, 11, 27), "https://example.com", {})
    assert one.months(date.fromisoformat(today)) == months


@pytest.mark.parametrize(("months", "warned"), [(0, False), (5, False), (6, True), (7, True)])
def test_an_old_list_is_a_warning_to_those_who_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, months: int, warned: bool
) -> None:
    day = config.shipped().read
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    set_today(monkeypatch, date(year, month + 1, min(day.day, 28)))
    _, said = read(tmp_path, LISTED)
    age = [line for line in said if "gpts.a.prices: la lista incluida" in line]
    assert bool(age) is warned, said
    if warned:
        assert f"tiene {months} meses (leída el {day})" in age[0] and config.shipped().source in age[0]
    assert read(tmp_path, OWN)[1] == []


def test_check_says_how_old_the_list_is_and_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    day = config.shipped().read
    for name in ("OTEL_BRIDGE_CONFIG", "OTEL_BRIDGE_JOURNAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "otel-bridge.toml").write_text(f"{LISTED}[gpts.b]\nprices = {{input = 1, output = 2}}\n")
    for today, words in ((day, "es de este mes"), (date(day.year + 1, day.month, day.day), "tiene 12 meses")):
        set_today(monkeypatch, today)
        assert check.run(argparse.Namespace(config="otel-bridge.toml")) == 0
        assert f"precios de a: la lista incluida, leída el {day} ({words})" in capsys.readouterr().out.splitlines()


def test_a_misspelt_word_is_told_with_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(StartRefused) as refused:
        read(tmp_path, LISTED.replace("'shipped'", "'shiped'"))
    assert "gpts.a.prices: se encontró 'shiped', se esperaba {input = 2.0" in str(refused.value)
    assert 'o "shipped" para la lista que viene con otel-bridge' in str(refused.value)
