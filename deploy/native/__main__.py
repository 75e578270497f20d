"""`python -m deploy.native` (`make demo`): the stack, its traffic, an incident, and its alert firing and resolving."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import signal
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

from deploy.native.processes import ProgramEnded
from deploy.native.stack import ROOT, Missing, Stack
from otel_bridge.commands import spanish
from otel_bridge.commands.api import Api, PostFailed
from otel_bridge.commands.traffic import Traffic, post_traffic

ALERT, WINDOW = "GPTLatencyBudgetBurn", "1h"
GPT = "devops-expert"
TOLD_PENDING = ((ALERT, WINDOW), ("GPTLatencyHigh", ""))
"""Of the others, which wait for hours or come and go with a start, only the firing is news."""
STATES = {"pending": "pendiente", "firing": "DISPARADA"}


class Story:
    """Tells on the terminal what happens, as it happens."""

    def __init__(self, stack: Stack, rate: float) -> None:
        self.stack = stack
        self.stop = threading.Event()
        self.begun = time.monotonic()
        api = Api(stack.public_url)
        # The day goes by fast, but not so fast that its night falls on the incident.
        self.traffic = Traffic(api, GPT, rate=rate, speed=240.0 if stack.factor > 1 else 40.0, hour=9.0)
        self._failure: PostFailed | None = None
        self._thread = self._new_thread()
        self._states: dict[tuple[str, str], str] = {}
        self._told = 0

    def say(self, text: str = "") -> None:
        print(f"{datetime.now():%H:%M:%S}  {text}" if text else "", flush=True)

    def tell(self, minutes: float, keep: bool) -> None:
        """The whole story. Raises TimeoutError where the alert does not fire or resolve, ProgramEnded, PostFailed."""
        stack, factor = self.stack, self.stack.factor
        if stack.replicas:
            self.say(
                f"{stack.replicas} otel-bridge sobre un PostgreSQL, detrás de Caddy, con Prometheus y Alertmanager,"
            )
            self.say("con los ficheros de este repositorio")
        else:
            self.say("otel-bridge, Prometheus y Alertmanager, con los ficheros de este repositorio")
        if factor == 1:
            self.say(f"reglas tal cual, con sus tiempos reales: esto dura unos {minutes:.0f} minutos")
        else:
            self.say(f"reglas de prometheus/rules con ventanas y esperas {factor:g} veces más cortas: unos")
            self.say(f"{minutes:.0f} minutos en vez de ocho. Con los tiempos reales: make demo REAL=1")
        stack.start()
        self._addresses()
        self._thread.start()
        calm = max(8.0, 300.0 / factor) if factor > 1 else 60.0
        self._watch(calm, None)
        events = stack.value(f'sum(gpt_slo_events_total{{gen_ai_agent_id="{GPT}"}})')
        self.say(f"Prometheus ya ha leído {events:g} eventos; {self._burn()}")
        self.traffic.slow.set()
        self.say("INCIDENTE: las respuestas tardan de 6 a 10 veces más")
        begun = time.monotonic()
        self._watch(60 + 500 / factor, lambda: self._state() == "firing", f"la alerta {ALERT} disparada")
        self.say(f"a los {time.monotonic() - begun:.0f} s; {self._burn()}")
        self._watch(60 + 120 / factor, lambda: self._paged("firing"), "aviso a la guardia")
        if stack.replicas:
            self._kill_steward()
        self.traffic.slow.clear()
        self.say("FIN DEL INCIDENTE: las respuestas vuelven a tardar lo de siempre")
        begun = time.monotonic()
        self._watch(60 + 700 / factor, lambda: self._state() is None, f"la alerta {ALERT} resuelta")
        self.say(f"a los {time.monotonic() - begun:.0f} s; {self._burn()}")
        self._watch(60 + 120 / factor, lambda: self._paged("resolved"), "aviso de que está resuelta")
        if stack.replicas:
            self._compare()
        self._end()
        if keep:
            if stack.replicas:
                self.stop.clear()
                self._thread = self._new_thread()
                self._thread.start()
            self.say("todo sigue en marcha y con tráfico; Ctrl-C lo para")
            self._watch(float("inf"), None)

    def _addresses(self) -> None:
        stack = self.stack
        rows = [("API", f"{stack.public_url}/api")]
        if stack.replicas:
            rows += [(bridge.name, f"{bridge.url}  (métricas: {bridge.metrics_url})") for bridge in stack.bridges]
            rows.append(
                ("PostgreSQL", f"127.0.0.1:{stack.ports.postgres}, hecho para esto; sus datos se borran al final")
            )
        else:
            rows.append(("métricas", stack.metrics_url))
        rows += [("Prometheus", f"{stack.prometheus_url}/alerts"), ("Alertmanager", stack.alertmanager_url)]
        if stack.has("tempo"):
            rows.append(("Tempo", stack.tempo_url))
        if stack.has("grafana"):
            rows.append(("Grafana", f"{stack.grafana_url}/  (admin · {stack.grafana_password})"))
        for name, place in rows:
            self.say(f"  {name:<15}{place}")
        absent = [name for name in ("tempo", "grafana", "caddy") if not stack.has(name)]
        if absent:
            self.say(f"  no están en esta máquina, y no hacen falta: {', '.join(absent)}")
        self.say(
            f"tráfico documentado hacia {stack.public_url}/api; un día dura {1440 / self.traffic.speed:.0f} minutos"
        )

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._post, name="traffic", daemon=True)

    def _post(self) -> None:
        try:
            post_traffic(self.traffic, lambda text: None, report_seconds=None, stop=self.stop)
        except PostFailed as failed:
            if not self.stop.is_set():
                self._failure = failed

    def _watch(self, seconds: float, until: object, what: str = "") -> None:
        """Tells what changes, until `until` holds (None: until the time is over)."""
        deadline = time.monotonic() + seconds
        report = time.monotonic() + 10
        while True:
            self.stack.programs.check()
            if self._failure is not None:
                raise self._failure
            with contextlib.suppress(OSError, ValueError):  # an answer that did not come is asked again
                self._changes()
                if callable(until) and until():
                    return
            if time.monotonic() > report:
                self.say(f"{self.traffic.clock()}  {self.traffic.tally.line()}")
                report += 10
            if time.monotonic() > deadline:
                if until is None:
                    return
                raise TimeoutError(f"en {seconds:.0f} s no hubo {what}")
            time.sleep(0.5)

    def _kill_steward(self) -> None:
        """`kill -9` of the replica that counts for all; told once another does, and the killed one is back."""
        stack = self.stack
        self._watch(60, lambda: stack.steward() is not None, "una réplica que cuente por todas")
        dead = stack.steward()
        assert dead is not None
        retries, begun = self.traffic.api.retries, time.monotonic()
        self.say(f"kill -9 a {dead.name}, la réplica que cuenta por todas")
        stack.kill_bridge(dead)
        self._watch(60, lambda: stack.steward() not in (None, dead), "otra réplica que cuente por todas")
        heir = stack.steward()
        self.say(f"a los {time.monotonic() - begun:.0f} s cuenta por todas {heir.name if heir else 'otra'}")
        stack.start_bridge(dead)
        stack.wait_ready(dead)
        repeated = self.traffic.api.retries - retries
        self.say(f"{dead.name} vuelve a estar en marcha; envíos que los clientes repitieron: {repeated}")

    def _compare(self) -> None:
        """What clients were told is taken, with what is counted. Raises TimeoutError where that differs."""
        self.stop.set()
        self._thread.join(40)
        posted = self.traffic.tally.events
        counted = f'sum(gen_ai_client_operation_duration_seconds_count{{gen_ai_agent_id="{GPT}"}})'
        self._watch(30, lambda: self.stack.value(counted) == posted, f"{posted} eventos contados, los confirmados")
        self.say(
            f"{posted} eventos confirmados a los clientes = {posted} contados: nada se perdió ni se contó dos veces"
        )

    def _changes(self) -> None:
        now = self.stack.alerts()
        for key, (state, texts) in now.items():
            if self._states.get(key) != state and (state == "firing" or key in TOLD_PENDING):
                name = " ".join(filter(None, key))
                self.say(f"Prometheus: {name} {STATES.get(state, state)}. {texts.get('summary', '')}")
        for key in self._states.keys() - now.keys():
            if self._states[key] == "firing":
                self.say(f"Prometheus: {' '.join(filter(None, key))} RESUELTA")
        self._states = {key: state for key, (state, _) in now.items()}
        assert self.stack.pager is not None
        for _, path, message in self.stack.pager.messages[self._told :]:
            self._told += 1
            for alert in message["alerts"]:
                state = "DISPARADA" if alert["status"] == "firing" else "RESUELTA"
                labels = " ".join(filter(None, (alert["labels"]["alertname"], alert["labels"].get("ventana"))))
                self.say(f"Alertmanager → {path.strip('/')}: {labels} {state}. {alert['annotations'].get('summary')}")

    def _state(self) -> str | None:
        return self._states.get((ALERT, WINDOW))

    def _paged(self, status: str) -> bool:
        assert self.stack.pager is not None
        found = self.stack.pager.alerts(ALERT, status, "/guardia")
        return any(alert["labels"].get("ventana") == WINDOW for alert in found)

    def _burn(self) -> str:
        burn = self.stack.value(f'gpt:gpt_slo_budget:burn_rate5m{{gen_ai_agent_id="{GPT}"}}')
        spoken = f"{burn:.1f}".replace(".", ",")
        return f"el presupuesto de error se gasta a {spoken} veces lo sostenible (avisa a 14,4)"

    def _end(self) -> None:
        value = self.stack.value
        self.say(f"{self.traffic.clock()}  {self.traffic.tally.line()}")
        accepted = value('sum(otel_bridge_records_total{result="accepted"})')
        exported, pending = value("otel_bridge_exported_records_total"), value("otel_bridge_pending_records")
        parked, gap = value("otel_bridge_parked_records"), value("otel_bridge_ledger_gap")
        self.say(
            f"el libro cuadra: {accepted:g} aceptados = {exported:g} entregados + {pending:g} pendientes "
            f"+ {parked:g} apartados"
            if gap == 0
            else f"EL LIBRO NO CUADRA: faltan {gap:g} registros"
        )
        if not self.stack.has("tempo"):
            self.say("  (sin Tempo en esta máquina las trazas esperan en el diario: nada se pierde)")
        took = time.monotonic() - self.begun
        self.say(f"incidente visto, avisado y resuelto en {took // 60:.0f} min {took % 60:.0f} s")

    def close(self) -> None:
        self.stop.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self.stack.stop()


@contextlib.contextmanager
def _folder(wanted: str | None) -> Iterator[Path]:
    """A folder that no other demo uses at the moment."""
    base = Path(wanted) if wanted else ROOT / ".run" / "demo"
    base.parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, 10):
        folder = base if number == 1 else base.with_name(f"{base.name}-{number}")
        with folder.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            yield folder.resolve()
            return
    raise Missing(f"hay demasiadas demostraciones en marcha en {base.parent}")


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _replicas(text: str) -> int:
    if text not in "23456789" or len(text) != 1:
        raise argparse.ArgumentTypeError(f"«{text}»: de 2 a 9")
    return int(text)


def main() -> int:
    spanish.speak()
    parser = argparse.ArgumentParser(
        prog="make demo", description="El stack sin Docker: tráfico, un incidente, y su alerta."
    )
    parser.add_argument(
        "--factor", type=float, default=10.0, help="cuántas veces más cortas son las esperas (por defecto: 10)"
    )
    parser.add_argument(
        "--rate", type=float, default=6.0, help="eventos por segundo en la hora más activa (por defecto: 6)"
    )
    parser.add_argument("--keep", action="store_true", help="sigue en marcha después, hasta Ctrl-C")
    parser.add_argument("--replicas", type=_replicas, default=0, help="tantos puentes sobre un PostgreSQL (de 2 a 9)")
    parser.add_argument("--folder", help="datos y registros (por defecto: .run/demo)")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    story: Story | None = None
    try:
        with _folder(arguments.folder) as folder:
            try:
                story = Story(Stack(folder, arguments.factor, replicas=arguments.replicas), arguments.rate)
                story.tell(2.0 if arguments.factor >= 5 else 8.0, arguments.keep)
                return 0
            finally:
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
                if story is not None:
                    story.close()
                    story.say(f"todo parado; registros de cada programa en {folder}")
    except KeyboardInterrupt:
        return 130
    except (Missing, ProgramEnded, TimeoutError, PostFailed) as trouble:
        print(f"make demo: {trouble}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
