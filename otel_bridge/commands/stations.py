"""The stations that a session must reach, and the doctor who asks each of them for it.

    (journal's server) bridge ─▶ /metrics ─▶ Prometheus ─▶ Grafana
                          └────▶ trace store (Tempo, or one with its API) ─▶ Grafana

Each station answers «sí», «no» with what to do, or «no configurado».
"""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlencode

import urllib3

from otel_bridge import __version__, journal
from otel_bridge.catalog import OPERATION_DURATION, SESSIONS
from otel_bridge.commands.api import Api, PostFailed, TlsTrouble, connections, shown_url, tls_trouble
from otel_bridge.commands.discards import discards
from otel_bridge.commands.pages import Page, choose
from otel_bridge.commands.synthetic import SyntheticSession
from otel_bridge.config.postgres_url import shown
from otel_bridge.errors import OperatorError
from otel_bridge.journal import Severity
from otel_bridge.logs import one_line

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
BOARDS = ("gpt-resumen", "gpt-slo", "gpt-sesiones", "otel-bridge-salud")

Answer = Literal["sí", "no", "no configurado"]


@dataclass(frozen=True)
class Places:
    """Where the stations are; None: not configured."""

    api: str
    metrics: str
    """Of replicas, those of each, with spaces between them."""
    prometheus: str | None = None
    traces: str | None = None
    grafana: str | None = None
    grafana_user: str = "admin"
    grafana_password: str | None = None
    key: str | None = None
    journal: str | None = None
    """The journal's URL, where a server keeps it."""
    verify: bool = True
    """Whether the certificate of `api` must be good; those of the others must."""


@dataclass
class StationResult:
    """What a station answers."""

    station: str
    answer: Answer
    text: str
    todo: str = ""

    def lines(self) -> list[str]:
        mark = {"sí": "✔", "no": "✘", "no configurado": "·"}[self.answer]
        return [f"{mark} {self.station:<11} {self.answer}: {self.text}"] + (
            [f"  {'':<11} → {self.todo}"] if self.todo else []
        )


class NotYet(Exception):
    """A station does not show the session yet. It is asked again until the time is over; then this is the answer."""

    def __init__(self, text: str, todo: str = "") -> None:
        super().__init__(text)
        self.todo = todo


class Doctor:
    """Asks each station for the synthetic session."""

    def __init__(self, places: Places, gpt: str, wait_seconds: float = 30.0) -> None:
        self.places = places
        self.session = SyntheticSession(gpt)
        self._wait = wait_seconds
        self._pool = connections(True, 10.0)
        self._bridge_pool = connections(places.verify, 10.0)
        self._tls: TlsTrouble | None = None
        """Of the last request."""
        self._export: str | None = None
        urls = (places.api, *places.metrics.split(), places.prometheus, places.traces, places.grafana)
        self._masks = {url: shown_url(url) for url in urls if url and url != shown_url(url)}
        """What is never told, and what stands for it."""

    def examine(self, tell: Callable[[StationResult], None]) -> list[StationResult]:
        """The results in order, each told as soon as it is there. Where the bridge itself says no, the others are not
        asked."""
        results: list[StationResult] = []

        def ask(station: str, check: Callable[[], StationResult]) -> bool:
            result = self._masked(self._patiently(station, check))
            results.append(result)
            tell(result)
            return result.answer == "sí"

        if self.places.journal:
            ask("diario", self._journal)
        if ask("puente", self._bridge):
            ask("/metrics", self._metrics)
            ask("Prometheus", self._prometheus)
            ask("trazas", self._traces)
            ask("Grafana", self._grafana)
        return results

    # --- stations -------------------------------------------------------------------------------------------------

    def _journal(self) -> StationResult:
        assert self.places.journal is not None
        try:
            findings = journal.inspect(self.places.journal)
        except OperatorError as error:
            raise NotYet(" ".join(error.lines()), "¿está en marcha PostgreSQL, y es su dirección? --journal") from None
        names = ", ".join(finding.name for finding in findings)
        todo = "`otel-bridge check` dice qué hacer con cada uno"
        if any(finding.severity < Severity.WARNING for finding in findings):
            return StationResult("diario", "no", f"su servidor no está como debe: {names}", todo)
        if findings:
            return StationResult("diario", "sí", f"su servidor responde, con avisos: {names}", todo)
        return StationResult("diario", "sí", f"{shown(self.places.journal)} está como debe")

    def _bridge(self) -> StationResult:
        station, url = "puente", self.places.api
        status, body = self._get(f"{url}/readyz")
        if status == 0:
            raise self._silence(url, "¿está en marcha `otel-bridge serve`, y es su dirección? --url")
        state = _document(body) or {}
        if status not in (200, 404):  # 404: asked through the public door, which does not show it
            problems = ", ".join(state.get("problemas", ())) or f"/readyz respondió {status}"
            return StationResult(station, "no", problems, "mira el registro del puente y docs/runbooks/BridgeDown.md")
        if status == 200:
            self._export = str(state["exportacion"]["estado"])
        self.session.before = self._counted() or 0.0
        api = Api(url, self.places.key, patience_seconds=min(10.0, self._wait), verify=self.places.verify)
        try:
            self.session.post(api)
        except PostFailed as failed:
            todo = "si pide clave, dásela con --key o GPT_API_KEY; si el GPT no existe, elige otro con --gpt"
            return StationResult(station, "no", str(failed), todo)
        return StationResult(station, "sí", f"sesión {self.session.id} y su evento, tomados")

    def _metrics(self) -> StationResult:
        page = self._page()
        if page is None:
            raise self._silence(
                self.places.metrics,
                "di dónde está con --metrics-url; el puente lo abre en --metrics-host y --metrics-port",
            )
        if not page.counts_for_all:
            raise NotYet(
                "responde una réplica que no cuenta por todas, y ninguna que lo haga",
                "di dónde está cada una: un --metrics-url por réplica; si ya están, docs/runbooks/BridgeNoSteward.md",
            )
        self.session.after = counted = page.events(self.session.gpt)
        if page.shows_trace(self.session.trace_id):
            return StationResult("/metrics", "sí", f"el ejemplar lleva la traza {self.session.trace_id}")
        if counted > self.session.before:
            return StationResult("/metrics", "sí", f"el contador de {self.session.gpt} subió a {counted:g}")
        raise NotYet(
            f"el contador de {self.session.gpt} no sube de {counted:g}",
            "¿es de este puente? Compara --url y --metrics-url",
        )

    def _prometheus(self) -> StationResult:
        base = self.places.prometheus
        if not base:
            return StationResult("Prometheus", "no configurado", "di dónde está con --prometheus o PROMETHEUS_URL")
        selector = f'gen_ai_agent_id="{self.session.gpt}"'
        query = f"sum({OPERATION_DURATION.name}_count{{{selector}}})"
        result = self._api(base, "/api/v1/query", query=query)["result"]
        count = float(result[0]["value"][1]) if result else math.nan
        exemplars = self._api(
            base,
            "/api/v1/query_exemplars",
            query=f"{OPERATION_DURATION.name}_bucket{{{selector}}}",
            start=self.session.begun - 60,
            end=time.time() + 60,
        )
        if self.session.trace_id in json.dumps(exemplars):
            return StationResult("Prometheus", "sí", f"tiene el ejemplar de la traza; {count:g} eventos")
        if count >= self.session.after > 0:
            todo = "para saltar de una gráfica a su traza: --enable-feature=exemplar-storage"
            return StationResult("Prometheus", "sí", f"tiene los {count:g} eventos, sin el ejemplar", todo)
        raise NotYet(
            f"{base} no tiene aún el evento ({'ninguna serie' if math.isnan(count) else f'{count:g} eventos'})",
            "mira Status → Targets: ¿lee /metrics el trabajo otel-bridge? (prometheus/targets/otel-bridge.yml)",
        )

    def _traces(self) -> StationResult:
        base = self.places.traces
        if self._export is not None and self._export.startswith("sin destino"):
            return StationResult(
                "trazas", "no configurado", "el puente no exporta: dale OTEL_EXPORTER_OTLP_ENDPOINT; nada se pierde"
            )
        if not base:
            return StationResult("trazas", "no configurado", "di dónde se leen con --tempo o TEMPO_URL")
        status, body = self._get(f"{base}/api/traces/{self.session.trace_id}", accept="application/json")
        spans = _spans(_document(body)) if status == 200 else 0
        text, todo = self._discards(base)
        if spans >= 2:
            return StationResult("trazas", "sí", f"traza {self.session.trace_id} con sus {spans} tramos; {text}", todo)
        trouble = f"{base} no tiene aún la traza" if spans == 0 else f"{base} tiene {spans} tramo de 2"
        raise NotYet(
            f"{trouble} (el puente dice de su entrega: «{self._export or 'nada'}»); {text}",
            (f"{todo}; " if todo else "")
            + "el log del puente dice qué respondió el destino; mira `otel-bridge journal status`, `journal parked` y "
            "docs/runbooks/BridgeExportStalled.md",
        )

    def _discards(self, base: str) -> tuple[str, str]:
        """What the store has thrown away of what it had accepted, and what to do."""
        status, body = self._get(f"{base}/metrics")
        found = discards(body.decode("utf-8", "replace")) if status == 200 else None
        if found is None:
            return "lo que tire después de su 200, desde aquí no se ve", ""
        if not found:
            return "desde que arrancó no ha tirado nada de lo que aceptó", ""
        counts = ", ".join(f"{reason} {count:g}" for reason, count in sorted(found.items()))
        what = f"desde que arrancó tiró tramos que había aceptado: {counts}"
        return what, "mira docs/runbooks/BridgeSpansDiscarded.md"

    def _grafana(self) -> StationResult:
        base = self.places.grafana
        if not base:
            return StationResult("Grafana", "no configurado", "di dónde está con --grafana o GRAFANA_URL")
        status, _ = self._get(f"{base}/api/health")
        if status != 200:
            raise NotYet(f"{base}/api/health respondió {status or 'nada'}", "¿está en marcha?")
        if not self.places.grafana_password:
            return StationResult(
                "Grafana", "no", "vive, pero sin contraseña no se ve más", "dásela por el entorno: GRAFANA_PASSWORD"
            )
        login = f"{self.places.grafana_user}:{self.places.grafana_password}".encode()  # UTF-8, as Grafana reads it
        basic = {"Authorization": "Basic " + base64.b64encode(login).decode()}
        status, body = self._get(f"{base}/api/search?type=dash-db", **basic)
        if status in (401, 403):
            return StationResult(
                "Grafana", "no", "no acepta la contraseña", "GRAFANA_USER y GRAFANA_PASSWORD son las suyas"
            )
        present = {board.get("uid") for board in _document(body) or ()}
        missing = [uid for uid in BOARDS if uid not in present]
        if missing:
            raise NotYet(f"le faltan tableros: {', '.join(missing)}", "¿llega a grafana/provisioning y a los tableros?")
        blind = self._blind(base, basic)
        if blind:
            raise NotYet(blind, "PROMETHEUS_URL y TEMPO_URL, en el entorno de Grafana, dicen dónde leer")
        return StationResult("Grafana", "sí", "tiene los cuatro tableros y sus fuentes responden")

    def _blind(self, base: str, basic: dict[str, str]) -> str:
        """What Grafana cannot see of the session, through its own data sources; nothing where it sees all."""
        query = urlencode({"query": f'{SESSIONS.name}{{gen_ai_agent_id="{self.session.gpt}"}}'})
        status, body = self._get(f"{base}/api/datasources/proxy/uid/prometheus/api/v1/query?{query}", **basic)
        document = _document(body) or {}
        if status != 200 or not document.get("data", {}).get("result"):
            return f"su fuente «prometheus» no ve {SESSIONS.name} (respuesta {status or 'ninguna'})"
        if self.places.traces and not (self._export or "").startswith("sin destino"):
            path = f"/api/datasources/proxy/uid/tempo/api/traces/{self.session.trace_id}"
            status, _ = self._get(base + path, accept="application/json", **basic)
            if status != 200:
                return f"su fuente «tempo» no ve la traza (respuesta {status or 'ninguna'})"
        return ""

    def _masked(self, result: StationResult) -> StationResult:
        text, todo = result.text, result.todo
        for url, mask in self._masks.items():
            text, todo = text.replace(url, mask), todo.replace(url, mask)
        return replace(result, text=one_line(text), todo=one_line(todo))

    # --- asking ---------------------------------------------------------------------------------------------------

    def _patiently(self, station: str, check: Callable[[], StationResult]) -> StationResult:
        deadline = time.monotonic() + self._wait
        while True:
            try:
                return check()
            except NotYet as not_yet:
                last = StationResult(station, "no", f"{not_yet}; esperé {self._wait:g} s", not_yet.todo)
            except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
                last = StationResult(
                    station, "no", f"respuesta inesperada ({type(error).__name__})", "¿es la dirección?"
                )
            if time.monotonic() > deadline:
                return last
            time.sleep(min(0.5, self._wait))

    def _get(self, url: str, **headers: str) -> tuple[int, bytes]:
        """(0, b"") where nobody answers."""
        pool = self._bridge_pool if url == f"{self.places.api}/readyz" else self._pool
        self._tls = None
        try:
            answer = pool.request("GET", url, headers={"User-Agent": f"otel-bridge-doctor/{__version__}", **headers})
        except urllib3.exceptions.HTTPError as error:
            self._tls = tls_trouble(error)
            return 0, b""
        return answer.status, answer.data

    def _silence(self, url: str, todo: str) -> NotYet:
        """That nobody answered there just now."""
        if self._tls is not None:
            return NotYet(f"{url} no responde: {self._tls.what}", self._tls.todo)
        return NotYet(f"{url} no responde", todo)

    def _api(self, base: str, path: str, **parameters: Any) -> Any:
        status, body = self._get(f"{base}{path}?{urlencode(parameters)}")
        if status == 0:
            raise self._silence(base, "¿está en marcha, y es su dirección?")
        document = _document(body)
        if status != 200 or not isinstance(document, dict):
            raise NotYet(f"{base}{path} respondió {status}", "¿es la dirección de Prometheus?")
        return document["data"]

    def _page(self) -> Page | None:
        """/metrics, of replicas that of the one that counts for all; None where none answers."""
        answers = [self._get(url, Accept=OPENMETRICS) for url in self.places.metrics.split()]
        return choose([body.decode() for status, body in answers if status == 200])

    def _counted(self) -> float | None:
        """Events of the GPT on /metrics; None where it does not answer."""
        page = self._page()
        return None if page is None else page.events(self.session.gpt)


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _spans(document: Any) -> int:
    """Spans of a trace, in Tempo's shape (`batches`, `resourceSpans`) or in Jaeger's (`data`)."""
    if not isinstance(document, dict):
        return 0
    document = document.get("trace", document)
    if document.get("data"):
        return len(document["data"][0]["spans"])
    return sum(
        len(scope["spans"])
        for resource in document.get("batches") or document.get("resourceSpans") or ()
        for scope in resource.get("scopeSpans", ())
    )
