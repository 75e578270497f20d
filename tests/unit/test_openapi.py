"""The document says what the decoder does: both come from the same types."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from otel_bridge import config, contract, errors
from otel_bridge.contract import EventIn, SessionIn
from otel_bridge.http import actions_openapi, openapi
from otel_bridge.http.documents import Documents

ROOT = Path(__file__).parents[2]
CONFIG = config.load(str(ROOT / "otel-bridge.toml"), {})
DOCUMENT: dict[str, Any] = openapi.document("https://example.com")
ACTIONS: dict[str, Any] = actions_openapi.document(CONFIG.gpts["devops-expert"], "https://example.com")


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


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every object of a document."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(child)


def test_every_reference_leads_somewhere() -> None:
    references = {node["$ref"] for node in nodes(DOCUMENT) if "$ref" in node}
    assert references
    for reference in references:
        found = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]


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


# --- what generators and validators of every language read alike ------------------------------------------------------


@pytest.mark.parametrize("document", [DOCUMENT, ACTIONS], ids=["api", "actions"])
def test_patterns_have_only_what_every_dialect_has(document: dict[str, Any]) -> None:
    """Neither RE2 nor Rust's regex has lookaround or backreferences, and `\\A`, `\\Z` are no ECMA 262."""
    patterns = [node["pattern"] for node in nodes(document) if isinstance(node.get("pattern"), str)]
    assert len(patterns) >= 2
    for pattern in patterns:
        assert pattern.startswith("^") and pattern.endswith("$")
        assert not re.search(r"\(\?|\\[1-9AZzbBpPk]", pattern), pattern


@pytest.mark.parametrize(
    "code",
    ["timeout", "a.b:c/d-e_9", "x" * 64, "", "x" * 65, "a b", "año", "timeout\n", "\ntimeout", "a\nb", "timeout\r"],
)
def test_the_documented_pattern_of_an_error_means_what_the_decoder_does(code: str) -> None:
    (choice, _) = DOCUMENT["components"]["schemas"]["EventIn"]["properties"]["error"]["anyOf"]
    documented = re.search(choice["pattern"].removesuffix("$") + r"\Z", code) is not None  # `$` as ECMA 262 has it
    event = contract.example(EventIn) | {"error": code}
    try:
        contract.decode_event(json.dumps(event).encode())
        taken = True
    except errors.Problem:
        taken = False
    assert taken is documented


@pytest.mark.parametrize("document", [DOCUMENT, ACTIONS], ids=["api", "actions"])
def test_no_field_has_a_default(document: dict[str, Any]) -> None:
    """openapi-typescript takes a field with a default for one that is always there."""
    assert not [node for node in nodes(document) if "default" in node]


@pytest.mark.parametrize("document", [DOCUMENT, ACTIONS], ids=["api", "actions"])
def test_no_list_of_required_fields_is_empty(document: dict[str, Any]) -> None:
    """An empty one is an error before draft 6 of JSON Schema."""
    assert [] not in [node.get("required") for node in nodes(document)]
    assert "required" not in actions_openapi.object_of({"a": {"type": "string"}})


@pytest.mark.parametrize("document", [DOCUMENT, ACTIONS], ids=["api", "actions"])
def test_the_licence_is_the_projects(document: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert document["info"]["license"]["identifier"] == project["license"]
    assert document["info"]["license"]["name"]


def test_an_object_says_what_is_in_it() -> None:
    for node in nodes(DOCUMENT):
        if node.get("type") == "object":
            assert node["properties"], node


# --- made once a configuration ----------------------------------------------------------------------------------------


def test_a_configuration_makes_each_document_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def counted(make: Any, name: str) -> Any:
        return lambda *arguments: (made.append(name), make(*arguments))[1]

    monkeypatch.setattr(openapi, "document", counted(openapi.document, "api"))
    monkeypatch.setattr(actions_openapi, "document", counted(actions_openapi.document, "actions"))
    documents = Documents(CONFIG)
    assert made == []
    assert documents.openapi == documents.openapi
    for host in (b"a.example", b"b.example", b"a.example"):
        served = json.loads(documents.actions(None, {b"host": host}, "https"))
        assert served == {**ACTIONS, "servers": [{"url": f"https://{host.decode()}"}]}
    assert made == ["api", "actions"]
