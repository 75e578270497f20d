"""Documents, cards and accounts as people, programs and tables write them; and the ids that only look like one."""

from __future__ import annotations

import pytest

from otel_bridge.privacy.redaction import Redactor

FOUND = {
    "ana,12345678Z,ES": "ana,[documento],ES",
    "/clientes/12345678Z/pedidos": "/clientes/[documento]/pedidos",
    "user=12345678Z": "user=[documento]",
    "CNPJ 11.222.333/0001-81": "CNPJ [documento]",
    "DNI peruano: 45678912": "DNI peruano: [documento]",
    "DNI (Perú) 45678912": "DNI (Perú) [documento]",
    "pasaporte AAB123456": "pasaporte [documento]",
    "cédula V12345678": "cédula [documento]",
    "DNI 12345678 612345678": "DNI [documento] [telefono]",
    "DNI 12.345.678 612 345 678": "DNI [documento] [telefono]",
    "20123456786,111.444.777-35": "[documento],[documento]",
    "12345678-5/4111111111111111": "[documento]/[tarjeta]",
    "20123456786/612345678": "[documento]/[telefono]",
    "CBU 2850590940090418135201": "CBU [iban]",
    "clabe=032180000118359719": "clabe=[iban]",
    "tarjeta 4111111111111111": "tarjeta [tarjeta]",
    "pedido 4111111111111111": "pedido [tarjeta]",
}
NONE = [
    "offset 4111111111111111",
    "build 4111111111111111",
    "job 5105105105105100",
    "lsn 4111111111111111",
    "seed 4111111111111111",
    "duration 4111111111111111",
    "container 4111111111111111",
    "trace_id=41111111111111111111111111111111",
    "arn:aws:lambda:eu-west-1:411111111111:function:foo",
    "0.250750683890174 y 0.4111111111111111",
    "commit 12345678f",
]


@pytest.mark.parametrize(("text", "expected"), FOUND.items())
def test_a_document_a_card_or_an_account_goes_whole(text: str, expected: str) -> None:
    assert Redactor("on").redact(text, {}) == expected


@pytest.mark.parametrize("text", NONE)
def test_an_id_stays(text: str) -> None:
    assert Redactor("on").redact(text, {}) == text


def test_a_bare_card_goes_although_another_number_follows() -> None:
    text = "pagué con 4111111111111111 55 1234 5678"
    assert "4111" not in (Redactor("on").redact(text, {}) or "")
