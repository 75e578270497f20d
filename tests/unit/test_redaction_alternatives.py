"""Alternatives grouped by their first letter match what they match in a row."""

import re

from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.privacy.redaction.alternatives import by_first_letter, by_rarest_letter

WORDS = ("passwords?", "pass", "clave(?! primaria)", "pw", "credential", "c[ou]ntra", "sig")


@given(st.text("paswordclvetinug prim", max_size=20) | st.sampled_from(["la clave primaria", "mi clave", "passwords"]))
def test_they_match_the_same_in_the_same_order(text: str) -> None:
    grouped, row = re.compile(by_first_letter(WORDS)), re.compile("|".join(WORDS))
    assert [match.span() for match in grouped.finditer(text)] == [match.span() for match in row.finditer(text)]


def test_each_begins_with_its_letter() -> None:
    assert by_first_letter(["pass", "clave", "pwd"]) == "p(?:ass|wd)|c(?:lave)"


LITERALS = ("clave", "pass", " -", "sig=", "('", '["', "imp ", "psk", "key", "ke")


@given(
    st.text("clavepsig=-('[\"km ", max_size=20)
    | st.lists(st.sampled_from((*LITERALS, "clav", "as", "s", " ")), max_size=6).map("".join)
)
def test_by_their_rarest_letters_they_are_found_where_one_of_them_stands(text: str) -> None:
    found = re.compile(by_rarest_letter(LITERALS)).search(text)
    assert (found is not None) == any(literal in text for literal in LITERALS)


def test_each_is_looked_for_by_its_rarest_letter() -> None:
    assert by_rarest_letter(["clave", "auth", "vault"]) == "(?:v(?:e(?<=clave)|ault)|h(?<=auth))"
