"""Work is bounded: so many calls a character at the most, whatever the text. Counted, not timed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_bridge.privacy.redaction import Redactor
from otel_bridge.privacy.redaction.budget import CHARS_A_CHECK, FREE, Budget
from tests.harness.calls import calls
from tests.redaction.hostile import HOSTILE

REDACTOR = Redactor("on")
CALLS_A_CHARACTER = 40
CHARACTERS = 4_096


def calls_to_redact(text: str) -> int:
    """That each regular expression is linear is held by tests/unit/test_redaction.py."""
    return calls(lambda: REDACTOR.redact(text, {}))


def long(unit: str) -> str:
    return (unit * (CHARACTERS // len(unit) + 1))[:CHARACTERS]


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_texts_take_a_bounded_number_of_calls(unit: str) -> None:
    assert calls_to_redact(long(unit)) < CALLS_A_CHARACTER * CHARACTERS


@pytest.mark.parametrize(
    "unit", ["4111 ", "4111 1111 1111 1112 ", "20055361683 ", "12345678A ", "nginx 83.1.2.3 ", "1::2 "]
)
def test_what_costs_a_checksum_or_more_is_budgeted(monkeypatch: pytest.MonkeyPatch, unit: str) -> None:
    """Without the budget, each of these texts asks for one every few characters."""
    asked = 0
    spent = Budget.spent

    def counted(self: Budget) -> bool:
        nonlocal asked
        over = spent(self)
        asked += not over
        return over

    monkeypatch.setattr(Budget, "spent", counted)
    REDACTOR.redact(long(unit), {})
    assert 0 < asked <= FREE + CHARACTERS // CHARS_A_CHECK < CHARACTERS / 64


def test_without_the_budget_the_bound_would_be_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = long("20055361683 ")
    kept = calls_to_redact(text)
    monkeypatch.setattr(Budget, "spent", lambda self: False)
    assert calls_to_redact(text) > 3 * kept


PIECES = st.sampled_from(
    [*HOSTILE.values(), "1", " ", "-", ".", "+", "(", ")", "/", ":", "::", "@", "=", "e", "X", "dni ", "tel ", "ES91",
     "4111", "BOXW310820", "clave: ", "token=", "'", '"', "\n", "｜", "１", "\u0301"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=8).map("".join))
def test_no_worse_text_is_found_by_search(unit: str) -> None:
    assert calls_to_redact(long(unit)) < CALLS_A_CHARACTER * CHARACTERS


def test_a_cheap_text_ends_in_the_prefilter() -> None:
    assert calls_to_redact("¿Cómo configuro un pipeline con Docker?") < 12
