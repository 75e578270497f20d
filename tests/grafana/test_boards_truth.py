"""Every number on a board is the truth: known posts to a real bridge, a real Prometheus, every panel's query read off.

Totals are compared exactly, means within 1 %, percentiles within a bucket. Every query of every board is in one of the
tables below, with what it must say or why it cannot be foreseen.
"""

from __future__ import annotations

import math
import re
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from grafana.boards import queries
from grafana.boards.queries import Query
from otel_bridge import catalog
from otel_bridge.config import shipped
from tests.harness.bridge import ROOT, Bridge
from tests.harness.prometheus import Prometheus, available
from tests.harness.waiting import wait_for

pytestmark = pytest.mark.skipif(available() is None, reason="prometheus is not installed")

GPT = "devops-expert"
OBJECTIVE, TARGET = 5.0, 0.99
MODEL = "gpt-6.2-sol"
PRICE = shipped().models[MODEL]
FIRST_TOKEN, FIRST_TOKEN_TARGET = 0.5, 0.95
STEP = 60
"""Seconds of a bar."""
BUCKETS = catalog.OPERATION_DURATION.buckets


@dataclass(frozen=True)
class Posted:
    """An event that was taken."""

    type: str
    seconds: float | None
    """None: a model reports it, and measures nothing. Its tokens are 0 here."""
    tokens_in: int = 118
    tokens_out: int = 1180
    error: str = ""
    model: str = MODEL
    more: tuple[tuple[str, Any], ...] = ()
    """What it says beyond the documented fields."""

    @property
    def said(self) -> dict[str, Any]:
        return dict(self.more)


@dataclass
class Truth:
    """What was posted since Prometheus knows the bridge."""

    sessions: int = 0
    events: list[Posted] = field(default_factory=list)
    ratings: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    redactions: Counter[str] = field(default_factory=Counter)

    @property
    def users(self) -> int:
        """The eleventh session is of the first one's user: a table shows ten."""
        return min(self.sessions, 10)

    @property
    def measured(self) -> list[tuple[Posted, float]]:
        return [(event, event.seconds) for event in self.events if event.seconds is not None]

    @property
    def unmeasured(self) -> int:
        return len(self.events) - len(self.measured)

    @property
    def bad(self) -> int:
        return sum(1 for event, seconds in self.measured if event.error or seconds > OBJECTIVE)

    @property
    def accepted(self) -> int:
        return self.sessions + len(self.events) + len(self.ratings)

    def rated(self, sign: int) -> int:
        return sum((value > 0) - (value < 0) == sign for value in self.ratings)

    def by(self, of: Callable[[Posted], str], keep: Callable[[Posted], bool] = lambda _: True) -> dict[str, float]:
        return dict(Counter(of(event) for event in self.events if keep(event)))

    def tokens(self, direction: str) -> int:
        return sum(event.tokens_in if direction == "input" else event.tokens_out for event in self.events)

    def first_tokens(self) -> list[float]:
        return [event.said["ttft_ms"] / 1000 for event in self.events if "ttft_ms" in event.said]

    def of_versions(self, what: Callable[[Posted], float]) -> Numbers:
        """The mean of something by version."""
        found: dict[str, list[float]] = {}
        for event in self.events:
            if "version" in event.said:
                found.setdefault(f"{GPT} {event.said['version']}", []).append(what(event))
        return {name: sum(values) / len(values) for name, values in found.items()}

    def of_tools(self, what: Callable[[dict[str, Any]], float]) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for event in self.events:
            for call in event.said.get("herramientas", ()):
                found.setdefault(f"{GPT} {call['nombre']}", []).append(what(call))
        return found

    def cost(self) -> float:
        priced = [event for event in self.events if event.model == MODEL]
        return sum(event.tokens_in * PRICE.input + event.tokens_out * PRICE.output for event in priced) / 1e6

    def unpriced(self) -> int:
        return sum(event.tokens_in + event.tokens_out for event in self.events if event.model != MODEL)

    def reasoning(self) -> int:
        return sum(event.said.get("tokens_razonamiento", 0) for event in self.events)

    def spent(self) -> float:
        """Of the error budget of 30 days; at this speed, where all of it is within the hour."""
        return self.bad / len(self.measured) / (1 - TARGET)

    def mean(self) -> float:
        return sum(seconds for _, seconds in self.measured) / len(self.measured)


# --- what is posted -----------------------------------------------------------------------------------------------

THIRTY_SEVEN = [
    *(Posted("consulta", 2.0) for _ in range(20)),
    *(Posted("pipeline", 2.0) for _ in range(10)),
    *(Posted("configuracion", 2.0) for _ in range(2)),
    Posted("troubleshooting", 12.0, error="timeout"),
    Posted("troubleshooting", 2.0, error="timeout"),
    Posted("infraestructura", 1.25, error="limite"),
    Posted("monitoreo", 6.0),
    Posted("seguridad", 1.7),
]
"""Mean 2.35 s, 4,366 tokens in and 43,660 out, 0.4453 dollars; one event each of monitoreo and seguridad."""


class Scene:
    """A bridge, and Prometheus servers that scrape it every second."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shipped = (ROOT / "otel-bridge.toml").read_text("utf-8")
        objective = f"ttft_objective_seconds = {FIRST_TOKEN}\nslo_target"
        self.bridge = Bridge(
            folder, shipped.replace("slo_target", objective), OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS="0.2"
        ).start()
        self.prometheus: list[Prometheus] = []
        self.truth = Truth()

    def install(self, *, waits: bool = True, **how: Any) -> Prometheus:
        """One more Prometheus, with the rules as they are but for the recording groups' interval; without `waits`
        alerts fire at once. `how`: what else the harness is to make of it."""
        number = len(self.prometheus)
        rules = []
        for rule in (ROOT / "prometheus" / "rules").glob("*.yml"):
            copy = self.folder / f"p{number}-{rule.name}"
            text = re.sub(r"^    interval: \w+$", "    interval: 2s", rule.read_text("utf-8"), flags=re.M)
            copy.write_text(text if waits else re.sub(r"^        for: \w+\n", "", text, flags=re.M), "utf-8")
            rules.append(copy)
        how = {"targets": [f"127.0.0.1:{self.bridge.metrics_port}"], **how}
        one = Prometheus(self.folder / f"prometheus{number}", rules=rules, **how).start()
        self.prometheus.append(one)
        if how["targets"]:
            self.wait_known(one)
        return one

    def wait_known(self, one: Prometheus) -> None:
        wait_for(lambda: one.value(f'gpt_sessions_total{{gen_ai_agent_id="{GPT}"}}') is not None, "a first scrape", 30)

    def session(self) -> str:
        self.truth.sessions += 1
        return self.bridge.session(usuario_id=f"u{self.truth.sessions % 10}")

    def post(self, session: str, *events: Posted) -> None:
        for event in events:
            fields: dict[str, Any] = {"error": event.error} if event.error else {}
            if event.model != MODEL:
                fields["modelo"] = event.model
            fields |= event.said
            if event.seconds is None:
                fields |= {"sesion_id": session, "tipo": event.type, "contenido": "¿Y esto?"}
                answer = self.bridge.post("/events", fields, headers={"openai-conversation-id": "chat-1"})
                assert answer.status_code == 201, answer.text
                assert not {"latency_ms", "tokens_entrada", "tokens_salida"} & answer.json().keys()
                self.truth.events.append(event)
                continue
            answer = self.bridge.event(
                session,
                tipo=event.type,
                latency_ms=event.seconds * 1000,
                tokens_entrada=event.tokens_in,
                tokens_salida=event.tokens_out,
                **fields,
            )
            assert answer.status_code == 201, answer.text
            self.truth.events.append(event)

    def rate(self, session: str, *values: float) -> None:
        event = self.bridge.event(session, latency_ms=2000).json()
        self.truth.events.append(Posted("consulta", 2.0, 25, 150))
        for value in values:
            answer = self.bridge.post(f"/events/{event['id']}/valoracion", {"valor": value})
            assert answer.status_code == 201, answer.text
            self.truth.ratings.append(value)

    def ten_sessions(self) -> None:
        """The 37 events in ten sessions, six refusals and two redactions; an event that is rated."""
        sessions = [self.session() for _ in range(10)]
        for number, event in enumerate(THIRTY_SEVEN):
            self.post(sessions[number % 10], event)
        for _ in range(4):
            assert self.bridge.post("/events", {"sesion_id": sessions[0], "tipo": "consulta"}).status_code == 422
            self.truth.refused["datos-invalidos"] += 1
        for _ in range(2):
            unknown = {"gpt_id": "nadie", "usuario_id": "u", "timestamp_inicio": "2025-06-29T20:00:00Z"}
            assert self.bridge.post("/sessions", unknown).status_code == 404
            self.truth.refused["gpt-no-encontrado"] += 1
        self.truth.events.append(self._with_a_mail(sessions[0]))
        self.rate(sessions[0], 1, -1, -0.5, 0, 0.2)

    def _with_a_mail(self, session: str) -> Posted:
        answer = self.bridge.event(session, contenido="de ana@example.org y leo@example.org", latency_ms=2000)
        assert answer.status_code == 201
        self.truth.redactions["email"] += 2
        return Posted("consulta", 2.0, 25, 150)

    def close(self) -> None:
        for one in self.prometheus:
            one.close()
        self.bridge.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    started = Scene(tmp_path)
    yield started
    started.close()


# --- what panels must say -----------------------------------------------------------------------------------------

Numbers = dict[str, float]
"""Label values, joined by a blank, to a number; the empty text where there is no label."""
Expect = Callable[[Truth], Numbers]


def one(value: Callable[[Truth], float]) -> Expect:
    return lambda truth: {"": value(truth)}


def of_gpt(value: Callable[[Truth], float]) -> Expect:
    return lambda truth: {GPT: value(truth)}


def counted(value: Callable[[Truth], Numbers]) -> Expect:
    """Without those that nothing was counted of."""
    return lambda truth: {label: number for label, number in value(truth).items() if number}


TOTALS: dict[tuple[str, str, str], Expect] = {
    ("gpt-resumen", "Con error", "A"): one(lambda t: sum(1 for e in t.events if e.error)),
    ("gpt-resumen", "Coste (24 h)", "coste"): one(Truth.cost),
    ("gpt-resumen", "Coste (24 h)", "sinprecio"): counted(lambda t: {"": t.unpriced()}),
    ("gpt-resumen", "Cómo va cada GPT", "E"): of_gpt(lambda t: sum(1 for e in t.events if e.error) / len(t.events)),
    ("gpt-resumen", "Cómo va cada GPT", "F"): of_gpt(lambda t: len(t.events)),
    ("gpt-resumen", "Cómo va cada GPT", "G"): of_gpt(lambda t: t.sessions),
    ("gpt-resumen", "Cómo va cada GPT", "H"): of_gpt(Truth.cost),
    ("gpt-resumen", "Cómo va cada GPT", "I"): counted(lambda t: {GPT: t.unpriced()}),
    ("gpt-resumen", "Cómo va cada GPT", "A"): of_gpt(Truth.spent),
    ("gpt-resumen", "Cómo va cada GPT", "J"): counted(lambda t: {GPT: t.unmeasured}),
    ("gpt-resumen", "Tokens", "sinmedir"): counted(lambda t: {"": t.unmeasured}),
    ("gpt-resumen", "Tipos de consultas más frecuentes", "eventos"): lambda t: t.by(lambda e: e.type),
    ("gpt-resumen", "Tipos de consultas más frecuentes", "parte"): lambda t: {
        kind: count / len(t.events) for kind, count in t.by(lambda e: e.type).items()
    },
    ("gpt-resumen", "Tokens", "input"): one(lambda t: t.tokens("input")),
    ("gpt-resumen", "Tokens", "output"): one(lambda t: t.tokens("output")),
    ("gpt-slo", "Estado de cada GPT", "F"): of_gpt(lambda t: 1 - t.bad / len(t.measured)),
    ("gpt-slo", "Estado de cada GPT", "H"): of_gpt(lambda t: len(t.events)),
    ("gpt-slo", "Valoraciones malas", "A"): lambda t: {"": t.rated(-1) / len(t.ratings)} if t.ratings else {},
    ("gpt-slo", "Errores del intervalo", "A"): lambda t: t.by(lambda e: e.error, lambda e: bool(e.error)),
    ("gpt-slo", "Los tipos más lentos", "A"): lambda t: t.by(lambda e: f"{e.type} {GPT}"),
    ("gpt-slo", "Los tipos más lentos", "D"): lambda t: {
        f"{kind} {GPT}": t.by(lambda e: e.type, lambda e: bool(e.error)).get(kind, 0) / count
        for kind, count in t.by(lambda e: e.type).items()
    },
    ("gpt-resumen", "Cómo va cada GPT", "D"): of_gpt(lambda t: OBJECTIVE),
    ("gpt-resumen", "Sesiones activas por día", "curso"): one(lambda t: t.sessions),
    ("gpt-resumen", "Sesiones activas por semana", "curso"): one(lambda t: t.sessions),
    ("gpt-resumen", "Sesiones activas por mes", "curso"): one(lambda t: t.sessions),
    ("gpt-slo", "Presupuesto gastado", "A"): of_gpt(Truth.spent),
    ("gpt-slo", "Gasto (1 h)", "A"): of_gpt(Truth.spent),
    ("gpt-slo", "Incumplen", "A"): one(lambda t: float(t.spent() > 1)),
    ("gpt-slo", "Estado de cada GPT", "A"): of_gpt(Truth.spent),
    ("gpt-slo", "Estado de cada GPT", "B"): of_gpt(Truth.spent),
    ("gpt-slo", "Estado de cada GPT", "E"): of_gpt(lambda t: OBJECTIVE),
    ("gpt-slo", "Estado de cada GPT", "G"): of_gpt(lambda t: TARGET),
    ("gpt-sesiones", "Sesiones nuevas", "A"): one(lambda t: t.sessions),
    ("otel-bridge-salud", "Puente", "A"): one(lambda t: 1),
    ("otel-bridge-salud", "Libro de cuentas", "A"): one(lambda t: 0),
    ("otel-bridge-salud", "Retraso", "A"): one(lambda t: -1),  # no destination is configured
    ("otel-bridge-salud", "Apartados", "A"): one(lambda t: 0),
    ("otel-bridge-salud", "Rechazados", "A"): one(lambda t: t.refused.total() / (t.refused.total() + t.accepted)),
    ("otel-bridge-salud", "Destino de trazas", "A"): one(lambda t: 0),
    ("otel-bridge-salud", "Configuración", "A"): one(lambda t: 0),
    ("otel-bridge-salud", "Límites de ritmo", "A"): one(lambda t: 0),
    ("otel-bridge-salud", "Reloj", "A"): one(lambda t: -1),
    ("otel-bridge-salud", "Rechazos del intervalo", "A"): lambda t: dict(t.refused),
    ("otel-bridge-salud", "Retirados", "A"): lambda t: dict(t.redactions),
    ("otel-bridge-salud", "Respuestas", "A"): lambda t: {"4xx": t.refused.total()} if t.refused else {},
}
"""At one moment."""

TOTALS |= {
    ("gpt-slo", "Primer token de cada GPT", "A"): counted(lambda t: {GPT: len(t.first_tokens())}),
    ("gpt-slo", "Primer token de cada GPT", "C"): of_gpt(lambda t: FIRST_TOKEN),
    ("gpt-slo", "Primer token de cada GPT", "D"): lambda t: (
        {GPT: sum(1 for one in t.first_tokens() if one <= FIRST_TOKEN) / len(t.first_tokens())}
        if t.first_tokens()
        else {}
    ),
    ("gpt-slo", "Primer token de cada GPT", "E"): of_gpt(lambda t: FIRST_TOKEN_TARGET),
    ("gpt-resumen", "Versiones, una junto a otra", "A"): lambda t: t.by(
        lambda e: f"{GPT} {e.said['version']}", lambda e: "version" in e.said
    ),
    ("gpt-resumen", "Versiones, una junto a otra", "B"): lambda t: t.of_versions(lambda e: bool(e.error)),
    ("gpt-resumen", "Versiones, una junto a otra", "C"): lambda t: t.of_versions(
        lambda e: not e.error and (e.seconds or 0) > OBJECTIVE
    ),
    ("gpt-resumen", "Versiones, una junto a otra", "D"): lambda t: t.of_versions(lambda e: e.seconds or 0),
    ("gpt-resumen", "Herramientas", "A"): lambda t: {k: len(v) for k, v in t.of_tools(lambda c: 1).items()},
    ("gpt-resumen", "Herramientas", "B"): lambda t: {
        k: sum(v) / len(v) for k, v in t.of_tools(lambda c: "error" in c).items()
    },
    ("gpt-resumen", "Herramientas", "C"): lambda t: {
        k: sum(v) / len(v) / 1000 for k, v in t.of_tools(lambda c: c["ms"]).items()
    },
    ("gpt-resumen", "Tokens de razonamiento", "tokens"): counted(lambda t: {"": t.reasoning()}),
    ("gpt-resumen", "Tokens de razonamiento", "parte"): counted(lambda t: {"": t.reasoning() / t.tokens("output")}),
}
"""What builders say beyond the documented fields."""

BARS: dict[tuple[str, str, str], Expect] = {
    ("gpt-resumen", "Uso de tokens", "input"): one(lambda t: t.tokens("input")),
    ("gpt-resumen", "Uso de tokens", "output"): one(lambda t: t.tokens("output")),
    ("gpt-slo", "Eventos buenos y malos", "good"): one(lambda t: len(t.measured) - t.bad),
    ("gpt-slo", "Eventos buenos y malos", "bad"): one(lambda t: t.bad),
    ("gpt-slo", "Valoraciones", "good"): one(lambda t: t.rated(1)),
    ("gpt-slo", "Valoraciones", "bad"): one(lambda t: t.rated(-1)),
    ("gpt-slo", "Valoraciones", "neutral"): one(lambda t: t.rated(0)),
    ("gpt-slo", "Errores por código", "A"): lambda t: t.by(lambda e: e.error, lambda e: bool(e.error)),
    ("gpt-sesiones", "Sesiones nuevas en el tiempo", "A"): one(lambda t: t.sessions),
    ("otel-bridge-salud", "Registros en la puerta", "A"): lambda t: {
        "accepted": t.accepted,
        "rejected": t.refused.total(),
    },
    ("otel-bridge-salud", "Rechazos por motivo", "A"): lambda t: dict(t.refused),
    ("otel-bridge-salud", "Respuestas por estado", "A"): lambda t: {"4xx": t.refused.total()} if t.refused else {},
    ("otel-bridge-salud", "Datos personales retirados", "A"): lambda t: dict(t.redactions),
}
"""Over time: they add up to this."""

HEATMAPS: dict[tuple[str, str, str], Expect] = {
    ("gpt-slo", "Cómo se reparte la latencia", "A"): one(lambda t: len(t.measured)),
}
"""Over time: the bucket without an end adds up to this."""

MEANS: dict[tuple[str, str, str], Callable[[Truth], float]] = {
    ("gpt-resumen", "Latencia (5 min)", "media"): Truth.mean,
}

PERCENTILES: dict[tuple[str, str, str], tuple[float, float, tuple[str, ...]]] = {
    ("gpt-resumen", "Latencia (5 min)", "p95"): (0.95, 1, ()),
    ("gpt-resumen", "p95 / objetivo", "A"): (0.95, OBJECTIVE, ()),
    ("gpt-resumen", "Cómo va cada GPT", "B"): (0.95, OBJECTIVE, ()),
    ("gpt-resumen", "Cómo va cada GPT", "C"): (0.95, 1, ()),
    ("gpt-slo", "p95 / objetivo", "A"): (0.95, OBJECTIVE, ()),
    ("gpt-slo", "Estado de cada GPT", "C"): (0.95, OBJECTIVE, ()),
    ("gpt-slo", "Estado de cada GPT", "D"): (0.95, 1, ()),
    ("gpt-slo", "Los tipos más lentos", "B"): (0.95, 1, ("event_type",)),
    ("gpt-slo", "Los tipos más lentos", "C"): (0.95, OBJECTIVE, ("event_type",)),
}
"""At one moment: percentile, what it is divided by, and the labels that it is by."""

LINES = {
    ("gpt-resumen", "Cómo va cada GPT", "T"),
    ("gpt-resumen", "Latencia de las respuestas", "p50"),
    ("gpt-resumen", "Latencia de las respuestas", "p95"),
    ("gpt-resumen", "Latencia de las respuestas", "p99"),
    ("gpt-resumen", "Latencia de las respuestas", "media"),
    ("gpt-resumen", "Latencia promedio por tipo", "A"),
    ("gpt-resumen", "En tiempo real: latencia", "media"),
    ("gpt-resumen", "En tiempo real: latencia", "p95"),
    ("gpt-slo", "Estado de cada GPT", "T"),
    ("gpt-slo", "Los tipos más lentos", "T"),
}
"""Seconds over time: there is a point, and none is above the largest bucket that holds an answer."""

GAUGES: dict[tuple[str, str], Expect] = {
    **{
        (board, panel): one(lambda t: t.sessions)
        for board, panel in (
            ("gpt-resumen", "Sesiones activas"),
            ("gpt-sesiones", "Sesiones activas"),
        )
    },
    **{
        (board, panel): one(lambda t: t.users)
        for board, panel in (("gpt-resumen", "Usuarios activos"), ("gpt-sesiones", "Usuarios activos"))
    },
}
"""Whatever the window."""

SUMS: dict[tuple[str, str, str], Callable[[Truth], float]] = {
    ("gpt-resumen", "Usuarios con más uso (24 h)", "eventos"): lambda t: len(t.events),
    ("gpt-resumen", "Usuarios con más uso (24 h)", "tokens"): lambda t: t.tokens("input") + t.tokens("output"),
    ("gpt-resumen", "Usuarios con más uso (24 h)", "parte"): lambda t: 1,
    ("gpt-resumen", "Uso por hora y día de la semana", "A"): lambda t: len(t.events),
    ("gpt-sesiones", "Uso por hora y día de la semana", "A"): lambda t: len(t.events),
    ("otel-bridge-salud", "Réplicas", "A"): lambda t: 1,
    ("otel-bridge-salud", "Réplicas", "B"): lambda t: 1,
}
"""At one moment: all rows together, whoever and whenever they are of."""
OF_THE_JOURNAL = {key for key in SUMS if "Usuarios" in key[1]}

LAST: dict[tuple[str, str, str], Callable[[Truth], float]] = {
    **{
        ("gpt-sesiones", "Sesiones activas por ventana", f"w{window}"): lambda t: t.sessions
        for window in catalog.WINDOWS
    },
    **{("gpt-sesiones", "Usuarios activos por ventana", f"w{window}"): lambda t: t.users for window in catalog.WINDOWS},
    **{
        ("gpt-resumen", panel, "objetivo"): lambda t: OBJECTIVE
        for panel in ("Latencia de las respuestas", "En tiempo real: latencia", "Latencia promedio por tipo")
    },
    ("gpt-slo", "Presupuesto de error gastado", "A"): Truth.spent,
    ("gpt-slo", "Tiempo hasta el primer token", "objetivo"): lambda t: FIRST_TOKEN,
    ("otel-bridge-salud", "Pendientes y apartados", "parked"): lambda t: 0,
    ("otel-bridge-salud", "Pendientes y apartados", "gap"): lambda t: 0,
    ("otel-bridge-salud", "Valores agrupados", "A"): lambda t: 0,
    **{("otel-bridge-salud", "Réplicas en marcha", ref): lambda t: 1 for ref in ("up", "known", "steward")},
}
"""Over time: the newest point of every series."""

UNFORESEEN: dict[str, set[tuple[str, str, str]]] = {
    "a line that says no more than that there is no traffic, or where a limit is": {
        ("gpt-resumen", "Latencia de las respuestas", "ejemplos"),
        *(
            ("gpt-resumen", panel, ref)
            for panel in ("Latencia de las respuestas", "En tiempo real: latencia", "Latencia promedio por tipo")
            for ref in ("hueco", "sinmedir")
        ),
        *(("gpt-slo", "Ritmo de gasto del presupuesto", ref) for ref in ("hueco", "sinmedir", "n0", "n1")),
        *(("gpt-slo", "p95 frente al objetivo de cada GPT", ref) for ref in ("hueco", "sinmedir", "limite")),
        ("gpt-slo", "Presupuesto de error gastado", "limite"),
    },
    "the shape of a second's rate: how many is beside it": {
        *(("gpt-resumen", "En tiempo real: eventos por segundo", ref) for ref in ("eventos", "errores")),
        *(("otel-bridge-salud", "Lo que entra y lo que sale", ref) for ref in ("in", "out")),
        ("otel-bridge-salud", "Peticiones al almacén de trazas", "A"),
    },
    "of what no scene here does: tests/e2e/test_history.py, tests/pushed": {
        ("otel-bridge-salud", "Historia traída", "A"),
        ("otel-bridge-salud", "Peticiones al almacén de trazas", "B"),
    },
    "a ratio over time, of which the newest is a figure above": {
        *(("gpt-slo", "Ritmo de gasto del presupuesto", f"w{window}") for window in ("5m", "1h", "6h", "3d")),
        ("gpt-slo", "p95 frente al objetivo de cada GPT", "A"),
    },
    "where events name it: a point within the largest of them (see the scene of what builders measure)": {
        ("gpt-resumen", "p95 de cada versión", "A"),
        ("gpt-resumen", "Versiones, una junto a otra", "E"),
        ("gpt-slo", "Primer token de cada GPT", "B"),
        *(("gpt-slo", "Tiempo hasta el primer token", ref) for ref in ("p50", "p95", "ejemplos")),
    },
    "a day, a week or a month that has to be over": {
        ("gpt-resumen", f"Sesiones activas por {period}", "cerrados") for period in ("día", "semana", "mes")
    },
    "a session is measured when it has fallen silent: see the scene of silent sessions": {
        ("gpt-sesiones", "Duración media", "A"),
        ("gpt-sesiones", "Eventos por sesión", "A"),
        ("gpt-sesiones", "Cuánto duran las sesiones", "A"),
        ("gpt-sesiones", "Cuántos eventos tienen las sesiones", "A"),
    },
    "which alerts fire is the rules' to say, and their tests'": {
        ("gpt-slo", "Alertas", "A"),
        ("gpt-slo", "Alertas activas", "A"),
        ("otel-bridge-salud", "Alertas activas", "A"),
    },
    "how fast, how large and how old this bridge is": {
        *(
            ("otel-bridge-salud", panel, "A")
            for panel in (
                *("Respuesta p99", "Diario usado", "Tiempo en marcha", "Retraso de la exportación", "p99 por ruta"),
                *("Cómo se reparte el tiempo de respuesta", "Reinicios", "Versión", "Trabajos de fondo"),
            )
        ),
        *(("otel-bridge-salud", "Tiempo de respuesta", ref) for ref in ("p50", "p99")),
        *(("otel-bridge-salud", "Tamaño del diario", ref) for ref in ("used", "limit")),
        *(("otel-bridge-salud", "Series en uso", ref) for ref in ("used", "limit")),
        ("otel-bridge-salud", "Trabajos de fondo", "B"),
        ("otel-bridge-salud", "Reinicios", "B"),
        ("otel-bridge-salud", "Réplicas", "C"),
        ("otel-bridge-salud", "Pendientes y apartados", "pending"),
    },
}
"""Why → what no table foresees."""


def asked(scene_prometheus: Prometheus, query: Query, start: float, end: float) -> Any:
    if query.instant:
        return scene_prometheus.get("query", query=query.expr, time=end)["result"]
    return scene_prometheus.get("query_range", query=query.expr, start=start, end=end, step=STEP)["result"]


def label(metric: dict[str, str]) -> str:
    return " ".join(value for name, value in sorted(metric.items()) if name not in ("__name__", "le"))


def refusals(numbers: Numbers, query: Query) -> Numbers:
    """Of answers by class only those that a scene counts: `/readyz` is asked as often as a start takes."""
    return {k: v for k, v in numbers.items() if k == "4xx"} if query.panel.startswith("Respuestas") else numbers


def bucket_of(seconds: float) -> tuple[float, float]:
    at = bisect_left(BUCKETS, seconds)
    return (0.0 if at == 0 else BUCKETS[at - 1], BUCKETS[min(at, len(BUCKETS) - 1)])


def wrong(found: Numbers, expected: Numbers) -> str:
    close = found.keys() == expected.keys() and all(
        math.isclose(found[key], expected[key], rel_tol=1e-9, abs_tol=1e-12) for key in found
    )
    return "" if close else f"{found}, not {expected}"


class Reading:
    """What one Prometheus says of every panel, against the truth."""

    def __init__(self, prometheus: Prometheus, truth: Truth, seconds: int) -> None:
        self.prometheus = prometheus
        self.truth = truth
        self.values = {"__range": f"{seconds}s", "__interval": f"{STEP}s", "__rate_interval": f"{STEP + 5}s"}
        self.now = time.time()
        self.end = math.ceil(self.now / STEP) * STEP
        self.start = self.end - 20 * STEP

    def all(self) -> dict[str, str]:
        """Panel and query → what is wrong with it."""
        found = {}
        for query in queries(self.values):
            key = (query.board, query.panel, query.ref)
            result = asked(self.prometheus, query, self.start, self.now if query.instant else self.end)
            problem = self.one(query, key, result)
            if problem:
                found[" / ".join(key)] = problem
        return found

    def one(self, query: Query, key: tuple[str, str, str], result: list[dict[str, Any]]) -> str:
        truth = self.truth
        if query.instant:
            numbers = {label(row["metric"]): float(row["value"][1]) for row in result}
            if key in TOTALS:
                return wrong(refusals(numbers, query), TOTALS[key](truth))
            if key in MEANS:
                return "" if abs(numbers[""] / MEANS[key](truth) - 1) < 0.01 else f"{numbers}"
            if key in PERCENTILES:
                return self._percentile(*PERCENTILES[key], result)
            if (query.board, query.panel) in GAUGES:
                return wrong(numbers, GAUGES[query.board, query.panel](truth))
            return wrong({"": sum(numbers.values())}, {"": SUMS[key](truth)}) if key in SUMS else ""
        values = [(row["metric"], [float(value) for _, value in row["values"]]) for row in result]
        if key in BARS:
            expected = BARS[key](truth)
            sums = {label(metric): sum(points) for metric, points in values}
            return wrong(refusals({k: v for k, v in sums.items() if v or k in expected}, query), expected)
        if key in HEATMAPS:
            sums = {"": sum(sum(points) for metric, points in values if metric.get("le") == "+Inf")}
            return wrong(sums, HEATMAPS[key](truth))
        if key in LAST:
            newest = {label(metric): points[-1] for metric, points in values}
            return wrong(newest, dict.fromkeys(newest, LAST[key](truth))) if newest else "nothing"
        if key in LINES:
            points = [point for _, points in values for point in points if not math.isnan(point)]
            highest = max(bucket_of(seconds)[1] for _, seconds in truth.measured)
            return "" if points and max(points) <= highest + 1e-9 else f"{points[-5:]}, none above {highest}"
        return ""

    def _percentile(self, q: float, divisor: float, by: tuple[str, ...], result: list[dict[str, Any]]) -> str:
        problems = []
        for row in result:
            value = float(row["value"][1])
            mine = [
                seconds
                for event, seconds in self.truth.measured
                if all(row["metric"].get(name) == event.type for name in by)
            ]
            if math.isnan(value) or not mine:
                continue
            exact = sorted(mine)[max(0, math.ceil(q * len(mine)) - 1)]
            low, high = bucket_of(exact)
            if not low - 1e-9 <= value * divisor <= high + 1e-9:
                problems.append(f"{row['metric']}: {value * divisor}, not in ({low}, {high}]")
        shown = sum(1 for row in result if not math.isnan(float(row["value"][1])))
        if not shown:
            problems.append("no percentile")
        return "; ".join(problems)


def check(scene: Scene, prometheus: Prometheus, seconds: int = 3600, truth: Truth | None = None) -> None:
    """Every panel says the truth; what a rule records may take its interval."""
    last: dict[str, str] = {}

    def nothing_wrong() -> bool:
        nonlocal last
        last = Reading(prometheus, truth or scene.truth, seconds).all()
        return not last

    try:
        wait_for(nothing_wrong, "every panel to say the truth", 60)
    except (AssertionError, TimeoutError):
        assert last == {}


# --- the scenes ---------------------------------------------------------------------------------------------------


def test_every_query_is_foreseen_or_has_its_reason() -> None:
    known = [*TOTALS, *BARS, *HEATMAPS, *MEANS, *PERCENTILES, *LINES, *SUMS, *LAST, *chain(*UNFORESEEN.values())]
    asked_for = {(query.board, query.panel, query.ref) for query in queries()}
    gauges = {key for key in asked_for if key[:2] in GAUGES}
    assert {*known, *gauges} == asked_for
    assert len(known) + len(gauges) == len(asked_for), "one is in two tables"


def test_ten_sessions_of_thirty_seven_events(scene: Scene) -> None:
    prometheus = scene.install()
    scene.ten_sessions()
    check(scene, prometheus)


def test_one_event_alone(scene: Scene) -> None:
    prometheus = scene.install()
    scene.post(scene.session(), Posted("consulta", 1.5, 25, 150))
    check(scene, prometheus)


def test_a_new_error_code_and_a_new_model_in_mid_incident(scene: Scene) -> None:
    prometheus = scene.install()
    scene.ten_sessions()
    check(scene, prometheus)
    session = scene.session()
    scene.post(session, *(Posted("consulta", 9.0, error="sin-cupo") for _ in range(24)))
    scene.post(session, *(Posted("pipeline", 3.0, model="sin-precio") for _ in range(5)))
    check(scene, prometheus)


def says(**more: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(more.items())


def test_what_builders_measure_beyond_the_documented_fields_and_what_nobody_measured(scene: Scene) -> None:
    """What nobody measured are events everywhere, and numbers nowhere."""
    prometheus = scene.install()
    scene.ten_sessions()
    session = scene.session()
    calls = [{"nombre": "buscar", "ms": 200}, {"nombre": "buscar", "ms": 300, "error": "timeout"}]
    scene.post(
        session,
        Posted("consulta", 2.0, more=says(ttft_ms=420, version="prompt-7", herramientas=calls)),
        Posted("consulta", 6.0, more=says(ttft_ms=700, version="prompt-8", tokens_razonamiento=200)),
        Posted(
            "pipeline", 3.0, error="timeout", more=says(version="prompt-8", herramientas=[{"nombre": "leer", "ms": 40}])
        ),
    )
    scene.post(
        session, *(Posted("consulta", None, 0, 0) for _ in range(7)), Posted("seguridad", None, 0, 0, "sin-cupo")
    )
    check(scene, prometheus)
    scene.post(session, Posted("pipeline", None, 0, 0, "otro-error"), Posted("consulta", 3.0))
    scene.post(session, Posted("consulta", 2.0, more=says(ttft_ms=450, version="prompt-9", tokens_razonamiento=0)))
    check(scene, prometheus)
    reading = Reading(prometheus, scene.truth, 3600)
    for panel, ref, least, most in (
        ("p95 de cada versión", "A", 1.5, 7.5),
        ("Versiones, una junto a otra", "E", 1.5, 7.5),
        ("Tiempo hasta el primer token", "p50", 0.4, 0.75),
        ("Tiempo hasta el primer token", "p95", 0.4, 0.75),
        ("Primer token de cada GPT", "B", 0.6, 0.75),
    ):
        (found,) = (one for one in queries(reading.values) if (one.panel, one.ref) == (panel, ref))
        rows = asked(prometheus, found, reading.start, reading.now if found.instant else reading.end)
        points = [float(point[1]) for row in rows for point in row.get("values", [row.get("value")])]
        assert points and least <= min(points) <= max(points) <= most, (panel, ref, points)


def test_an_event_while_prometheus_is_away(scene: Scene) -> None:
    prometheus = scene.install()
    scene.ten_sessions()
    check(scene, prometheus)
    prometheus.stop()
    scene.post(scene.session(), Posted("seguridad", 4.5), Posted("consulta", 8.0, error="nuevo"))
    prometheus.start()
    check(scene, prometheus)


def test_a_prometheus_that_is_installed_after_a_thousand_events(scene: Scene) -> None:
    session = scene.session()
    event = {"sesion_id": session, "tipo": "consulta", "contenido": "x", "latency_ms": 2000, "error": "timeout"}
    tokens = {"tokens_entrada": 1, "tokens_salida": 1}
    assert scene.bridge.post("/events", [{**event, **tokens} for _ in range(1000)]).status_code == 201
    prometheus = scene.install()
    time_before = Truth(events=[])
    scene.truth = time_before
    scene.post(session, Posted("consulta", 2.0), Posted("consulta", 12.0, error="timeout"))
    # What is of the journal, or of a snapshot of it, is there whenever Prometheus came.
    skipped = {panel for _, panel in GAUGES} | {panel for _, panel, _ in OF_THE_JOURNAL}
    skipped |= {panel for _, panel, ref in (*TOTALS, *LAST) if ref == "curso" or "por ventana" in panel}
    found: dict[str, str] = {}

    def right() -> bool:
        nonlocal found
        found = Reading(prometheus, scene.truth, 3600).all()
        found = {key: what for key, what in found.items() if key.split(" / ")[1] not in skipped}
        return not found

    try:
        wait_for(right, "what came since", 60)
    except (AssertionError, TimeoutError):
        assert found == {}


def test_two_prometheus_side_by_side(scene: Scene) -> None:
    two = [scene.install(), scene.install()]
    scene.ten_sessions()
    for prometheus in two:
        check(scene, prometheus)
    scene.post(scene.session(), Posted("consulta", 9.0, error="sin-cupo", model="otro-modelo"))
    for prometheus in two:
        check(scene, prometheus)


def test_sessions_that_have_fallen_silent(scene: Scene) -> None:
    prometheus = scene.install()
    tokens = {"tokens_entrada": 1, "tokens_salida": 1}
    for events in (1, 2, 6):
        session = scene.session()
        answer = scene.bridge.post(
            "/events",
            [
                {"sesion_id": session, "tipo": "consulta", "contenido": "x", "latency_ms": 1, **tokens}
                for _ in range(events)
            ],
        )
        assert answer.status_code == 201, answer.text
    # Only now: one that falls silent before its events come is measured twice.
    assert scene.bridge.stop() == 0
    scene.bridge.environ["OTEL_BRIDGE_IDLE_AFTER_SECONDS"] = "1"
    scene.bridge.start()

    def said(panel: str) -> list[dict[str, Any]]:
        reading = Reading(prometheus, scene.truth, 3600)
        (query,) = (query for query in queries(reading.values) if query.panel == panel)
        end = reading.now if query.instant else reading.end
        found: list[dict[str, Any]] = asked(prometheus, query, reading.start, end)
        return found

    wait_for(lambda: float(said("Eventos por sesión")[0]["value"][1]) == 3, "three events a session")
    for panel in ("Cuánto duran las sesiones", "Cuántos eventos tienen las sesiones"):

        def all_of_them(panel: str = panel) -> bool:
            rows = {row["metric"]["le"]: sum(float(value) for _, value in row["values"]) for row in said(panel)}
            return rows.get("+Inf") == 3

        wait_for(all_of_them, f"three sessions in {panel}")
    events = {row["metric"]["le"]: row["values"] for row in said("Cuántos eventos tienen las sesiones")}
    counts = [sum(float(value) for _, value in events[le]) for le in ("0.0", "1.0", "2.0", "4.0", "8.0")]
    assert counts == [0, 1, 2, 2, 3]
    assert 0 <= float(said("Duración media")[0]["value"][1]) < 5


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_restart_and_a_kill_in_the_middle(scene: Scene, how: str) -> None:
    prometheus = scene.install()
    scene.ten_sessions()
    check(scene, prometheus)
    scene.post(scene.session(), Posted("consulta", 9.0, error="antes"))
    if how == "kill":
        scene.bridge.kill()
    else:
        assert scene.bridge.stop() == 0
    scene.bridge.start()
    scene.post(scene.session(), Posted("monitoreo", 3.0, error="antes"), Posted("consulta", 3.0, error="despues"))
    check(scene, prometheus)
