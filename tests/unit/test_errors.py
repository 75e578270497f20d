"""The table of errors: permanent ids, Spanish texts, one document shape."""

from __future__ import annotations

import json
import re

import msgspec
import pytest

from otel_bridge import errors
from otel_bridge.contract import ProblemOut
from otel_bridge.errors import FieldError, Problem

# What senders, boards and alerts rely on. A row may be added; a change of one breaks somebody's label or link.
PERMANENT = {
    "urn:otel-bridge:json-malformado": 400,
    "urn:otel-bridge:gzip-malformado": 400,
    "urn:otel-bridge:cabecera-invalida": 400,
    "urn:otel-bridge:clave-ausente-o-incorrecta": 401,
    "urn:otel-bridge:clave-de-otro-gpt": 403,
    "urn:otel-bridge:gpt-no-encontrado": 404,
    "urn:otel-bridge:sesion-no-encontrada": 404,
    "urn:otel-bridge:ruta-no-encontrada": 404,
    "urn:otel-bridge:metodo-no-permitido": 405,
    "urn:otel-bridge:respuesta-no-aceptable": 406,
    "urn:otel-bridge:tiempo-de-envio-agotado": 408,
    "urn:otel-bridge:id-en-conflicto": 409,
    "urn:otel-bridge:cuerpo-demasiado-grande": 413,
    "urn:otel-bridge:tipo-no-admitido": 415,
    "urn:otel-bridge:datos-invalidos": 422,
    "urn:otel-bridge:limite-excedido": 429,
    "urn:otel-bridge:error-del-servidor": 500,
    "urn:otel-bridge:cola-llena": 503,
    "urn:otel-bridge:disco-lleno": 503,
    "urn:otel-bridge:diario-no-disponible": 503,
    "urn:otel-bridge:resultado-desconocido": 503,
    "urn:otel-bridge:servicio-deteniendose": 503,
}

# The titles that the guide gives them.
GUIDE_TITLES = {404: "GPT no encontrado", 422: "Datos inválidos", 500: "Error del servidor"}


def test_ids_and_statuses_are_permanent() -> None:
    statuses = {kind.type: kind.status for kind in errors.ERROR_KINDS}
    assert PERMANENT.items() <= statuses.items()


def test_every_kind_is_in_the_table_once() -> None:
    declared = [value for value in vars(errors).values() if isinstance(value, errors.ErrorKind)]
    assert sorted(kind.slug for kind in errors.ERROR_KINDS) == sorted({kind.slug for kind in declared})


@pytest.mark.parametrize("kind", errors.ERROR_KINDS, ids=lambda kind: kind.slug)
def test_a_kind_says_what_happened_and_what_to_do(kind: errors.ErrorKind) -> None:
    assert re.fullmatch(r"[a-z0-9-]+", kind.slug)
    assert 400 <= kind.status < 600
    assert kind.title and not kind.title.endswith(".")
    assert kind.hint.endswith(".")


@pytest.mark.parametrize("status", GUIDE_TITLES)
def test_titles_are_the_guides(status: int) -> None:
    assert GUIDE_TITLES[status] in {kind.title for kind in errors.ERROR_KINDS if kind.status == status}


def test_a_problem_is_an_rfc_9457_document() -> None:
    field = FieldError("latency_ms", "se espera un número", "tipo", 1500)
    problem = Problem(errors.INVALID_DATA, "Revisa: «latency_ms».", [field])
    assert json.loads(msgspec.json.encode(problem.document())) == {
        "type": "urn:otel-bridge:datos-invalidos",
        "title": "Datos inválidos",
        "status": 422,
        "detail": "Revisa: «latency_ms».",
        "errors": [{"campo": "latency_ms", "mensaje": "se espera un número", "tipo": "tipo", "ejemplo": 1500}],
    }


def test_a_problem_without_words_of_its_own_gives_the_hint() -> None:
    document = msgspec.to_builtins(Problem(errors.GPT_NOT_FOUND).document())
    assert document["detail"] == errors.GPT_NOT_FOUND.hint
    assert "errors" not in document and "id" not in document


def test_a_problem_with_a_reference_shows_it() -> None:
    assert Problem(errors.SERVER_ERROR, reference="abc").document().id == "abc"


@pytest.mark.parametrize("kind", errors.ERROR_KINDS, ids=lambda kind: kind.slug)
def test_every_problem_fits_the_documented_type(kind: errors.ErrorKind) -> None:
    msgspec.json.decode(msgspec.json.encode(Problem(kind, reference="x").document()), type=ProblemOut)
