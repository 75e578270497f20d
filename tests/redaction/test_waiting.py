"""Texts that are made to cost much hold nobody up: others are answered beside them."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable

import pytest
import requests

from tests.harness.bridge import GUIDE_EVENT, Bridge
from tests.redaction.hostile import HOSTILE

WAIT_SECONDS = 0.05
"""What another answer may wait at the most. Half of that is what this machine may add by itself."""


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Bridge:
    return Bridge(tmp_path_factory.mktemp("bridge"))


def _beside(bridge: Bridge, load: Callable[[], None]) -> list[float]:
    """How long answers of /healthz took while `load` ran, shortest first, but for what the machine did meanwhile."""
    assert bridge.process is not None
    command = [sys.executable, "-m", "tests.redaction.probe", str(bridge.port), str(bridge.process.pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as probe:
        assert probe.stdin is not None and probe.stdout is not None
        assert probe.stdout.readline() == "ready\n"
        try:
            load()
        finally:
            probe.stdin.close()
            waits = json.loads(probe.stdout.readline())
    return sorted(waits)


def _check(waits: list[float]) -> None:
    # One in twenty may have waited for the machine and not for us; none may have waited for a text.
    assert waits[int(len(waits) * 0.95)] < WAIT_SECONDS, (statistics.median(waits), waits[-5:])
    assert waits[-1] < 10 * WAIT_SECONDS, waits[-5:]


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_batch_of_them_holds_nobody_up(served: Bridge, unit: str) -> None:
    session = served.session()
    text = (unit * (16_384 // len(unit) + 1))[:16_384]
    batch = json.dumps([{**GUIDE_EVENT, "sesion_id": session, "contenido": text}] * 60)

    def load() -> None:
        answer = served.post("/events", json.loads(batch))
        assert answer.status_code == 201, answer.text[:300]

    _check(_beside(served, load))


WRONG = {
    "items without fields": b"[" + b",".join([b'{"tipo": 1, "x": [1, 2]}'] * 10_000) + b"]",
    "whole items with one wrong field": json.dumps([{**GUIDE_EVENT, "sesion_id": "x" * 500}] * 9_000).encode(),
    "one item of 7 MB": b'[{"contenido": "' + b"\\u00e9" * 1_200_000 + b'", "tipo": 1}]',
    "wrong times": json.dumps(
        [{**GUIDE_EVENT, "sesion_id": str(uuid.uuid4()), "timestamp": "ayer"}] * 9_000
    ).encode(),
    "unknown sessions": json.dumps(
        [{**GUIDE_EVENT, "sesion_id": str(uuid.uuid4())} for _ in range(9_000)]
    ).encode(),
}  # fmt: skip


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG.keys())
def test_a_large_batch_of_wrong_items_holds_nobody_up(served: Bridge, body: bytes) -> None:
    def post() -> None:
        headers = {"Content-Type": "application/json"}
        assert requests.post(f"{served.api}/events", data=body, headers=headers, timeout=60).status_code == 207

    def load() -> None:
        for _ in range(6):
            post()

    _check(_beside(served, load))


def test_many_single_ones_at_once_hold_nobody_up(served: Bridge) -> None:
    session = served.session()
    bodies = [
        json.dumps({**GUIDE_EVENT, "sesion_id": session, "contenido": (unit * 1000)[:900]}) for unit in HOSTILE.values()
    ]

    def post() -> None:
        with requests.Session() as http:
            for body in bodies:
                answer = http.post(
                    f"{served.api}/events", data=body, headers={"Content-Type": "application/json"}, timeout=60
                )
                assert answer.status_code == 201, answer.text[:300]

    def load() -> None:
        clients = [threading.Thread(target=post) for _ in range(8)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

    _check(_beside(served, load))


@pytest.fixture(scope="module")
def served(bridge: Bridge) -> object:
    bridge.start()
    yield bridge
    bridge.close()
