"""TraceQL, written with the catalog's attribute names.

A session's root span is named `session <gpt>`; its events are spans of kind server, named after their type, or `otro`
where that is not configured: what was posted is the attribute `gpt.event.type`.
"""

from __future__ import annotations

from otel_bridge import catalog

OF_GPT = f'resource.{catalog.SERVICE_NAME} =~ "$gpt"'
OF_USER = f'span.{catalog.USER_HASH} =~ ".*$usuario.*"'
OF_TYPE = 'name =~ "$tipo"'
IS_EVENT = "kind = server"
IS_SESSION = f'name =~ "{catalog.session_span_name("($gpt)")}"'


def spans(*conditions: str) -> str:
    return f"{{ {' && '.join(conditions)} }}"


def newest(query: str) -> str:
    """The most recent results, and not the first that Tempo comes across."""
    return f"{query} with (most_recent=true)"


def select(query: str, *attributes: str) -> str:
    """Adds attributes as columns."""
    return f"{query} | select({', '.join(f'span.{name}' for name in attributes)})"
