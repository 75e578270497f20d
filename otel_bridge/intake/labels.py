"""Types, models and error codes as they may leave: what nobody configured is a client's text, and may hold a secret."""

from __future__ import annotations

from otel_bridge import catalog
from otel_bridge.config import Config
from otel_bridge.contract import EventIn, ReportedEventIn
from otel_bridge.privacy.redaction import Redactor
from otel_bridge.records import Extras, ToolCall

CODES_REMEMBERED = 1_000
"""Error codes of which it is known that redaction leaves them as they are."""

_NONE: frozenset[str] = frozenset()


class Labels:
    """Cleans labels. Redaction is on whatever is done with content: everyone reads a label."""

    def __init__(self, config: Config) -> None:
        self._redactor = Redactor("on")
        self._clean_codes: set[str] = set()
        self.configure(config)

    def configure(self, config: Config) -> None:
        self._configured = {
            gpt.id: frozenset((*gpt.event_types, gpt.model, *gpt.prices)) for gpt in config.gpts.values()
        }

    def of(self, gpt_id: str, event: EventIn, counts: dict[str, int]) -> tuple[str, str | None, str | None]:
        """Type, model and error code of an event; adds what was redacted to `counts`, by kind."""
        configured = self._configured.get(gpt_id, _NONE)
        type_, model, error = event.tipo, event.modelo, event.error
        if type_ not in configured:
            type_ = self._redactor.redact(type_, counts) or catalog.OTHER_EVENT_TYPE
        if model is not None and model not in configured:
            model = self._redactor.redact(model, counts) or catalog.OTHER_MODEL
        if error is not None and error not in self._clean_codes:
            error = self._code(error, counts)
        return type_, model, error

    def extras(self, event: EventIn, counts: dict[str, int]) -> Extras:
        """What an event says beyond the documented fields, as `of` says its labels."""
        tools = [
            ToolCall(
                self._code(tool.nombre, counts), tool.ms, None if tool.error is None else self._code(tool.error, counts)
            )
            for tool in event.herramientas or ()
        ]
        version = None if event.version is None else self._code(event.version, counts)
        unmeasured = event.unmeasured if isinstance(event, ReportedEventIn) else 0
        return Extras(unmeasured, event.ttft_ms, event.tokens_razonamiento, version, tools)

    def _code(self, code: str, counts: dict[str, int]) -> str:
        """A key or an address fits the pattern of a code (an error's, a version's, a tool's name), too."""
        if code in self._clean_codes:
            return code
        if self._redactor.redact(code, counts) != code:
            return catalog.OTHER_ERROR
        if len(self._clean_codes) < CODES_REMEMBERED:
            self._clean_codes.add(code)
        return code
