"""What is measured and for whom, as builders say it: each option a value, or a function of the measured call that gives
it. A function that fails costs its value, never the call."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Union

from otel_bridge_client.client import ANONYMOUS, BridgeClient
from otel_bridge_client.measures import Measure, current

Option = Union[str, None, Callable[..., Any]]


class Subject:
    def __init__(
        self,
        client: BridgeClient,
        event_type: Option,
        *,
        session: Option = None,
        user: Option = None,
        conversation: Option = None,
        content: Option = None,
        model: Option = None,
        version: Option = None,
        event_id: Option = None,
    ) -> None:
        self.client = client
        self._event_type = event_type
        self._session = session
        self._user = user
        self._conversation = conversation
        self._content = content
        self._model = model
        self._version = version
        self._event_id = event_id

    def begin(self, *arguments: Any, **options: Any) -> Measure:
        """A measurement whose clock runs."""

        def value(name: str, option: Option) -> Any:
            return self.value(name, option, *arguments, **options)

        session = value("session", self._session) or self._session_by(value)
        return self.measure(session, str(value("event_type", self._event_type) or ""), *arguments, **options)

    def measure(self, session: str, event_type: str, *arguments: Any, **options: Any) -> Measure:
        def value(name: str, option: Option) -> Any:
            return self.value(name, option, *arguments, **options)

        content = value("content", self._content)
        model, version = value("model", self._model), value("version", self._version)
        event_id = value("event_id", self._event_id)
        return Measure(
            session,
            event_type,
            "" if content is None else content,
            model=model,
            version=version,
            event_id=None if event_id is None else str(event_id),
        )

    def _session_by(self, value: Callable[[str, Option], Any]) -> str:
        user, conversation = value("user", self._user), value("conversation", self._conversation)
        outer = current()
        if user is None and conversation is None and outer is not None:
            return outer.session_id
        found: str = self.client.session_for(ANONYMOUS if user is None else user, conversation)
        return found

    def value(self, name: str, option: Option, *arguments: Any, **options: Any) -> Any:
        """The option's value for this call; None where it has none."""
        if not callable(option):
            return option
        try:
            found = option(*arguments, **options)
            if inspect.iscoroutine(found):
                found.close()
                raise TypeError
            return found
        except Exception as error:
            self.client.note("option", f"{name}: {type(error).__name__}")
            return None
