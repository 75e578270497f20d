"""`otel-bridge demo`: posts the documented traffic to a running bridge."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from datetime import datetime

from otel_bridge.commands.api import Api, PostFailed
from otel_bridge.commands.client import target
from otel_bridge.commands.traffic import Traffic, post_traffic


def run(arguments: argparse.Namespace) -> int:
    bridge = target(arguments)
    traffic = Traffic(
        Api(bridge.url, bridge.key, verify=bridge.verify),
        bridge.gpt,
        rate=arguments.rate,
        speed=arguments.speed,
        hour=arguments.hour,
        users=arguments.users,
        seed=arguments.seed,
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())

    def say(text: str) -> None:
        print(f"{datetime.now():%H:%M:%S}  {text}", flush=True)

    try:
        post_traffic(
            traffic,
            say,
            duration=arguments.duration,
            incident=None if arguments.incident is None else (arguments.incident, arguments.incident_for),
            report_seconds=None if arguments.quiet else 10.0,
            stop=stop,
        )
    except PostFailed as failed:
        if stop.is_set():
            return 0
        print(f"otel-bridge demo: {failed}", file=sys.stderr)
        return 1
    return 0
