"""Alternatives grouped by their first letter match what they match in a row."""

import re

from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.privacy.redaction.alternatives import by_first_letter

WORDS = ("passwords?", "pass", "clave(?! primaria)", "pw", "credential", "c[ou]ntra", "sig")


@given(st.text("paswordclvetinug prim", max_size=20) | st.sampled_from(["la clave primaria", "mi clave", "passwords"]))
def test_they_match_the_same_in_the_same_order(text: str) -> None:
    grouped, row = re.compile(by_first_letter(WORDS)), re.compile("|".join(WORDS))
    assert [match.span() for match in grouped.finditer(text)] == [match.span() for match in row.finditer(text)]


def test_each_begins_with_its_letter() -> None:
    assert by_first_letter(["pass", "clave", "pwd"]) == "p(?:ass|wd)|c(?:lave)"
