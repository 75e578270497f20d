"""What a running bridge says of itself: `otel-bridge ready` (/readyz) and `otel-bridge metrics` (/metrics).

They are in every place where the bridge is: its image has no curl, and its ports need not be published.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import urllib3

from otel_bridge import __version__, config
from otel_bridge.commands.api import connections, shown_url, tls_trouble
from otel_bridge.commands.client import api_url, local_url, verifies
from otel_bridge.config import Config
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
    "metricas": "métricas",
}
"""Parts of /readyz, in their order; one that is not here comes after them, under its own name."""


def ready(arguments: argparse.Namespace) -> int:
    """Prints what /readyz says. 0: ready; 1: not ready, or nobody answers."""
    url, verify = _address(arguments, api_url, "host", "port", "tls_cert")
    url = url if arguments.url and url.endswith(("/readyz", "/healthz")) else f"{url}/readyz"
    answer = _get(url, verify)
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
    url, verify = _address(arguments, _metrics_url, "metrics_host", "metrics_port")
    url = url if url.endswith("/metrics") else f"{url}/metrics"
    # A label set stands at 0 on the first page that a scraper gets with it, so that Prometheus counts it whole.
    answer = _get(url, verify, pages=2)
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


def _metrics_url(loaded: Config) -> str:
    return local_url(loaded.metrics_host, loaded.metrics_port)


def _address(arguments: argparse.Namespace, local: Callable[[Config], str], *keys: str) -> tuple[str, bool]:
    """The one that is named, else where the configuration makes the bridge of this machine listen; and whether its
    certificate must be good. A mistake elsewhere in the configuration than in these keys is no reason not to ask: it
    may be why somebody asks. Raises StartRefused."""
    url = arguments.url
    if url:
        if not re.match(r"https?://[^/]", url):
            raise StartRefused(f"--url: se encontró {shown_url(url)!r}, se esperaba http://… o https://…")
        return url.rstrip("/"), True
    loaded, diagnostics = config.read(arguments.config, os.environ)
    if {*keys} & diagnostics.uncertain:
        diagnostics.refuse()
    return local(loaded), verifies(loaded)


def _get(url: str, verify: bool, pages: int = 1) -> tuple[int, str] | None:
    """Status and text of the last page; None where nobody answers, which is said."""
    pool = connections(verify, TIMEOUT_SECONDS, headers=_HEADERS)
    try:
        for _ in range(pages):  # on one connection
            answer = pool.request("GET", url)
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        tls = tls_trouble(error)
        if tls is not None:
            why = f": {tls.what}; {tls.todo}"
        elif url.startswith("http:") and isinstance(error, urllib3.exceptions.ProtocolError):
            why = ": cerró la conexión sin responder. Si sirve con TLS, pide por https:// (--url)"
        else:
            why = f" ({type(error).__name__}): ¿está en marcha `otel-bridge serve`, y es su dirección? --url"
        print(f"{shown_url(url)} no responde{why}", file=sys.stderr)
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
    others = {part: one_line(part.replace("_", " ")) for part in document if part not in ("estado", "problemas")}
    for part, title in (_TITLES | {part: name for part, name in others.items() if part not in _TITLES}).items():
        if part in document:
            yield f"  {title:14} {one_line(_words(document[part]))}"


def _words(state: Any) -> str:
    if not isinstance(state, dict):
        return str(state)
    rest = [f"{name.replace('_', ' ')}: {_words(value)}" for name, value in state.items() if name != "estado"]
    return "; ".join([*([str(state["estado"])] if "estado" in state else []), *rest])


def _begin(text: str) -> str:
    return one_line(text[:200]) or "(nada)"
