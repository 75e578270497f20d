"""The traffic that the integration guide documents: what `otel-bridge demo` posts.

The seven types, a daily rhythm, a dozen users of whom few write much, answers of a second or two, now and then an
error, a batch or a rating; and, on request, an incident: slow answers. Events say what the guide leaves to choice, too
(time to the first token, reasoning, tools, the prompt's version), so that no panel is empty. What it says on the
terminal is in Spanish.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from otel_bridge.catalog import DEFAULT_EVENT_TYPES
from otel_bridge.commands.api import Api, now_text

Say = Callable[[str], None]

BY_HOUR = (
    *(0.10, 0.07, 0.05, 0.05, 0.06, 0.10, 0.20, 0.40, 0.70, 0.95, 1.00, 0.95),
    *(0.75, 0.65, 0.80, 0.95, 0.95, 0.85, 0.60, 0.45, 0.35, 0.28, 0.20, 0.14),
)
"""Share of the day's busiest minute, by hour."""

SHARES = dict(zip(DEFAULT_EVENT_TYPES, (30, 16, 20, 14, 10, 6, 4), strict=True))
MEDIAN_SECONDS = dict(zip(DEFAULT_EVENT_TYPES, (1.2, 1.9, 1.7, 1.4, 1.6, 1.1, 1.3), strict=True))
SPREAD = 0.35
ERROR_SHARE, INCIDENT_ERROR_SHARE = 0.004, 0.03
ERRORS = ("timeout", "limite_del_proveedor", "herramienta_fallida")
INCIDENT_FACTOR = (6.0, 10.0)
"""How many times longer an answer takes while the incident lasts."""
NEW_SESSION_SHARE, BATCH_SHARE = 0.22, 0.04
VERSIONS = {"prompt-7": 4, "prompt-8": 1}
TOOLS = ("buscar_documentos", "leer_repositorio", "jenkins.log")
TOOLS_SHARE, TOOL_ERROR_SHARE = 0.4, 0.05
RATED_SHARE = 0.08
RATINGS = {1: 8, -1: 1, 0: 1}
QUESTIONS = {
    "consulta": (
        "¿Cómo configuro un pipeline CI/CD con Docker?",
        "¿Cuáles son las mejores prácticas para un pipeline CI/CD?",
        "¿Qué diferencia hay entre un despliegue azul-verde y uno canario?",
    ),
    "configuracion": (
        "Ayúdame a configurar Docker Compose para un stack LAMP",
        "¿Cómo paso los secretos a Kubernetes sin guardarlos en el repositorio?",
    ),
    "troubleshooting": (
        "Mi pipeline de Jenkins falla en el step de testing",
        "El pod reinicia en bucle; escríbeme a operaciones@example.com si hace falta más detalle",
    ),
    "pipeline": ("¿Cómo ejecuto las pruebas en paralelo en GitLab CI?", "¿Dónde guardo la caché de dependencias?"),
    "infraestructura": ("¿Cómo divido el estado de Terraform por entornos?", "¿Módulo propio o del registro?"),
    "monitoreo": ("¿Qué alertas necesita un servicio nuevo?", "¿Cómo mido el p95 con Prometheus?"),
    "seguridad": ("¿Cada cuánto roto los tokens del CI?", "¿Cómo escaneo las imágenes antes de publicarlas?"),
}


@dataclass
class Conversation:
    """An open session, and how many questions are left in it."""

    id: str
    left: int


@dataclass
class Tally:
    """What has been posted so far."""

    sessions: int = 0
    events: int = 0
    errors: int = 0
    seconds: float = 0.0
    retries: int = 0

    def line(self) -> str:
        mean = self.seconds / self.events if self.events else 0.0
        spoken = f"{mean:.1f}".replace(".", ",")
        text = f"{self.sessions} sesiones · {self.events} eventos · {spoken} s de media · {self.errors} con error"
        return text + (f" · {self.retries} reintentos" if self.retries else "")


class Traffic:
    """Decides what is posted, for which user and when. `slow` is the incident; any thread may set and clear it."""

    def __init__(
        self,
        api: Api,
        gpt: str,
        *,
        rate: float = 4.0,
        speed: float = 1.0,
        hour: float | None = None,
        users: int = 12,
        seed: int | None = None,
    ) -> None:
        """`rate`: events a second in the busiest hour. `speed`: how many times faster than the clock the
        day passes, from `hour` on (default: now, UTC)."""
        self.api = api
        self.gpt = gpt
        self.rate = rate
        self.speed = speed
        self.tally = Tally()
        self.slow = threading.Event()
        self._random = random.Random(seed)
        self._users = [f"usuario-{number:02}" for number in range(1, users + 1)]
        self._shares = [1 / rank for rank in range(1, users + 1)]
        self._open: list[Conversation] = []
        now = datetime.now(UTC)
        self._start_hour = now.hour + now.minute / 60 if hour is None else hour
        self._started = time.monotonic()

    def hour(self) -> float:
        """The hour of the demo's day."""
        return (self._start_hour + (time.monotonic() - self._started) * self.speed / 3600) % 24

    def clock(self) -> str:
        hour = self.hour()
        return f"{int(hour):02}:{int(hour % 1 * 60):02}"

    def step(self, stop: threading.Event | None = None) -> None:
        """One post: a session and its first event, an event, or a batch."""
        if not self._open or self._random.random() < NEW_SESSION_SHARE:
            user = self._random.choices(self._users, self._shares)[0]
            session_id, _ = self.api.open_session(
                {"gpt_id": self.gpt, "usuario_id": user, "timestamp_inicio": now_text()}, stop
            )
            self._open.append(Conversation(session_id, self._random.randint(1, 7)))
            self.tally.sessions += 1
        talk = self._random.choice(self._open)
        count = min(talk.left, self._random.randint(2, 5)) if self._random.random() < BATCH_SHARE else 1
        events = [self._event(talk.id) for _ in range(count)]
        answer = self.api.post("/events", events if count > 1 else events[0], stop)
        if count == 1 and self._random.random() < RATED_SHARE and isinstance(answer, dict):
            rating = {"valor": self._random.choices(list(RATINGS), list(RATINGS.values()))[0]}
            self.api.post(f"/events/{answer.get('id')}/valoracion", rating, stop)
        for event in events:
            self.tally.events += 1
            self.tally.seconds += event["latency_ms"] / 1000
            self.tally.errors += "error" in event
        self.tally.retries = self.api.retries
        talk.left -= count
        if talk.left <= 0:
            self._open.remove(talk)

    def pause(self) -> float:
        """Seconds until the next post, by the hour's share of the day."""
        hour = self.hour()
        here, ahead = BY_HOUR[int(hour)], BY_HOUR[(int(hour) + 1) % 24]
        share = here + (ahead - here) * (hour % 1)
        return min(30.0, self._random.expovariate(self.rate * share))

    def _event(self, session: str) -> dict[str, Any]:
        kind = self._random.choices(list(SHARES), list(SHARES.values()))[0]
        seconds = self._random.lognormvariate(math.log(MEDIAN_SECONDS[kind]), SPREAD)
        incident = self.slow.is_set()
        if incident:
            seconds *= self._random.uniform(*INCIDENT_FACTOR)
        event: dict[str, Any] = {
            "sesion_id": session,
            "tipo": kind,
            "contenido": self._random.choice(QUESTIONS[kind]),
            "latency_ms": round(seconds * 1000),
            "tokens_entrada": self._random.randint(10, 60),
            "tokens_salida": self._random.randint(90, 420),
            "timestamp": now_text(),
        }
        if self._random.random() < (INCIDENT_ERROR_SHARE if incident else ERROR_SHARE):
            event["error"] = self._random.choice(ERRORS)
            event["tokens_salida"] = 0
        else:
            event["ttft_ms"] = round(seconds * self._random.uniform(150, 350))
            event["tokens_razonamiento"] = event["tokens_salida"] // self._random.randint(2, 6)
        event["version"] = self._random.choices(list(VERSIONS), list(VERSIONS.values()))[0]
        if self._random.random() < TOOLS_SHARE:
            event["herramientas"] = [self._tool(seconds) for _ in range(self._random.randint(1, 2))]
        return event

    def _tool(self, seconds: float) -> dict[str, Any]:
        """A call of a tool within an answer of that length."""
        tool: dict[str, Any] = {
            "nombre": self._random.choice(TOOLS),
            "ms": round(seconds * self._random.uniform(50, 250)),
        }
        if self._random.random() < TOOL_ERROR_SHARE:
            tool["error"] = "timeout"
        return tool


def post_traffic(
    traffic: Traffic,
    say: Say,
    *,
    duration: float | None = None,
    incident: tuple[float, float] | None = None,
    report_seconds: float | None = 10.0,
    stop: threading.Event | None = None,
) -> None:
    """Posts for `duration` seconds (None: until stopped) and says how it goes. `incident`: when it begins and how
    long it lasts. Raises PostFailed."""
    stop = stop or threading.Event()
    begun = time.monotonic()
    say(
        f"tráfico documentado hacia {traffic.api.shown}/api · GPT {traffic.gpt} · "
        f"hasta {traffic.rate:g} eventos por segundo"
    )
    if traffic.speed != 1:
        say(f"el día va {traffic.speed:g} veces más rápido; son las {traffic.clock()}")
    moments = _moments(begun, duration, incident, report_seconds)
    when, what = next(moments)
    post_at = begun
    while True:
        at = min(post_at, when)
        if stop.wait(max(0.0, at - time.monotonic())):
            break
        if at < when:
            traffic.step(stop)
            post_at = max(post_at, time.monotonic() - 1.0) + traffic.pause()
            continue
        if what == "end":
            break
        if what == "report":
            say(f"{traffic.clock()}  {traffic.tally.line()}")
        elif what == "slow":
            traffic.slow.set()
            say(f"INCIDENTE: cada respuesta tarda ahora {INCIDENT_FACTOR[0]:g} a {INCIDENT_FACTOR[1]:g} veces más")
        else:
            traffic.slow.clear()
            say("fin del incidente: las respuestas vuelven a tardar lo de siempre")
        when, what = next(moments)
    say(f"fin: {traffic.tally.line()}")


def _moments(
    begun: float, duration: float | None, incident: tuple[float, float] | None, report: float | None
) -> Iterator[tuple[float, str]]:
    """(when, what), in order: reports without end, the incident, the end."""
    fixed = []
    if incident is not None:
        fixed += [(begun + incident[0], "slow"), (begun + sum(incident), "well")]
    if duration is not None:
        fixed.append((begun + duration, "end"))
    fixed.sort()
    following = begun + (report or math.inf)
    while True:
        if fixed and fixed[0][0] <= following:
            yield fixed.pop(0)
        else:
            yield following, "report"
            following += report or math.inf
