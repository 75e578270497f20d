"""The document says what the decoder does: both come from the same types."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from otel_bridge import contract, errors
from otel_bridge.contract import EventIn, SessionIn
from otel_bridge.http import openapi

DOCUMENT: dict[str, Any] = openapi.document("https://example.com")


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, one) for path, methods in DOCUMENT["paths"].items() for method, one in methods.items()]


def test_it_is_openapi_3_1_of_the_configured_server() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["servers"] == [{"url": "https://example.com"}]
    assert openapi.document()["servers"] == [{"url": "/"}]


def test_every_public_route_is_in_it() -> None:
    assert {"/api/sessions", "/api/sessions/{id}", "/api/events", "/healthz", "/readyz"} <= set(DOCUMENT["paths"])


def test_operations_have_unique_ids_and_words() -> None:
    ids = [one["operationId"] for _, _, one in operations()]
    assert len(ids) == len(set(ids))
    assert all(one["summary"] for _, _, one in operations())


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(references(value) for value in node))
    return set()


def test_every_reference_leads_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert {ref.rsplit("/", 1)[1] for ref in references(DOCUMENT)} <= set(schemas)


@pytest.mark.parametrize("shape", [SessionIn, EventIn])
def test_a_schema_requires_what_the_decoder_requires_and_describes_every_field(shape: Any) -> None:
    schema = DOCUMENT["components"]["schemas"][shape.__name__]
    fields = msgspec.structs.fields(shape)
    assert schema["required"] == [field.name for field in fields if field.required]
    assert set(schema["properties"]) == {field.name for field in fields}
    for field in fields:
        assert contract.field_meta(field.type)["expected"] in str(schema["properties"][field.name])


@pytest.mark.parametrize("shape", [SessionIn, EventIn])
def test_the_example_is_valid(shape: Any) -> None:
    (example,) = DOCUMENT["components"]["schemas"][shape.__name__]["examples"]
    msgspec.convert(example, shape)


def test_every_error_a_post_may_meet_is_listed_by_its_type() -> None:
    for path in ("/api/sessions", "/api/events"):
        listed = str(DOCUMENT["paths"][path]["post"]["responses"])
        for kind in (errors.INVALID_DATA, errors.GPT_NOT_FOUND, errors.SERVER_ERROR, errors.BODY_TOO_LARGE):
            assert kind.type in listed and kind.title in listed


def test_errors_are_problem_json() -> None:
    for _, _, one in operations():
        for status, response in one["responses"].items():
            if status >= "400" and status != "503" and "content" in response:
                assert list(response["content"]) == ["application/problem+json"]
