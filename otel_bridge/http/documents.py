"""The served documents of one configuration, each made when it is first asked for: to make one takes milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec

from otel_bridge.config import Config
from otel_bridge.http import actions_openapi, openapi


class Documents:
    """A changed configuration has others."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._actions: dict[str, dict[str, Any]] = {}
        """By GPT."""

    @cached_property
    def openapi(self) -> bytes:
        """`/openapi.json`."""
        return msgspec.json.encode(openapi.document(self._config.public_url))

    def actions(self, wanted: str | None, headers: Mapping[bytes, bytes], scheme: str) -> bytes:
        """`/openapi-gpt.json` of a GPT, for who reached it with these headers. Raises Problem (404)."""
        gpt = actions_openapi.choose(self._config.gpts.values(), wanted)
        server = actions_openapi.server_url(self._config.public_url, headers, scheme)
        found = self._actions.get(gpt.id)
        if found is None:
            found = self._actions[gpt.id] = actions_openapi.document(gpt, server)
        return msgspec.json.encode({**found, "servers": actions_openapi.servers(server)})
