"""Which programs run, with which files and on which ports: the shipped configuration, only the places changed."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.native.pager import Pager
from deploy.native.processes import Programs, answers, free_port
from deploy.native.shorten import shorten

ROOT = Path(__file__).resolve().parents[2]
IDLE_SECONDS = 1800


class Missing(Exception):
    """A program that has to be there is not."""


def find(*names: str) -> str | None:
    """The first of these programs on PATH, or where Debian puts servers."""
    path = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin"
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def _port(number: int) -> Any:
    return field(default_factory=lambda: free_port(number))


@dataclass
class Ports:
    """The documented ones where they are free."""

    api: int = _port(8000)
    metrics: int = _port(9464)
    prometheus: int = _port(9090)
    alertmanager: int = _port(9093)
    caddy: int = _port(8080)
    grafana: int = _port(3000)
    tempo: int = _port(3200)
    tempo_otlp: int = _port(4318)
    tempo_otlp_grpc: int = _port(4317)
    tempo_grpc: int = _port(0)
    tempo_members: int = _port(0)


class Stack:
    """`start` brings everything up in `folder`, which is emptied; `stop` ends it all, whatever happened."""

    def __init__(
        self,
        folder: Path,
        factor: float = 1.0,
        optional: tuple[str, ...] = ("tempo", "grafana", "caddy"),
        **bridge_environ: str,
    ) -> None:
        """`factor`: how many times shorter waits and windows are. `optional`: programs used where they are there."""
        self.folder = folder
        self.factor = factor
        self.ports = Ports()
        self.programs = Programs(folder, ROOT)
        self.pager: Pager | None = None
        self.grafana_password = secrets.token_hex(8)
        self._bridge_environ = bridge_environ
        self.tempo_environ: dict[str, str] = {}
        """What Tempo is to be given beside its places."""
        self._binary = {name: find(name) for name in optional}
        # Neither the user's OTEL_* nor a proxy may change what is shown.
        self._env = {
            name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "GF_", "TEMPO_"))
        }

    def has(self, name: str) -> bool:
        return name in self.programs.running

    # --- addresses ------------------------------------------------------------------------------------------------

    @property
    def bridge_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.api}"

    @property
    def public_url(self) -> str:
        """Where clients post: through Caddy, where there is one."""
        return f"http://localhost:{self.ports.caddy}" if self._binary.get("caddy") else self.bridge_url

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.metrics}/metrics"

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
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        token = secrets.token_hex(16)
        self.pager = Pager(token)
        self._write_prometheus()
        self._write_alertmanager(token)
        programs = self.programs
        if self._binary.get("tempo"):
            self._start_tempo(str(self._binary["tempo"]))
        self._start_bridge()
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
        programs.wait_for(lambda: answers(f"{self.bridge_url}/readyz"), "puente listo", 60)
        programs.wait_for(lambda: answers(f"{self.alertmanager_url}/-/ready"), "Alertmanager listo", 60)
        programs.wait_for(lambda: answers(f"{self.prometheus_url}/-/ready"), "Prometheus listo", 60)
        if self.has("caddy"):
            only_post = 405  # the bridge's own answer, through Caddy
            programs.wait_for(lambda: answers(f"{self.public_url}/api/events", only_post), "Caddy listo", 60)

    def stop(self) -> None:
        self.programs.stop()
        if self.pager is not None:
            self.pager.close()
            self.pager = None

    def _need(self, package: str, *names: str) -> str:
        found = find(*names)
        if found is None:
            raise Missing(f"falta {names[0]}: en Debian, apt install {package}")
        return found

    # --- programs -------------------------------------------------------------------------------------------------

    def _start_bridge(self) -> None:
        env = {
            **self._env,
            "PYTHONUNBUFFERED": "1",
            "OTEL_BRIDGE_IDLE_AFTER_SECONDS": f"{max(1, IDLE_SECONDS / self.factor):g}",
            "OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS": "5",
            **self._bridge_environ,
        }
        if self.has("tempo"):
            env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{self.ports.tempo_otlp}"
        command = [sys.executable, "-m", "otel_bridge", "serve"]
        command += ["--config", str(ROOT / "otel-bridge.toml"), "--port", str(self.ports.api)]
        command += ["--metrics-port", str(self.ports.metrics)]
        command += ["--journal", f"sqlite:///{self.folder / 'journal' / 'otel-bridge.db'}"]
        self.programs.start("otel-bridge", command, env)

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
            "GF_SERVER_HTTP_ADDR": "127.0.0.1",
            "GF_SERVER_HTTP_PORT": str(self.ports.grafana),
            "GF_PATHS_DATA": str(data),
            "GF_PATHS_LOGS": str(data),
            "GF_PATHS_PLUGINS": str(data / "plugins"),
            "GF_PATHS_PROVISIONING": str(ROOT / "grafana" / "provisioning"),
            "GF_LOG_LEVEL": "warn",
            "GF_SECURITY_ADMIN_PASSWORD": self.grafana_password,
            "PROMETHEUS_URL": self.prometheus_url,
            "TEMPO_URL": self.tempo_url,
            "ALERTMANAGER_URL": self.alertmanager_url,
            "GRAFANA_BOARDS_DIR": str(ROOT / "grafana" / "dashboards"),
            **grafana_settings(),
        }
        home = os.environ.get("GRAFANA_HOME", "/usr/share/grafana")
        self.programs.start("grafana", [binary, "server", "--homepath", home], env)

    def _start_caddy(self, binary: str) -> None:
        env = {
            **self._env,
            "DOMAIN": f"{self.public_url}, http://127.0.0.1:{self.ports.caddy}",
            "BRIDGE_UPSTREAM": f"127.0.0.1:{self.ports.api}",
            "GRAFANA_UPSTREAM": f"127.0.0.1:{self.ports.grafana}",
            "CADDY_OPTIONS": "admin off\ndefault_bind 127.0.0.1",
            "XDG_DATA_HOME": str(self.folder / "caddy"),
            "XDG_CONFIG_HOME": str(self.folder / "caddy"),
        }
        config = str(ROOT / "deploy" / "Caddyfile")
        self.programs.start("caddy", [binary, "run", "--adapter", "caddyfile", "--config", config], env)

    # --- files ----------------------------------------------------------------------------------------------------

    def _write_prometheus(self) -> None:
        """prometheus/ as shipped, its durations divided, its targets where this stack listens."""
        shipped, here = ROOT / "prometheus", self.folder / "prometheus"
        (here / "rules").mkdir(parents=True)
        (here / "targets").mkdir()
        for path in (shipped / "prometheus.yml", *sorted((shipped / "rules").glob("*.yml"))):
            target = here / path.relative_to(shipped)
            target.write_text(shorten(path.read_text("utf-8"), self.factor), "utf-8")
        places = {9464: self.ports.metrics, 9090: self.ports.prometheus, 9093: self.ports.alertmanager}
        for path in (shipped / "targets").glob("*.yml"):
            text = path.read_text("utf-8")
            for shipped_port, port in places.items():
                text = text.replace(f'"127.0.0.1:{shipped_port}"', f'"127.0.0.1:{port}"')
            if path.name == "stack.yml" and self._binary.get("tempo"):
                text += f'- targets: ["127.0.0.1:{self.ports.tempo}"]\n  labels: {{job: tempo}}\n'
            (here / "targets" / path.name).write_text(text, "utf-8")

    def _write_alertmanager(self, token: str) -> None:
        """examples/webhook.yml as shipped, its durations divided, its receiver ours."""
        assert self.pager is not None
        shipped, here = ROOT / "prometheus" / "alertmanager", self.folder / "alertmanager"
        here.mkdir()
        shutil.copytree(shipped / "templates", here / "templates")
        secret = here / "webhook-token"
        secret.write_text(token, "utf-8")
        secret.chmod(0o600)
        text = shorten((shipped / "examples" / "webhook.yml").read_text("utf-8"), self.factor)
        text = text.replace("http://127.0.0.1:9095/", f"http://127.0.0.1:{self.pager.port}/")
        text = text.replace("/etc/alertmanager/secrets/webhook-token", str(secret))
        (here / "alertmanager.yml").write_text(text, "utf-8")

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
        """(name, window) → (state, annotations) of what is pending or firing in Prometheus."""
        found = get_json(f"{self.prometheus_url}/api/v1/alerts")["data"]["alerts"]
        return {
            (one["labels"]["alertname"], one["labels"].get("ventana", "")): (one["state"], one["annotations"])
            for one in found
        }

    def notified(self) -> list[dict[str, Any]]:
        """What Alertmanager holds, active or silenced."""
        found: list[dict[str, Any]] = get_json(f"{self.alertmanager_url}/api/v2/alerts")
        return found


def get_json(url: str, **parameters: str) -> Any:
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    with urllib.request.urlopen(url + query, timeout=10) as answer:
        return json.load(answer)


def grafana_settings() -> Mapping[str, str]:
    """Grafana's settings that are the same in docker-compose.yml, where they stand once more."""
    return {
        "GF_AUTH_ANONYMOUS_ENABLED": "false",
        "GF_USERS_ALLOW_SIGN_UP": "false",
        "GF_USERS_DEFAULT_LANGUAGE": "es-ES",
        "GF_USERS_DEFAULT_THEME": "dark",
        "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": str(ROOT / "grafana" / "dashboards" / "gpt-resumen.json"),
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_NEWS_NEWS_FEED_ENABLED": "false",
        "GF_PLUGINS_PREINSTALL_DISABLED": "true",
        "GF_PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED": "true",
    }
