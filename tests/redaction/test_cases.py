"""Texts from public fault reports, and what is right: what stays whole, and what is gone."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from otel_bridge.privacy.redaction import Redactor

REDACTOR = Redactor("on")
FILE = Path(__file__).with_name("cases.jsonl")
CASES = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines() if line]
STAYS = [case["contenido"] for case in CASES if "debe_quedar" in case]
GOES = [(case["contenido"], case["debe_desaparecer"]) for case in CASES if "debe_desaparecer" in case]


@pytest.mark.parametrize("text", STAYS)
def test_what_names_no_one_stays(text: str) -> None:
    assert REDACTOR.redact(text, {}) == text


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(("text", "secret"), GOES)
def test_what_is_personal_goes(text: str, secret: str, form: str) -> None:
    redacted = REDACTOR.redact(unicodedata.normalize(form, text), {})
    assert redacted is not None
    assert secret not in unicodedata.normalize("NFC", redacted)
