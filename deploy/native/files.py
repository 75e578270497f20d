"""The files that Prometheus and Alertmanager are given: the shipped ones, with waits divided and our places."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.native.shorten import shorten

SHIPPED = Path(__file__).resolve().parents[2] / "prometheus"


def write_prometheus(folder: Path, factor: float, ports: Mapping[int, int]) -> None:
    """prometheus/ as shipped, for one bridge. `ports`: the shipped one → where that listens here."""
    (folder / "rules").mkdir(parents=True)
    (folder / "targets").mkdir()
    for path in (SHIPPED / "prometheus.yml", *sorted((SHIPPED / "rules").glob("*.yml"))):
        (folder / path.relative_to(SHIPPED)).write_text(shorten(path.read_text("utf-8"), factor), "utf-8")
    for path in (SHIPPED / "targets").glob("*.yml"):
        text = path.read_text("utf-8")
        for shipped_port, port in ports.items():
            text = text.replace(f'"127.0.0.1:{shipped_port}"', f'"127.0.0.1:{port}"')
        (folder / "targets" / path.name).write_text(text, "utf-8")


def write_replicas(folder: Path, addresses: Sequence[str]) -> None:
    """Replicas in place of the one bridge, as their job asks for them."""
    (folder / "targets" / "otel-bridge.yml").write_text("[]\n", "utf-8")
    targets = json.dumps([{"targets": list(addresses)}])
    (folder / "targets" / "otel-bridge-replicas.yml").write_text(f"{targets}\n", "utf-8")


def add_target(folder: Path, job: str, port: int) -> None:
    """One more program of the stack."""
    with (folder / "targets" / "stack.yml").open("a", encoding="utf-8") as file:
        file.write(f'- targets: ["127.0.0.1:{port}"]\n  labels: {{job: {job}}}\n')


def write_alertmanager(folder: Path, factor: float, pager_port: int, token: str) -> None:
    """examples/webhook.yml as shipped, its receiver ours."""
    shipped = SHIPPED / "alertmanager"
    folder.mkdir()
    shutil.copytree(shipped / "templates", folder / "templates")
    secret = folder / "webhook-token"
    secret.write_text(token, "utf-8")
    secret.chmod(0o600)
    text = shorten((shipped / "examples" / "webhook.yml").read_text("utf-8"), factor)
    text = text.replace("http://127.0.0.1:9095/", f"http://127.0.0.1:{pager_port}/")
    text = text.replace("/etc/alertmanager/secrets/webhook-token", str(secret))
    (folder / "alertmanager.yml").write_text(text, "utf-8")
