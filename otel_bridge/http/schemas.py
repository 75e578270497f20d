"""JSON Schemas of the contract's types, as documents and tools show them: what msgspec makes of a type, in words that
generators and validators of every language read alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


def of(shapes: Sequence[type[msgspec.Struct]], ref: str = "{name}") -> dict[str, dict[str, Any]]:
    """The schemas of these types, and of the types in them, by name. `ref`: the template of a reference to one."""
    _, components = msgspec.json.schema_components(shapes, ref_template=ref)
    for component in components.values():
        for field in component["properties"].values():
            # A generated client takes a field with a default for one that is always there.
            field.pop("default", None)
            for choice in field.get("anyOf", ()):
                # What a field means stands at the field: generators take no words out of its choices.
                for key in ("description", "examples"):
                    if key in choice:
                        field[key] = choice.pop(key)
                _portable(choice)
            _portable(field)
    return components


def inline(shape: type[msgspec.Struct]) -> dict[str, Any]:
    """The schema of a type, with those of the types in it in their places: not every reader follows references. What
    the types are called and say of themselves in code stays out."""
    components = {
        name: {key: value for key, value in component.items() if key not in ("title", "description")}
        for name, component in of((shape,)).items()
    }

    def resolved(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolved(components[node["$ref"]])
            return {key: resolved(value) for key, value in node.items()}
        return [resolved(value) for value in node] if isinstance(node, list) else node

    schema: dict[str, Any] = resolved(components[shape.__name__])
    return schema


def _portable(schema: dict[str, Any]) -> None:
    """Python's `\\Z` is `$` to ECMA 262, which is JSON Schema's dialect, and to RE2, Go's and Rust's."""
    if "pattern" in schema:
        schema["pattern"] = schema["pattern"].replace(r"\Z", "$")
