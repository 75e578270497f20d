"""The stack in the state that a runbook page is read in: real bridges, Prometheus, Alertmanager, PostgreSQL.

Pages share states. Each is made when the first page asks for it, and ended when no page is left that does.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests

from tests.chaos.test_clock import Clocked
from tests.chaos.test_poison import POISON
from tests.chaos.test_poison import _bad as bad
from tests.harness import postgres
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, ROOT, Bridge
from tests.harness.fleet import Fleet
from tests.harness.otlp import OK, OtlpReceiver, Reply
from tests.harness.ports import free_port
from tests.harness.prometheus import Prometheus, available
from tests.harness.stand_in import StandIn
from tests.harness.waiting import wait_for

GPT = "devops-expert"
DAY = 86_400
WEEK = 7 * DAY
QUICK = {"OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS": "0.2"}


@dataclass
class State:
    """What a page's reader has before them."""

    prometheus: Prometheus
    bridge: Bridge | None = None
    """The one that commands are run beside."""
    alertmanager: str = ""
    places: dict[str, str] = field(default_factory=dict)
    """An address that a page writes → the one that it has here."""
    during: Callable[[], AbstractContextManager[Any]] = nullcontext
    """In it while a page is tried."""
    server: postgres.Cluster | None = None

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """The command as it stands, where its reader is natively: in the bridge's folder, with its environment."""
        bridge = self.bridge
        places = {
            "http://localhost:9090": self.prometheus.url,
            "http://localhost:9093": self.alertmanager,
            "TU-NOMBRE": "ana",
            **self.places,
        }
        if bridge is not None:
            in_file = "OTEL_BRIDGE_JOURNAL" not in bridge.environ
            places |= {"CARPETA": "data" if in_file else ".", "https://DOMINIO": bridge.url}
        for written, here in places.items():
            command = command.replace(written, here)
        env = {} if bridge is None else bridge.env()
        if bridge is not None:
            env |= {"OTEL_BRIDGE_PORT": str(bridge.port), "OTEL_BRIDGE_METRICS_PORT": str(bridge.metrics_port)}
        folder = ROOT
        if bridge is not None and command.startswith(("otel-bridge", "ls", "df")):
            folder = bridge.folder
        elif bridge is not None and command.startswith(
            "sqlite3"
        ):  # in a copy of the journal's folder, as the page says
            folder = Path(shutil.copytree(bridge.journal.parent, bridge.folder / "copia", dirs_exist_ok=True))
        return subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env={**os.environ, **env, "PATH": f"{self.prometheus.folder}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
        )


def _post_whatever_comes(bridge: Bridge) -> None:
    """A client's post, whose answer may wait for the server."""
    with suppress(requests.RequestException):
        requests.post(f"{bridge.api}/sessions", json=GUIDE_SESSION, timeout=60)


def _knows_no_steward(bridge: Bridge) -> bool:
    answer = bridge.http.get(f"{bridge.url}/readyz", timeout=5)
    return answer.status_code == 503 and "no se sabe" in answer.json()["replicas"]["estado"]


class States:
    """`states["parked"]` is made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, State] = {}
        self._ends: dict[str, ExitStack] = {}
        self._end = ExitStack()
        """Of the state that is being made."""

    def __getitem__(self, name: str) -> State:
        if name not in self._made:
            end = self._ends[name] = ExitStack()
            outer, self._end = self._end, end
            try:
                self._made[name] = getattr(self, f"_{name}")()
            finally:
                self._end = outer
        return self._made[name]

    def keep(self, names: Collection[str]) -> None:
        """Ends every other one: each takes its share of the machine."""
        for name in set(self._ends) - set(names):
            self._made.pop(name, None)
            self._ends.pop(name).close()

    # --- parts ----------------------------------------------------------------------------------------------------

    def _bridge(self, name: str, config: str | None = None, **environ: str) -> Bridge:
        folder = self._folder / name
        folder.mkdir()
        made = Bridge(folder, config, **environ)
        self._end.callback(made.close)
        return made

    def _receiver(self, reply: Reply = OK) -> OtlpReceiver:
        receiver = OtlpReceiver().start()
        self._end.callback(receiver.close)
        receiver.behave = lambda spans: reply
        return receiver

    def _prometheus(
        self,
        name: str,
        *bridges: Bridge,
        ruled: bool = False,
        before: Callable[[Prometheus], None] | None = None,
        **options: Any,
    ) -> Prometheus:
        """Reads the bridges each half a second. `ruled`: by our rules. `before`: what is done before it starts."""
        if available() is None:
            pytest.skip("Prometheus is not installed: scripts/ensure-tools installs it")
        folder = self._folder / f"{name}-prometheus"
        rules = folder / "rules"
        rules.mkdir(parents=True)
        for shipped in (ROOT / "prometheus" / "rules").glob("*.yml"):
            if ruled and not shipped.name.startswith("boards"):
                text = re.sub(r"^(    interval:) \w+$", r"\1 1s", shipped.read_text("utf-8"), flags=re.MULTILINE)
                (rules / shipped.name).write_text(text, encoding="utf-8")
        program = folder / "otel-bridge"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m otel_bridge "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        targets = [bridge.metrics_url.removeprefix("http://").removesuffix("/metrics") for bridge in bridges]
        made = Prometheus(
            folder, targets=[*targets, *options.pop("targets", ())], rules=sorted(rules.iterdir()), interval="500ms",
            **options,
        )  # fmt: skip
        self._end.callback(made.close)
        if before is not None:
            before(made)
        made.start()
        if bridges:
            wait_for(lambda: made.query("otel_bridge_build_info"), "a scrape")
        return made

    def _seen(self, name: str, bridge: Bridge, **options: Any) -> State:
        return State(self._prometheus(name, bridge, **options), bridge)

    # --- states of the bridge -------------------------------------------------------------------------------------

    def _parked(self) -> State:
        """The endpoint refuses an event, and takes others."""
        receiver = self._receiver()
        bridge = self._bridge("parked", **receiver.environ).start()
        state = self._seen("parked", bridge)
        session = bridge.session()
        receiver.behave = lambda spans: Reply(400, b"atributo prohibido") if bad(spans) else OK
        bridge.event(session, tipo=POISON)
        wait_for(lambda: bridge.metric("otel_bridge_parked_records") == 1, "a parked record")
        return state

    def _stalled(self) -> State:
        """The endpoint answers 503."""
        bridge = self._bridge("stalled", **self._receiver(Reply(503, keep=False)).environ).start()
        bridge.event(bridge.session())
        return self._seen("stalled", bridge)

    def _full(self) -> State:
        """The journal has reached journal_max_size: all is refused."""
        bridge = self._bridge("full", OTEL_BRIDGE_JOURNAL_MAX_SIZE="512KiB", **self._receiver(Reply(503)).environ)
        state = self._seen("full", bridge.start())
        session = bridge.session()
        # Its pages alone are more, at once: the write-ahead log counts too, and may be short again a second later.
        batch = [{**GUIDE_EVENT, "sesion_id": session, "contenido": "x" * 2000}] * 400
        assert bridge.post("/events", batch).status_code == 201
        wait_for(lambda: bridge.event(session).status_code == 503, "a journal that is full")
        for _ in range(10):
            assert bridge.event(session).status_code == 503
        return state

    def _limited(self) -> State:
        """A client posts more than its limit."""
        bridge = self._bridge("limited", OTEL_BRIDGE_RATE_LIMIT="20/minute").start()
        state = self._seen("limited", bridge)
        session = bridge.session()
        assert [bridge.event(session).status_code for _ in range(60)].count(429) > 20
        return state

    def _down(self) -> State:
        bridge = self._bridge("down").start()
        state = self._seen("down", bridge)
        bridge.event(bridge.session())
        bridge.kill()
        wait_for(lambda: state.prometheus.value("up") == 0, "a scrape that fails")
        return state

    def _absent(self) -> State:
        """The bridge is well, and the list of targets has another address."""
        bridge = self._bridge("absent").start()
        prometheus = self._prometheus("absent", targets=[f"127.0.0.1:{free_port()}"])
        address = bridge.metrics_url.removesuffix("/metrics")
        return State(prometheus, bridge, places={"http://otel-bridge:9464": address})

    def _displaced(self) -> State:
        bridge = self._bridge("displaced").start()
        state = self._seen("displaced", bridge)
        bridge.event(bridge.session())
        bridge.journal.rename(bridge.journal.with_suffix(".moved"))
        wait_for(lambda: bridge.metric("otel_bridge_journal_in_place") == 0, "a look at the files")
        return state

    def _went_back(self) -> State:
        """An older copy stands in the journal's place."""
        bridge = self._bridge("back").start()
        bridge.event(bridge.session())
        assert bridge.stop() == 0
        older = shutil.copy(bridge.journal, self._folder / "older.db")
        bridge.start()
        for _ in range(5):
            bridge.event(bridge.session())
        assert bridge.stop() == 0
        shutil.copy(older, bridge.journal)
        return self._seen("back", bridge.start())

    def _gap(self) -> State:
        """Somebody has deleted records by hand."""
        bridge = self._bridge("gap").start()
        state = self._seen("gap", bridge)
        session = bridge.session()
        assert bridge.post("/events", [{**GUIDE_EVENT, "sesion_id": session}] * 7).status_code == 201
        with closing(sqlite3.connect(bridge.journal, timeout=10, isolation_level=None)) as db:
            assert db.execute("DELETE FROM segment WHERE last = 8").rowcount == 1
        return state

    def _worker(self) -> State:
        """A table is gone that a worker reads: it dies again and again."""
        bridge = self._bridge("worker", OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS="0.1").start()
        state = self._seen("worker", bridge)
        with closing(sqlite3.connect(bridge.journal, timeout=10, isolation_level=None)) as db:
            db.execute("ALTER TABLE usage RENAME TO gone")
        wait_for(lambda: bridge.metric("otel_bridge_worker_restarts_total", worker="windows") >= 3, "three deaths")
        return state

    def _clock(self) -> State:
        """The machine's clock steps forty days ahead."""
        clocked = Clocked(lambda **environ: self._bridge("clocked", **environ), self._folder)
        state = self._seen("clock", clocked.bridge.start())
        clocked.step_and_wait(40 * DAY)
        # Commands are run by a machine whose clock is right again, or they would doubt it, too.
        for name in [name for name in clocked.bridge.environ if "FAKE" in name or name == "LD_PRELOAD"]:
            del clocked.bridge.environ[name]
        return state

    # --- replicas -------------------------------------------------------------------------------------------------

    def _replicas(self) -> State:
        """Two over one PostgreSQL, one of them killed."""
        if postgres.programs() is None:
            pytest.skip("PostgreSQL is not installed: scripts/ensure-tools installs it")
        server = postgres.Cluster()
        self._end.callback(server.close)
        server.start()
        fleet = Fleet(self._folder / "fleet", server.dsn(server.database()), replicas=2)
        self._end.callback(fleet.close)
        fleet.start()
        prometheus = self._prometheus("replicas", *fleet.bridges, job="otel-bridge-replicas")
        wait_for(lambda: len(prometheus.query("otel_bridge_steward")) == 2, "two replicas")
        steward = fleet.steward()
        assert steward is not None
        (other,) = (bridge for bridge in fleet.bridges if bridge is not steward)
        other.event(other.session())
        other.kill()
        wait_for(lambda: prometheus.value("sum(up)") == 1, "a replica that is gone")
        return State(prometheus, steward, server=server)

    def _no_steward(self) -> State:
        """The same, without its PostgreSQL."""
        replicas = self["replicas"]
        server, bridge = replicas.server, replicas.bridge
        assert server is not None and bridge is not None

        @contextmanager
        def stopped() -> Iterator[None]:
            server.stop()
            try:
                wait_for(lambda: replicas.prometheus.value("max(otel_bridge_steward)") == 0, "no steward", 60)
                client = Thread(target=_post_whatever_comes, args=(bridge,))
                client.start()
                wait_for(lambda: _knows_no_steward(bridge), "a replica that knows", 60)
                yield
            finally:
                server.start()
            client.join()
            wait_for(lambda: replicas.prometheus.query("otel_bridge_steward == 1"), "a steward again", 60)

        return State(replicas.prometheus, bridge, during=stopped)

    # --- states of a GPT ------------------------------------------------------------------------------------------

    def _busy(self) -> State:
        """Slow, with errors, rated badly, dear, and of more models, versions and tools than there is room for."""
        config = (ROOT / "otel-bridge.toml").read_text(encoding="utf-8")
        config = re.sub(
            r"^(slo_target = .*)$", r"\1\nttft_objective_seconds = 1.0", config, count=1, flags=re.MULTILINE
        )
        caps = {"OTEL_BRIDGE_MAX_MODELS_PER_GPT": "3", "OTEL_BRIDGE_MAX_ERRORS_PER_GPT": "3"}
        bridge = self._bridge("busy", config, **caps, **QUICK).start()
        alertmanager = self._alertmanager()
        state = State(self._prometheus("busy", bridge, ruled=True), bridge, alertmanager)
        session = bridge.session()
        for i in range(40):
            slow = {
                **GUIDE_EVENT,
                "sesion_id": session,
                "latency_ms": 30_000,
                "ttft_ms": 9000,
                "tokens_salida": 4000,
                "tokens_razonamiento": 1000,
                "version": f"v{i}",
                "herramientas": [{"nombre": f"herramienta-{i}", "ms": 100}],
                **({"error": f"codigo_{i % 6}", "modelo": f"modelo-{i % 6}"} if i % 2 else {}),
            }
            answer = bridge.post("/events", slow)
            assert answer.status_code == 201, answer.text
            if i < 12:
                rated = bridge.post(f"/events/{answer.json()['id']}/valoracion", {"valor": -1})
                assert rated.status_code in (200, 201), rated.text
            if i == 30:  # what is new shows 0 first: let a scrape see it
                wait_for(lambda: state.prometheus.query("gpt_tool_calls_total{tool='otro'}"), "a scrape amid them")
        for _ in range(30):
            assert bridge.event(session, latency_ms=-1).status_code == 422
        return state

    def _silent(self) -> State:
        """No event today; a week ago there were some, which Prometheus still has."""
        bridge = self._bridge("silent").start()

        def before(prometheus: Prometheus) -> None:
            then = int(time.time()) - WEEK
            labels = f'gen_ai_agent_id="{GPT}",job="otel-bridge",instance="{bridge.metrics_url[7:-8]}",result="good"'
            lines = [f"gpt_slo_events_total{{{labels}}} {30 + 60 * i} {then - 1500 + 240 * i}" for i in range(6)]
            page = prometheus.folder / "week.om"
            page.write_text("\n".join([*lines, "# EOF\n"]), encoding="utf-8")
            command = [
                "promtool",
                "tsdb",
                "create-blocks-from",
                "openmetrics",
                str(page),
                str(prometheus.folder / "tsdb"),
            ]
            subprocess.run(command, check=True, capture_output=True, timeout=60)

        return self._seen("silent", bridge, before=before)

    # --- the rest of the stack ------------------------------------------------------------------------------------

    def _discards(self) -> State:
        """A trace store that throws away more and more, as a real one shows it (test_tempo_limits.py)."""
        thrown = iter(range(10, 10_000))

        def page(path: str, headers: dict[str, str]) -> tuple[int, bytes]:
            labels = 'reason="trace_too_large",tenant="single-tenant"'
            text = (
                f"# TYPE tempo_discarded_spans_total counter\ntempo_discarded_spans_total{{{labels}}} {next(thrown)}\n"
            )
            return 200, text.encode()

        tempo = StandIn(page, content_type="text/plain; version=0.0.4")
        self._end.callback(tempo.close)
        bridge = self._bridge("discards")
        return State(
            self._prometheus("discards", targets=[tempo.address]), bridge, places={"http://tempo:3200": tempo.url}
        )

    def _alertmanager(self) -> str:
        """The shipped one; its address."""
        program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
        if program is None:
            pytest.skip("Alertmanager is not installed: scripts/ensure-tools installs it")
        port = free_port()
        folder = self._folder / f"alertmanager-{port}"
        folder.mkdir()
        config = ROOT / "prometheus" / "alertmanager" / "alertmanager.yml"
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    program,
                    f"--config.file={config}",
                    f"--storage.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                    "--cluster.listen-address=",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._end.callback(process.wait, 20)
        self._end.callback(process.send_signal, signal.SIGTERM)
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: requests.get(f"{url}/-/ready", timeout=2).status_code == 200, "Alertmanager")
        return url

    def _alive(self) -> State:
        """All is well: the alert that always fires arrives."""
        bridge = self._bridge("alive").start()
        alertmanager = self._alertmanager()
        address = alertmanager.removeprefix("http://")
        port = free_port()
        prometheus = self._prometheus(
            "alive",
            bridge,
            ruled=True,
            targets=[address, f"127.0.0.1:{port}"],
            alertmanagers=[address],
            port=port,
            flags=["--rules.alert.resend-delay=1s"],
        )

        def arrived() -> bool:
            found = requests.get(f"{alertmanager}/api/v2/alerts", timeout=5).json()
            return any(one["labels"]["alertname"] == "Watchdog" for one in found)

        wait_for(arrived, "the alert that always fires", 60)
        return State(prometheus, bridge, alertmanager)
