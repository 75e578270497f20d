"""Which programs run, with which files and on which ports: the shipped configuration, only the places changed."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.native.files import add_target, write_alertmanager, write_prometheus, write_replicas
from deploy.native.grafana import grafana_places, grafana_settings
from deploy.native.pager import Pager
from deploy.native.places import Bridge, Ports, place_bridges
from deploy.native.postgres import Postgres, account, binaries, remove_left_over
from deploy.native.processes import ProgramEnded, Programs, answers, free_port

ROOT = Path(__file__).resolve().parents[2]
OTEL_BRIDGE = [sys.executable, "-m", "otel_bridge"]
CONFIG = ["--config", str(ROOT / "otel-bridge.toml")]
IDLE_SECONDS = 1800


class Missing(Exception):
    """A program that has to be there is not."""


def find(*names: str) -> str | None:
    """The first of these programs on PATH, or where Debian puts servers."""
    path = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin"
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


class Stack:
    """`start` brings everything up in `folder`, which is emptied; `stop` ends it all, whatever happened."""

    def __init__(
        self,
        folder: Path,
        factor: float = 1.0,
        optional: tuple[str, ...] = ("tempo", "grafana", "caddy"),
        replicas: int = 0,
        free: Callable[[int], int] = free_port,
        **bridge_environ: str,
    ) -> None:
        """`factor`: how many times shorter waits and windows are. `optional`: programs used where they are there.
        `replicas`: so many bridges over one PostgreSQL, behind Caddy; 0: one, on SQLite. `free`: the port that is
        wanted, or another."""
        self.folder = folder
        self.factor = factor
        self.ports = Ports(free)
        self.bridges = place_bridges(replicas, free)
        self.replicas = replicas
        self.programs = Programs(folder, ROOT)
        self.pager: Pager | None = None
        self.grafana_password = secrets.token_hex(8)
        self._bridge_environ = bridge_environ
        self.tempo_environ: dict[str, str] = {}
        """What Tempo is to be given beside its places."""
        self._binary = {name: find(name) for name in (*optional, *(("caddy",) if replicas else ()))}
        self._postgres: Postgres | None = None
        self._user_hash_key = secrets.token_hex(16)
        # Neither the user's OTEL_* nor a proxy may change what is shown.
        self._env = {
            name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "GF_", "TEMPO_"))
        }

    def has(self, name: str) -> bool:
        return name in self.programs.running

    # --- addresses ------------------------------------------------------------------------------------------------

    @property
    def bridge_url(self) -> str:
        """The first one's."""
        return self.bridges[0].url

    @property
    def public_url(self) -> str:
        """Where clients post: through Caddy, where there is one."""
        return f"http://localhost:{self.ports.caddy}" if self._binary.get("caddy") else self.bridge_url

    @property
    def metrics_url(self) -> str:
        """The first one's."""
        return self.bridges[0].metrics_url

    @property
    def prometheus_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.prometheus}"

    @property
    def alertmanager_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.alertmanager}"

    @property
    def tempo_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.tempo}"

    @property
    def grafana_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.grafana}"

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Raises Missing, ProgramEnded or TimeoutError."""
        prometheus = self._need("prometheus", "prometheus")
        alertmanager = self._need("prometheus-alertmanager", "prometheus-alertmanager", "alertmanager")
        postgres = self._need_postgres() if self.replicas else None
        if self.folder.exists():
            remove_left_over(self.folder)
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        token = secrets.token_hex(16)
        self.pager = Pager(token)
        self._write_files(token)
        programs = self.programs
        if self._binary.get("tempo"):
            self._start_tempo(str(self._binary["tempo"]))
        if postgres is not None:
            self._start_postgres(postgres)
        for bridge in self.bridges:
            self.start_bridge(bridge)
        programs.start(
            "alertmanager",
            [
                alertmanager,
                f"--config.file={self.folder / 'alertmanager' / 'alertmanager.yml'}",
                f"--storage.path={self.folder / 'alertmanager' / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.ports.alertmanager}",
                "--cluster.listen-address=",
            ],
            self._env,
        )
        programs.start(
            "prometheus",
            [
                prometheus,
                f"--config.file={self.folder / 'prometheus' / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.folder / 'prometheus' / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.ports.prometheus}",
                "--enable-feature=exemplar-storage,expand-external-labels",
            ],
            {**self._env, "GRAFANA_URL": self.grafana_url, "DOCS_URL": ""},
        )
        if self._binary.get("grafana"):
            self._start_grafana(str(self._binary["grafana"]))
        if self._binary.get("caddy"):
            self._start_caddy(str(self._binary["caddy"]))
        # The bridge first: what follows reads it. Tempo and Grafana may take their time; nothing waits for them.
        for bridge in self.bridges:
            self.wait_ready(bridge)
        programs.wait_for(lambda: answers(f"{self.alertmanager_url}/-/ready"), "Alertmanager listo", 60)
        programs.wait_for(lambda: answers(f"{self.prometheus_url}/-/ready"), "Prometheus listo", 60)
        if self.has("caddy"):
            only_post = 405  # the bridge's own answer, through Caddy
            programs.wait_for(lambda: answers(f"{self.public_url}/api/events", only_post), "Caddy listo", 60)

    def wait_ready(self, bridge: Bridge) -> None:
        self.programs.wait_for(lambda: answers(f"{bridge.url}/readyz"), f"{bridge.name} listo", 60)

    def stop(self) -> None:
        self.programs.stop()
        if self._postgres is not None:
            self._postgres.remove()
            self._postgres = None
        if self.pager is not None:
            self.pager.close()
            self.pager = None

    def _write_files(self, token: str) -> None:
        assert self.pager is not None
        ports = {9090: self.ports.prometheus, 9093: self.ports.alertmanager, 9464: self.bridges[0].metrics_port}
        prometheus = self.folder / "prometheus"
        write_prometheus(prometheus, self.factor, ports)
        if self.replicas:
            write_replicas(prometheus, [bridge.metrics_address for bridge in self.bridges])
        if self._binary.get("tempo"):
            add_target(prometheus, "tempo", self.ports.tempo)
        write_alertmanager(self.folder / "alertmanager", self.factor, self.pager.port, token)

    def _need(self, package: str, *names: str) -> str:
        found = find(*names)
        if found is None:
            raise Missing(f"falta {names[0]}: en Debian, apt install {package}")
        return found

    def _need_postgres(self) -> Path:
        self._need("caddy", "caddy")
        found = binaries()
        if found is None:
            raise Missing("falta PostgreSQL: en Debian, apt install postgresql")
        try:
            account()
        except KeyError:
            raise Missing(
                "PostgreSQL no corre como root, y no hay un usuario «postgres»: hazlo como otro usuario"
            ) from None
        return found

    # --- programs -------------------------------------------------------------------------------------------------

    def kill_bridge(self, bridge: Bridge) -> None:
        """`kill -9`."""
        self.programs.kill(bridge.name)

    def start_bridge(self, bridge: Bridge) -> None:
        ports = ["--port", str(bridge.port), "--metrics-port", str(bridge.metrics_port)]
        self.programs.start(bridge.name, [*OTEL_BRIDGE, "serve", *CONFIG, *ports], self._bridge_env())

    def _bridge_env(self) -> dict[str, str]:
        env = {
            **self._env,
            "PYTHONUNBUFFERED": "1",
            "OTEL_BRIDGE_IDLE_AFTER_SECONDS": f"{max(1, IDLE_SECONDS / self.factor):g}",
            "OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS": "5",
            "OTEL_BRIDGE_JOURNAL": f"sqlite:///{self.folder / 'journal' / 'otel-bridge.db'}",
        }
        if self._postgres is not None:
            env["OTEL_BRIDGE_JOURNAL"] = self._postgres.url
            env["OTEL_BRIDGE_USER_HASH_KEY"] = self._user_hash_key
        if self.has("tempo"):
            env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{self.ports.tempo_otlp}"
        return {**env, **self._bridge_environ}

    def _start_postgres(self, binaries: Path) -> None:
        """With the tables in it."""
        self._postgres = Postgres(self.folder, self.ports.postgres, binaries)
        self._postgres.start(self.programs)
        command = [*OTEL_BRIDGE, "journal", "migrate", *CONFIG]
        log = self.folder / "migrate.log"
        with log.open("wb") as sink:
            done = subprocess.run(command, cwd=ROOT, env=self._bridge_env(), stdout=sink, stderr=sink, timeout=60)
        if done.returncode:
            raise ProgramEnded(f"journal migrate terminó con {done.returncode}:\n{log.read_text('utf-8').strip()}")

    def _start_tempo(self, binary: str) -> None:
        env = {
            **self._env,
            "TEMPO_DATA": str(self.folder / "tempo"),
            "TEMPO_PORT": str(self.ports.tempo),
            "TEMPO_OTLP_PORT": str(self.ports.tempo_otlp),
            "TEMPO_OTLP_GRPC_PORT": str(self.ports.tempo_otlp_grpc),
            "TEMPO_GRPC_PORT": str(self.ports.tempo_grpc),
            "TEMPO_MEMBERLIST_PORT": str(self.ports.tempo_members),
            **self.tempo_environ,
        }
        config = f"-config.file={ROOT / 'deploy' / 'tempo.yaml'}"
        # Tempo 3.0.3 can hang when it is told to stop soon after spans came; nothing of it is needed any more.
        self.programs.start("tempo", [binary, config, "-config.expand-env=true"], env, patience=3.0)

    def _start_grafana(self, binary: str) -> None:
        data = self.folder / "grafana"
        (data / "plugins").mkdir(parents=True)
        env = {
            **self._env,
            **grafana_places(data, self.ports.grafana),
            "GF_SECURITY_ADMIN_PASSWORD": self.grafana_password,
            "PROMETHEUS_URL": self.prometheus_url,
            "TEMPO_URL": self.tempo_url,
            "ALERTMANAGER_URL": self.alertmanager_url,
            **grafana_settings(),
        }
        home = os.environ.get("GRAFANA_HOME", "/usr/share/grafana")
        self.programs.start("grafana", [binary, "server", "--homepath", home], env)

    def _start_caddy(self, binary: str) -> None:
        env = {
            **self._env,
            "DOMAIN": f"{self.public_url}, http://127.0.0.1:{self.ports.caddy}",
            "BRIDGE_UPSTREAM": " ".join(bridge.address for bridge in self.bridges),
            "BRIDGE_BALANCING": "replicas" if self.replicas else "one",
            "GRAFANA_UPSTREAM": f"127.0.0.1:{self.ports.grafana}",
            "CADDY_OPTIONS": "admin off\ndefault_bind 127.0.0.1",
            "XDG_DATA_HOME": str(self.folder / "caddy"),
            "XDG_CONFIG_HOME": str(self.folder / "caddy"),
        }
        config = str(ROOT / "deploy" / "Caddyfile")
        self.programs.start("caddy", [binary, "run", "--adapter", "caddyfile", "--config", config], env)

    # --- asking ---------------------------------------------------------------------------------------------------

    def query(self, promql: str) -> list[dict[str, Any]]:
        """An instant query's result."""
        found: list[dict[str, Any]] = get_json(f"{self.prometheus_url}/api/v1/query", query=promql)["data"]["result"]
        return found

    def value(self, promql: str) -> float:
        """The one value of an instant query; 0 where there is no series."""
        found = self.query(promql)
        return float(found[0]["value"][1]) if found else 0.0

    def alerts(self) -> dict[tuple[str, str], tuple[str, dict[str, str]]]:
        """(name, window) → (state, annotations) of what is pending or firing in Prometheus, but for the one that always
        is."""
        found = get_json(f"{self.prometheus_url}/api/v1/alerts")["data"]["alerts"]
        return {
            (one["labels"]["alertname"], one["labels"].get("ventana", "")): (one["state"], one["annotations"])
            for one in found
            if one["labels"]["alertname"] != "Watchdog"
        }

    def steward(self) -> Bridge | None:
        """The replica that counts for all, as it says itself."""
        for bridge in self.bridges:
            with contextlib.suppress(OSError), urllib.request.urlopen(bridge.metrics_url, timeout=5) as answer:
                if b"\notel_bridge_steward 1" in answer.read():
                    return bridge
        return None

    def notified(self) -> list[dict[str, Any]]:
        """What Alertmanager holds, active or silenced."""
        found: list[dict[str, Any]] = get_json(f"{self.alertmanager_url}/api/v2/alerts")
        return found


def get_json(url: str, **parameters: str) -> Any:
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    with urllib.request.urlopen(url + query, timeout=10) as answer:
        return json.load(answer)
