"""What the commands share that are clients of a running bridge: their options, and the addresses they use."""

from __future__ import annotations

import argparse
import os
import re
from typing import NamedTuple

from otel_bridge.commands.configuration import load
from otel_bridge.config import Config
from otel_bridge.config.readers import is_loopback
from otel_bridge.errors import StartRefused

_SENDABLE = re.compile(r"[\x20-\x7e]*")
"""What a header can hold. The library that sends it would repeat another key in its complaint."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of a command that is a client of a running bridge."""
    parser.add_argument(
        "--url", metavar="URL", help="el puente, o el stack delante de él (por defecto: el de la configuración)"
    )
    parser.add_argument("--gpt", metavar="ID", help="el GPT por el que envía (por defecto: el primero configurado)")
    parser.add_argument("--key", metavar="CLAVE", help="la clave de API del GPT; mejor por el entorno: GPT_API_KEY")


class Target(NamedTuple):
    """The bridge that a client posts to."""

    url: str
    metrics_url: str
    gpt: str
    key: str | None
    journal: str | None
    """The journal's URL, where a server keeps it."""
    verify: bool
    """Whether the certificate of `url` must be good."""


def target(arguments: argparse.Namespace) -> Target:
    """The bridge that the options name; by default the one that the configuration starts on this machine."""
    loaded = load(arguments)
    key = (arguments.key or os.environ.get("GPT_API_KEY") or "").strip()
    if not _SENDABLE.fullmatch(key):
        where = "--key" if arguments.key else "entorno: GPT_API_KEY"
        raise StartRefused(
            f"{where}: se esperaba una clave de caracteres ASCII imprimibles (lo encontrado no se muestra)"
        )
    url = arguments.url or api_url(loaded)
    return Target(
        url.rstrip("/").removesuffix("/api"),
        f"{local_url(loaded.metrics_host, loaded.metrics_port)}/metrics",
        arguments.gpt or next(iter(loaded.gpts)),
        key or None,
        loaded.journal if loaded.in_database else None,
        bool(arguments.url) or verifies(loaded),
    )


def api_url(loaded: Config, port: int | None = None) -> str:
    """Where this machine reaches the API; `port`: where it is another than the configured one. Over TLS the certificate
    is seldom one for this name: `verifies` says whether that matters."""
    url = local_url(loaded.host, loaded.port if port is None else port)
    return url if loaded.tls_cert is None else url.replace("http:", "https:", 1)


def verifies(loaded: Config) -> bool:
    """Whether who asks at `api_url` looks at the certificate. Not where the configured bridge listens on the loopback:
    the certificate is for the bridge's public name, and nothing leaves the machine."""
    return not is_loopback(_reached(loaded.host))


def local_url(host: str, port: int) -> str:
    """Where this machine reaches what listens on `host`."""
    reached = _reached(host)
    return f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"


def _reached(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
