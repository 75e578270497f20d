"""What a running bridge says of itself: `otel-bridge ready` (/readyz) and `otel-bridge metrics` (/metrics).

They are in every place where the bridge is: its image has no curl, and its ports need not be published.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import urllib3

from otel_bridge import __version__, config
from otel_bridge.commands.api import shown_url
from otel_bridge.commands.client import local_url
from otel_bridge.errors import StartRefused
from otel_bridge.logs import one_line

TIMEOUT_SECONDS = 10.0
_HEADERS = {"User-Agent": f"otel-bridge-asking/{__version__}"}
_TITLES = {
    "diario": "diario",
    "exportacion": "exportación",
    "configuracion": "configuración",
    "reloj": "reloj",
    "limites": "límites",
    "identidad": "identidad",
    "replicas": "réplicas",
}
"""Parts of /readyz, in their order."""


def ready(arguments: argparse.Namespace) -> int:
    """Prints what /readyz says. 0: ready; 1: not ready, or nobody answers."""
    url = _address(arguments.config, arguments.url, "host", "port")
    url = url if arguments.url and url.endswith(("/readyz", "/healthz")) else f"{url}/readyz"
    answer = _get(url)
    if answer is None:
        return 1
    status, text = answer
    document = _object(text)
    if document is None or "estado" not in document:
        print(f"{shown_url(url)} respondió {status}, y no lo que responde un otel-bridge: {_begin(text)}")
        return 1
    if arguments.json:
        print(json.dumps(document, ensure_ascii=False))
    else:
        print(f"{document['estado']} ({shown_url(url)} respondió {status})")
        print(*_lines(document), sep="\n")
    return 0 if status == 200 else 1


def metrics(arguments: argparse.Namespace) -> int:
    """Prints the samples of /metrics that the pattern finds. 0: there are some; 1: none, or nobody answers."""
    try:
        pattern = re.compile(arguments.regex)
    except re.error as error:
        raise StartRefused(
            f"REGEX: se encontró {arguments.regex[:80]!r}, se esperaba una expresión regular ({error})"
        ) from None
    url = _address(arguments.config, arguments.url, "metrics_host", "metrics_port")
    url = url if url.endswith("/metrics") else f"{url}/metrics"
    # A label set stands at 0 on the first page that a scraper gets with it, so that Prometheus counts it whole.
    answer = _get(url, pages=2)
    if answer is None:
        return 1
    status, text = answer
    if status != 200:
        print(f"{shown_url(url)} respondió {status}: {_begin(text)}")
        return 1
    found = [line for line in text.splitlines() if line and not line.startswith("#") and pattern.search(line)]
    if not found:
        print(f"{shown_url(url)} no muestra ninguna serie con «{arguments.regex}»", file=sys.stderr)
        return 1
    print(*found, sep="\n")
    return 0


def _address(path: str | None, url: str | None, host: str, port: str) -> str:
    """The one that is named, else where the configuration makes the bridge of this machine listen. A mistake elsewhere
    in the configuration is no reason not to ask: it may be why somebody asks. Raises StartRefused."""
    if url:
        if not re.match(r"https?://[^/]", url):
            raise StartRefused(f"--url: se encontró {shown_url(url)!r}, se esperaba http://… o https://…")
        return url.rstrip("/")
    loaded, diagnostics = config.read(path, os.environ)
    if {host, port} & diagnostics.uncertain:
        diagnostics.refuse()
    return local_url(getattr(loaded, host), getattr(loaded, port))


def _get(url: str, pages: int = 1) -> tuple[int, str] | None:
    """Status and text of the last page; None where nobody answers, which is said."""
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(total=TIMEOUT_SECONDS), retries=False, headers=_HEADERS)
    try:
        for _ in range(pages):  # on one connection
            answer = pool.request("GET", url)
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        print(
            f"{shown_url(url)} no responde ({type(error).__name__}): ¿está en marcha `otel-bridge serve`, y es su "
            "dirección? --url",
            file=sys.stderr,
        )
        return None
    return answer.status, answer.data.decode("utf-8", "replace")


def _object(text: str) -> dict[str, Any] | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _lines(document: dict[str, Any]) -> Iterator[str]:
    problems = document.get("problemas")
    for problem in problems if isinstance(problems, list) else ():
        yield f"  ✘ {one_line(str(problem))}"
    for part, title in _TITLES.items():
        if part in document:
            yield f"  {title:14} {one_line(_words(document[part]))}"


def _words(state: Any) -> str:
    if not isinstance(state, dict):
        return str(state)
    rest = [f"{name.replace('_', ' ')}: {_words(value)}" for name, value in state.items() if name != "estado"]
    return "; ".join([*([str(state["estado"])] if "estado" in state else []), *rest])


def _begin(text: str) -> str:
    return one_line(text[:200]) or "(nada)"
