"""`serve --workers`: several processes behind one port, over one journal in PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.harness.bridge import GUIDE_EVENT, OPENMETRICS, Bridge
from tests.harness.otlp import OtlpReceiver, Reply
from tests.harness.ports import answers, free_ports
from tests.harness.postgres import LAX, Cluster
from tests.harness.waiting import wait_for

WORKERS = 2
READ_AGAIN = "the configuration was read again"
Make = Callable[..., "Workers"]


class Workers(Bridge):
    """A bridge of several processes: `process` is the one that keeps them."""

    def __init__(self, folder: Path, **environ: str) -> None:
        super().__init__(folder, **environ)
        self.arguments = ["--workers", str(WORKERS)]
        self.metrics_port = free_ports(WORKERS)

    def ready(self) -> Workers:
        """Waits until each worker has said that it serves, and returns itself."""

        def all_there() -> bool:
            pids, said = self.pids(), self.output()
            return len(pids) == WORKERS and all(f"proceso {pid}, http" in said for pid in pids)

        wait_for(all_there, "workers that are all there", 60)
        return self

    @property
    def metrics_ports(self) -> range:
        return range(self.metrics_port, self.metrics_port + WORKERS)

    def pids(self) -> list[int]:
        assert self.process is not None
        pid = self.process.pid
        return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()))

    def processes(self) -> list[psutil.Process]:
        """Everything that runs in its folder."""
        return [one for one in psutil.process_iter(["cwd"]) if one.info["cwd"] == str(self.folder)]

    def shared(self, name: str) -> float:
        """Of the page that counts for all: the sum of a metric, once all have been shown it twice."""
        for port in [*self.metrics_ports] * 2:
            text = requests.get(f"http://127.0.0.1:{port}/metrics", headers=OPENMETRICS, timeout=10).text
            if "\notel_bridge_steward 1" in text:
                found = text
        return sum(float(line.split()[1]) for line in found.splitlines() if line.startswith(name))

    def lines(self) -> list[dict[str, object]]:
        """What it has logged."""
        return [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    server = Cluster(LAX).start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def with_tables(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database to copy."""
    name = cluster.database()
    bridge = Bridge(tmp_path_factory.mktemp("migrate"), OTEL_BRIDGE_JOURNAL=cluster.dsn(name))
    done = bridge.run("journal", "migrate", timeout=60)
    assert done.returncode == 0, done.stderr
    return name


@pytest.fixture
def make(cluster: Cluster, with_tables: str, tmp_path: Path) -> Iterator[Make]:
    made: list[Workers] = []

    def new(tables: bool = True, **environ: str) -> Workers:
        folder = tmp_path / f"bridge{len(made)}"
        folder.mkdir()
        name = cluster.database(with_tables) if tables else cluster.database()
        environ = {"OTEL_BRIDGE_JOURNAL": cluster.dsn(name), "OTEL_BRIDGE_SHUTDOWN_SECONDS": "2", **environ}
        made.append(Workers(folder, **environ))
        return made[-1]

    yield new
    for one in made:
        for process in one.processes():
            process.kill()
        one.close()


class Load:
    """Posts events from several threads, each post over a connection of its own: any worker may get it."""

    def __init__(self, bridge: Bridge, threads: int = 4) -> None:
        self.answered: list[int] = []
        self.unanswered = 0
        self._bridge, self._ends = bridge, threading.Event()
        self._session = bridge.session()
        self._threads = [threading.Thread(target=self._post) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _post(self) -> None:
        event = {**GUIDE_EVENT, "sesion_id": self._session}
        while not self._ends.is_set():
            try:
                self.answered.append(requests.post(f"{self._bridge.api}/events", json=event, timeout=30).status_code)
            except requests.ConnectionError:
                self.unanswered += 1

    def more(self, count: int = 100) -> None:
        goal = len(self.answered) + count
        wait_for(lambda: len(self.answered) > goal, "more answers", 60)

    def stop(self) -> int:
        """How many were acknowledged."""
        self._ends.set()
        for thread in self._threads:
            thread.join()
        return self.answered.count(201)


def test_workers_serve_one_port_as_one_bridge_and_each_is_kept(make: Make, receiver: OtlpReceiver) -> None:
    bridge = make(**receiver.environ)
    bridge.start()
    bridge.ready()
    assert bridge.process is not None
    said = bridge.output()
    for number, port in enumerate(bridge.metrics_ports, 1):
        assert f"trabajador {number} proceso " in said and f":{port}/metrics" in said
    assert said.count("envía a") == 1

    # The port is theirs: whoever comes later is refused, and gets no share of it.
    for more in (["--workers", "2"], []):
        done = bridge.run("serve", "--port", str(bridge.port), "--metrics-port", "0", *more)
        assert done.returncode == 2 and "la API no puede escuchar en" in done.stderr

    # SIGHUP is passed on to all of them, and the log says who says it.
    bridge.process.send_signal(signal.SIGHUP)
    wait_for(lambda: bridge.output().count(READ_AGAIN) == WORKERS, "a reload of each")
    assert {line.get("worker") for line in bridge.lines() if READ_AGAIN in str(line["message"])} == {1, 2}

    # One that is killed is started again; refused now, it is tried until it can start. The other serves on.
    good = bridge.config.read_text(encoding="utf-8")
    load = Load(bridge)
    load.more()
    one, two = bridge.pids()
    bridge.config.write_text("prot = 1\n" + good, encoding="utf-8")
    os.kill(two, signal.SIGKILL)
    wait_for(lambda: "has ended with exit code 2" in bridge.output(), "a start that is refused")
    load.more()
    bridge.config.write_text(good, encoding="utf-8")
    bridge.ready()
    assert one in bridge.pids()
    ends = [str(line["message"]) for line in bridge.lines() if "has ended" in str(line["message"])]
    assert ends[0] == f"worker 2 (process {two}) has ended with exit code 137: it is started again in 0 s"
    assert all("has ended with exit code 2:" in end for end in ends[1:])

    # What was acknowledged is counted, also what the one that was killed had in hand.
    load.more()
    taken = load.stop()
    assert set(load.answered) == {201}

    def counted() -> float:
        return bridge.shared('otel_bridge_records_total{kind="event",reason="",result="accepted"}')

    wait_for(lambda: counted() >= taken, "what was acknowledged on the steward's page", 60)
    assert counted() <= taken + load.unanswered

    # A service manager signals every process of its unit: that is one stop, not two, and answers what was taken.
    load = Load(bridge)
    load.more(20)
    for pid in [bridge.process.pid, *bridge.pids()]:
        os.kill(pid, signal.SIGTERM)
    assert bridge.process.wait(60) == 0
    load.stop()
    assert set(load.answered) == {201}
    assert bridge.output().count("stopping: what was taken on") == WORKERS
    wait_for(lambda: not bridge.processes(), "an end of all of them", pause=0.5)
    assert not answers(bridge.port)
    assert "Traceback" not in bridge.output()


def test_workers_do_not_outlive_the_one_that_keeps_them(make: Make, receiver: OtlpReceiver) -> None:
    bridge = make(**{**receiver.environ, "OTEL_BRIDGE_SHUTDOWN_SECONDS": "20"})  # enough for a flush on any machine
    bridge.start()
    bridge.ready()
    session = bridge.session()
    assert bridge.event(session).status_code == 201
    bridge.kill()
    wait_for(lambda: not bridge.processes(), "an end of all of them", pause=0.5)
    assert not answers(bridge.port)
    assert bridge.output().count("stopping: what was taken on") == WORKERS
    assert receiver.find(trace_id=session.replace("-", ""))  # and they had their last flush


def test_a_second_signal_ends_all_at_once(make: Make, receiver: OtlpReceiver) -> None:
    bridge = make(**{**receiver.environ, "OTEL_BRIDGE_SHUTDOWN_SECONDS": "60"})
    receiver.behave = lambda spans: Reply(503, keep=False)
    bridge.start()
    bridge.ready()
    bridge.event(bridge.session())
    assert bridge.process is not None
    bridge.process.send_signal(signal.SIGINT)
    wait_for(lambda: "stopping: each worker" in bridge.output(), "a stop")
    bridge.process.send_signal(signal.SIGINT)
    assert bridge.process.wait(10) == 128 + signal.SIGINT
    wait_for(lambda: not bridge.processes(), "an end of all of them", pause=0.5)


def test_a_worker_that_is_refused_at_the_start_ends_all_with_its_words(make: Make) -> None:
    bridge = make()
    with socket.create_server(("127.0.0.1", bridge.metrics_ports[-1])):
        bridge.start(wait=False)
        assert bridge.process is not None and bridge.process.wait(60) == 2
    said = bridge.output()
    assert said.count("no puede escuchar en") == 1 and str(bridge.metrics_ports[-1]) in said
    wait_for(lambda: not bridge.processes(), "an end of all of them", pause=0.5)


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        (
            ["--workers", "2"],
            {"OTEL_BRIDGE_JOURNAL": "sqlite:///x.db"},
            "--workers: se encontró 2, se esperaba 1 con el diario",
        ),
        (["--workers", "0"], {}, "se encontró 0, se esperaba un número entero de 1"),
        (["--workers", "x"], {}, "se encontró x, se esperaba un número entero de 1"),
        (["--workers", "2", "--metrics-port", "65535"], {}, "se esperaba que terminaran en 65535"),
        (["--workers", "2"], {}, "otel-bridge journal migrate"),
    ],
)
def test_what_cannot_be_served_by_workers_is_refused(
    make: Make, arguments: list[str], environ: dict[str, str], words: str
) -> None:
    bridge = make(tables=False, **environ)
    done = bridge.run("serve", "--port", str(bridge.port), *arguments)
    assert done.returncode == 2
    assert done.stderr.count(words) == 1 and "Traceback" not in done.stderr
    assert not bridge.processes() and not (bridge.folder / "x.db").exists()
