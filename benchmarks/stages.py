"""Where the time of one event goes, in microseconds: each stage alone, the best of several rounds, in one process.

    python -m benchmarks.stages [--events 1000] [--rounds 30] [--sessions 20]

The best round, not the mean: what a stage costs when nothing else wants the machine. Batches, because a stage alone
is too short to time; a single event pays HTTP, the hand-over to the writer and its share of an fsync on top.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.orders import RISING, times
from otel_bridge import config, contract, journal, records
from otel_bridge.access.caller import Access
from otel_bridge.export.spans import SpanProjection
from otel_bridge.intake.answers import all_taken
from otel_bridge.intake.contents import Contents
from otel_bridge.intake.draft import Draft
from otel_bridge.intake.identity import Identity
from otel_bridge.intake.labels import Labels
from otel_bridge.intake.sessions import KnownSession
from otel_bridge.journal import Append, Store
from otel_bridge.metrics.state import MetricState
from otel_bridge.privacy.redaction import Redactor
from otel_bridge.times import format_time

ROOT = Path(__file__).parents[1]
CONTENT = "¿Cómo configuro un pipeline CI/CD con Docker?"
DIRTY = "Mi correo es ana.perez@example.com y mi tarjeta 4111 1111 1111 1111, ¿qué hago con 10.1.2.3?"
_PLAIN = (
    CONTENT,
    "¿Qué diferencia hay entre un Deployment y un StatefulSet en Kubernetes?",
    "Mi build falla por permisos al montar el volumen, ¿qué reviso primero?",
    "¿Cómo vuelvo a la versión anterior sin perder los datos de la base?",
    "Explícame cómo reparte la carga un balanceador por turnos.",
    "¿Conviene separar los logs por servicio o por entorno?",
    "¿Cómo actualizo Python 3.11 a 3.12 en Ubuntu 22.04?",
    "El healthcheck responde 502 desde ayer: ¿por dónde empiezo?",
    "Resume las ventajas de Terraform frente a scripts propios.",
)
_TOLD = (
    "¿Por qué no le llegan los avisos a ana.perez@example.com desde ayer?",
    "Llámame al 612 345 678 cuando termine el despliegue, por favor.",
    "El pipeline falla con OPENAI_API_KEY=sk-proj-abcdEFGH1234ijklMNOP5678qrst, ¿qué reviso?",
)
REALISTIC = tuple(text for told in _TOLD for text in (*_PLAIN, told))
"""A tenth of them holds something: an e-mail, a telephone or a key. Of the others two in nine hold a digit or a colon,
so that the prefilter lets them pass to the finders."""


def batches(
    count: int, events: int, sessions: list[uuid.UUID], contents: Sequence[str] = (CONTENT,), order: str = RISING
) -> list[bytes]:
    """Bodies of distinct events, as the guide's clients write them, with these contents in turn; `order`: of their
    times."""
    types = ("consulta", "configuracion", "troubleshooting", "pipeline", "infraestructura", "monitoreo", "seguridad")
    moments = times(order, time.time_ns() // 1000 - 3_600 * 1_000_000)
    bodies = []
    for b in range(count):
        items = [
            {
                "sesion_id": str(sessions[i % len(sessions)]),
                "tipo": types[i % 7],
                "contenido": contents[i % len(contents)],
                "latency_ms": 300 + (i * 37) % 5000,
                "tokens_entrada": 5 + i % 60,
                # Those whose times are no different ones are told apart by this.
                "tokens_salida": 50 + i % 400 if order == RISING else 500 + b * events + i,
                "timestamp": format_time(next(moments)),
            }
            for i in range(events)
        ]
        bodies.append(json.dumps(items, ensure_ascii=False).encode())
    return bodies


class Stage(NamedTuple):
    """One stage of an event's way: `step` takes the batch with this number through it."""

    name: str
    step: Callable[[int], object]
    rounds: int


@contextmanager
def stages(events: int, rounds: int, session_count: int) -> Iterator[list[Stage]]:
    """The stages, in the order of the way: each needs what those before it have left of the same batch."""
    loaded = config.load(str(ROOT / "otel-bridge.toml"), {})
    with tempfile.TemporaryDirectory(dir=".") as folder:
        store = journal.open(f"sqlite:///{folder}/journal.db", "otlp")
        state = MetricState(loaded.gpts)
        contents, identity, labels = Contents(loaded), Identity(b"k" * 32), Labels(loaded)
        caller = Access(loaded).caller([], "127.0.0.1")
        sessions = [uuid.uuid4() for _ in range(session_count)]
        now_us = time.time_ns() // 1000
        opened: list[records.Record] = [
            records.Session(s.bytes, "devops-expert", f"{i:016x}", now_us, now_us) for i, s in enumerate(sessions)
        ]
        known = {s.int: KnownSession(s.bytes, "devops-expert", f"{i:016x}") for i, s in enumerate(sessions)}
        _write(store, Append(opened, [None] * len(opened)))
        bodies = batches(rounds, events, sessions)
        decoded = [_events(body) for body in bodies]
        redactor, counts = Redactor("on"), dict[str, int]()
        prepared: list[Draft] = []
        projection = SpanProjection(loaded.gpts)
        encoded: dict[int, bytes] = {}
        requests: dict[int, bytes] = {}

        def realistic(i: int) -> None:
            for place in range(events):
                redactor.redact(REALISTIC[place % len(REALISTIC)], counts)

        def prepare(i: int) -> None:
            draft = Draft(identity, labels, decoded[i], caller, now_us, lambda draft: all_taken(draft.records))
            for place, event in enumerate(decoded[i]):
                event_us, found = contract.event_time(event, now_us), dict[str, int]()
                text = event.contenido if contents.leaves(event.contenido) else contents.kept(event.contenido, found)
                draft.add_event(place, event, event_us, known[event.sesion_id.int], text, found)
            prepared.append(draft)

        def encode(i: int) -> None:
            encoded[i] = records.encode(prepared[i].records)

        def project(i: int) -> None:
            requests[i] = projection.request(prepared[i].records)

        yield [
            Stage("decode JSON and check types", lambda i: contract.decode_good_batch(bodies[i]), rounds),
            Stage("check time and text", lambda i: [contract.event_time(e, now_us) for e in decoded[i]], rounds),
            Stage("redact (clean text)", lambda i: [redactor.redact(CONTENT, counts) for _ in range(events)], rounds),
            Stage(
                "redact (e-mail, card, address)",
                lambda i: [redactor.redact(DIRTY, counts) for _ in range(events)],
                min(5, rounds),
            ),
            Stage("redact (realistic: a tenth holds something)", realistic, rounds),
            Stage("prepare (time, redact, identity, record)", prepare, rounds),
            Stage("journal: serialise", encode, rounds),
            Stage("journal: write and fsync", lambda i: _write(store, prepared[i]), rounds),
            Stage("count (metrics)", lambda i: state.apply(prepared[i].records, i), rounds),
            Stage("answer", lambda i: all_taken(prepared[i].records), rounds),
            Stage("export: read record", lambda i: records.decode(encoded[i]), rounds),
            Stage("export: encode span", project, rounds),
            Stage("(a receiver parses it)", lambda i: ExportTraceServiceRequest.FromString(requests[i]), rounds),
        ]
        contents.close()
        store.close()


class Table:
    def __init__(self, events: int) -> None:
        self._events = events
        self.rows: list[tuple[str, float]] = []

    def measure(self, stage: Stage) -> None:
        best = float("inf")
        for i in range(stage.rounds):
            started = time.perf_counter()
            stage.step(i)
            best = min(best, time.perf_counter() - started)
        self.rows.append((stage.name, best / self._events * 1e6))

    def lines(self) -> Iterator[str]:
        for name, micros in self.rows:
            yield f"| {name} | {micros:.2f} |"


def run(events: int, rounds: int, session_count: int) -> Table:
    table = Table(events)
    with stages(events, rounds, session_count) as all_of_them:
        for stage in all_of_them:
            table.measure(stage)
    return table


def _events(body: bytes) -> list[contract.EventIn]:
    return [item for item in contract.decode_good_batch(body) or () if isinstance(item, contract.EventIn)]


def _write(store: Store, append: Append) -> None:
    store.begin()
    store.write([append])
    store.commit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1000, help="events a batch")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--sessions", type=int, default=20)
    arguments = parser.parse_args()
    print("| stage | µs an event |\n|---|---:|")
    for line in run(arguments.events, arguments.rounds, arguments.sessions).lines():
        print(line)


if __name__ == "__main__":
    main()
