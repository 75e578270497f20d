"""A tool: what a client is told of it, and who answers its calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import mcp_types as types
from msgspec import Struct

from otel_bridge.access.caller import Caller
from otel_bridge.config import Gpt
from otel_bridge.errors import ProblemOut
from otel_bridge.http import schemas
from otel_bridge.http.actions_openapi import object_of, properties
from otel_bridge.intake.ingest import Taking

CREATE, ADD, RATE, END = "crear_sesion", "registrar_evento", "valorar_evento", "terminar_sesion"

Handler = Callable[[dict[str, Any], Mapping[str, Any], Caller], Taking]
"""A tool's work: its arguments, the call's `_meta`, who calls."""


class Tool(NamedTuple):
    """One row of the table of tools (tools.py)."""

    name: str
    title: str
    description: str
    kind: str | None
    """What it takes in, as the label `kind` of refusals says; None: nothing."""
    takes: type[Struct]
    """The type that checks its arguments."""
    fields: tuple[str, ...]
    """Arguments that a model is asked for: no time, no id, nothing that it would have to make up."""
    required: tuple[str, ...]
    """Those that it must give. `gpt_id` only where it is not clear without."""
    gives: type[Struct]
    """The type of its result."""
    handle: Handler
    repeatable: bool = False
    """Whether the same call again changes nothing."""

    def listed(self, gpt: Gpt | None, meta: dict[str, object] | None = None) -> types.Tool:
        """As `tools/list` shows it; `gpt`: the one that is meant, where that is clear. `meta`: its `_meta`."""
        return types.Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            _meta=meta,
            input_schema=object_of(
                properties(self.takes, self.fields, gpt, CREATE),
                [name for name in self.required if gpt is None or name != "gpt_id"],
            ),
            # A failed call has structured content, too, and clients check it: those on TypeScript's SDK always do.
            output_schema={"type": "object", "anyOf": [schemas.inline(self.gives), schemas.inline(ProblemOut)]},
            annotations=types.ToolAnnotations(
                read_only_hint=False,
                destructive_hint=False,
                idempotent_hint=self.repeatable,
                open_world_hint=False,
            ),
        )

    def arguments(self, given: Mapping[str, Any] | None) -> dict[str, Any]:
        """What a call holds. Models write null, or nothing between quotes, where they leave something out."""
        return {
            name: value
            for name, value in (given or {}).items()
            if value is not None and (value != "" or name in self.required)
        }
