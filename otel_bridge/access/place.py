"""Where an issuer's keys are, as a configuration says it; and what is told where they cannot be had."""

from __future__ import annotations

from typing import NamedTuple

from otel_bridge.config import Config
from otel_bridge.errors import OperatorError


class ProviderError(OperatorError):
    """A document of the identity provider is not there, or is not what it should be."""


class Place(NamedTuple):
    issuer: str
    jwks_url: str | None
    """None: the issuer's metadata tells."""
    proxies: tuple[tuple[str, str], ...]


def place_of(config: Config) -> Place | None:
    """None where no issuer is configured."""
    if config.oauth_issuer is None:
        return None
    return Place(config.oauth_issuer, config.oauth_jwks_url, config.proxy_variables)
