"""`otel-bridge doctor`: a synthetic session, then proof of it at every station it must reach."""

from __future__ import annotations

import argparse
import json
import os

from otel_bridge.commands.api import shown_url
from otel_bridge.commands.client import target
from otel_bridge.commands.stations import Doctor, Places, StationResult
from otel_bridge.commands.synthetic import USER


def run(arguments: argparse.Namespace) -> int:
    bridge = target(arguments)
    environ = os.environ

    def place(name: str, variable: str) -> str | None:
        url = getattr(arguments, name) or environ.get(variable)
        return url.rstrip("/") if url else None

    places = Places(
        api=bridge.url,
        metrics=" ".join(arguments.metrics_url or [bridge.metrics_url]),
        prometheus=place("prometheus", "PROMETHEUS_URL"),
        traces=place("tempo", "TEMPO_URL"),
        grafana=place("grafana", "GRAFANA_URL"),
        grafana_user=environ.get("GRAFANA_USER") or "admin",
        grafana_password=environ.get("GRAFANA_PASSWORD"),
        key=bridge.key,
        journal=bridge.journal,
        verify=bridge.verify,
    )

    def tell(result: StationResult) -> None:
        if not arguments.json:
            print(*result.lines(), sep="\n", flush=True)

    if not arguments.json:
        print(f"sesión sintética de {bridge.gpt} en {shown_url(bridge.url)} (usuario {USER})", flush=True)
    doctor = Doctor(places, bridge.gpt, arguments.wait)
    results = doctor.examine(tell)
    good = all(result.answer != "no" for result in results)
    if arguments.json:
        stations = {
            result.station: {"answer": result.answer, "words": result.text, "todo": result.todo} for result in results
        }
        print(json.dumps({"good": good, "trace_id": doctor.session.trace_id, "stations": stations}, ensure_ascii=False))
    return 0 if good else 1
