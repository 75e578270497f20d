"""Whether records can be accepted safely, and what an operator would ask next: what `/readyz` answers, in Spanish.

It stands on the public port: it says that something is wrong and where to read more, no words or addresses of others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from otel_bridge.access.jwks import IssuerKeys
from otel_bridge.access.limits import RateLimits
from otel_bridge.clock import CLOCK
from otel_bridge.export.exporter import Exporter
from otel_bridge.journal import DamagedPart, Journal
from otel_bridge.ops import going_back, space
from otel_bridge.ops.reload import Reloader
from otel_bridge.ops.space import Space
from otel_bridge.ops.supervisor import Worker

_FULL = {
    space.AT_LIMIT: "el diario alcanzó journal_max_size",
    space.NO_ROOM: "queda menos espacio libre que disk_min_free",
}
_DELIVERY = {
    "starting": "arrancando",
    "restarting": "arrancando otra vez",
    "ok": "ok",
    "retry": "en espera: el destino no responde o pide esperar; el log dice qué respondió",
    "config": "detenida: el destino no acepta esta configuración; el log dice qué respondió",
    "poison": "el destino rechaza registros; el log dice qué respondió",
    "partial": "el destino tomó solo una parte; el log dice qué respondió",
    "damaged": "detenida: no se puede leer lo que sigue del diario; el log dice qué hacer",
}
"""By the state of the exporter. The endpoint's own words and addresses are for the log: anyone may ask here."""

_PUSH = {
    "starting": "arrancando",
    "ok": "ok",
    "retry": "no llegan: el destino no responde o pide esperar; el log dice qué respondió",
    "config": "no llegan: el destino no acepta esta configuración; el log dice qué respondió",
    "poison": "no llegan: el destino las rechaza; el log dice qué respondió",
    "partial": "el destino tomó solo una parte; el log dice qué respondió",
}
"""By the state of who pushes metrics. /metrics shows them in any case: it makes nobody unready."""

_ALONE = "Redis no está disponible; cada réplica cuenta sola; el log dice por qué"

_DAMAGED = {
    DamagedPart.SEGMENTS: "los registros más nuevos",
    DamagedPart.SESSIONS: "sesiones",
    DamagedPart.KEYS: "identificadores vistos",
    DamagedPart.USAGE: "uso por usuario",
    DamagedPart.CURSOR: "hasta dónde se entregó",
    DamagedPart.PARKED: "registros apartados",
    DamagedPart.SNAPSHOT: "la foto de las métricas",
    DamagedPart.ANY: "algo de lo que se escribe al aceptar",
}


class Health:
    """Asks every part that can be unwell. Any thread."""

    def __init__(
        self,
        journal: Journal,
        space: Space,
        exporter: Exporter | None,
        reloader: Reloader,
        limits: RateLimits,
        issuer_keys: IssuerKeys,
        workers: Sequence[Worker],
        replicas: Callable[[], dict[str, object] | None],
        push: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`replicas`: who of them counts; None where there are no others. `push`: the state of who pushes metrics; None
        where nobody does."""
        self._journal = journal
        self._went_back = journal.store.went_back
        self._space = space
        self._exporter = exporter
        self._reloader = reloader
        self._limits = limits
        self._issuer_keys = issuer_keys
        self._workers = workers
        self._replicas = replicas
        self._push = push

    def workers(self) -> list[tuple[str, bool, int]]:
        """Every background worker: its name, whether it is up, how often it was started again."""
        writer = ("journal-writer", self._journal.alive and self._journal.fatal_error is None, 0)
        return [writer, *((worker.name, worker.alive, worker.restarts) for worker in self._workers)]

    def readiness(self) -> tuple[bool, dict[str, object]]:
        """Whether records can be accepted safely, and the body of `/readyz`."""
        problems = []
        why_full = self._space.why_full()
        if self._journal.store.displaced:
            problems.append(
                "diario: sus archivos se borraron, movieron o reemplazaron con el puente en marcha; no se acepta nada; "
                "el log dice cuáles y qué hacer"
            )
        elif why_full is not None:
            problems.append(f"disco: {_FULL[why_full]}")
        elif not self._journal.outcome_known:
            ends = (
                "; el puente termina, y lo decide el próximo arranque" if self._journal.fatal_error is not None else ""
            )
            problems.append(f"diario: no se sabe aún si se guardó lo último{ends}; el log dice por qué")
        elif self._journal.stalled:
            problems.append("diario: lo último que se guarda tarda demasiado; no se acepta más mientras tanto")
        elif self._journal.last_error is not None:
            problems.append("diario no disponible: no se puede escribir; el log dice por qué")
        damaged = [_DAMAGED[part] for part in self._journal.damage.parts() if part in _DAMAGED]
        if damaged:
            taken = "no se acepta nada" if self._journal.damage.refuses else "se acepta lo que no lo necesita"
            problems.append(f"diario dañado ({', '.join(damaged)}): {taken}; el log dice qué hacer")
        problems += [f"proceso de fondo caído: {name}" for name, up, _ in self.workers() if not up]
        replicas, push = self._replicas(), self._push()
        return not problems, {
            "estado": "no listo" if problems else "listo",
            "problemas": problems,
            "diario": "ok" if self._went_back is None else going_back.note(self._went_back),
            "exportacion": self._export(),
            "configuracion": self._configuration(),
            "reloj": _clock(),
            "limites": _ALONE if self._limits.fallback else "normales",
            "identidad": self._identity(),
            **({} if push is None else {"metricas": {"estado": _PUSH[push]}}),
            **({} if replicas is None else {"replicas": replicas}),
        }

    def _identity(self) -> dict[str, object]:
        """Keys of API go on without the identity provider: it makes nobody unready."""
        keys = self._issuer_keys
        if not keys.configured:
            return {"estado": "sin proveedor de identidad: no se aceptan tokens de acceso"}
        if keys.known is None:
            words = "aún no se conocen las claves del proveedor de identidad: los tokens de acceso reciben 503; el log"
            return {"estado": f"{words} dice por qué"}
        if keys.failing:
            return {"estado": "el proveedor de identidad no responde; se sigue con las claves que se conocen de él"}
        return {"estado": "ok"}

    def _export(self) -> dict[str, object]:
        if self._exporter is None:
            return {"estado": "sin destino configurado; los registros esperan en el diario"}
        return {"estado": _DELIVERY[self._exporter.state]}

    def _configuration(self) -> dict[str, object]:
        """Says that something is wrong, and not what: that may name paths, and anyone may ask."""
        state: dict[str, object] = {"estado": "vigente"}
        if self._reloader.failure is not None:
            state["estado"] = "el archivo tiene un error y sigue vigente la anterior; el log dice cuál"
        if self._reloader.pending:
            state["requieren_reinicio"] = list(self._reloader.pending)
        return state


def _clock() -> dict[str, object]:
    """Nothing is lost by a clock that steps: it makes nobody unready."""
    skew_s = CLOCK.skew_us() // 1_000_000
    if CLOCK.believed and abs(skew_s) <= 1:
        return {"estado": "ok"}
    if abs(skew_s) <= 1:
        words = "la hora aún no se da por buena; mientras tanto no se borra nada ni se da por inactiva ninguna sesión"
        return {"estado": words}
    where = "adelantado" if skew_s > 0 else "atrasado"
    words = f"el reloj del sistema saltó y va {where}; el puente sigue con su propia hora y no borra nada entretanto"
    return {"estado": words, "desfase_segundos": skew_s}
