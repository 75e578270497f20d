"""`otel-bridge journal replay` waits for what becomes of the records, and says it."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.harness.bridge import Bridge
from tests.harness.otlp import OK, OtlpReceiver, Received, Reply
from tests.harness.waiting import wait_for

Make = Callable[..., Bridge]
REFUSED = Reply(400, b"field 7 is unknown here", keep=False)


def only_good(spans: list[Received]) -> Reply:
    return REFUSED if any(one.span.name == "troubleshooting" for one in spans) else OK


@pytest.fixture
def parked(make_bridge: Make, receiver: OtlpReceiver) -> Bridge:
    """A running bridge that has parked two records."""
    receiver.behave = only_good
    bridge = make_bridge(**receiver.environ).start()
    session = bridge.session()
    wait_for(lambda: receiver.spans, "the session's root")
    for _ in range(2):
        bridge.event(session, tipo="troubleshooting")
    bridge.event(session)
    wait_for(lambda: bridge.metric("otel_bridge_parked_records") == 2, "two parked records")
    return bridge


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0 and "Traceback" not in done.stderr, done
    return next(line for line in done.stdout.splitlines() if " entregados, " in line)


def test_what_is_delivered_is_said(parked: Bridge, receiver: OtlpReceiver) -> None:
    receiver.behave = lambda spans: OK
    done = parked.run("journal", "replay", "--wait", "60", timeout=90)
    assert done.stdout.startswith("2 registro(s) apartado(s) se enviarán otra vez")
    assert said(done) == "2 entregados, 0 apartados otra vez, 0 aún no"
    assert len(receiver.times) == 4, "it had been delivered when it was said"
    done = parked.run("journal", "replay")
    assert done.returncode == 0 and done.stdout.startswith("nada que enviar otra vez")


def test_what_is_refused_again_is_said(parked: Bridge) -> None:
    done = parked.run("journal", "replay", "--wait", "60", timeout=90)
    assert said(done) == "0 entregados, 2 apartados otra vez, 0 aún no"
    assert "`otel-bridge journal parked` muestra qué dijo el destino" in done.stdout


def test_of_several_each_is_counted_and_what_is_not_parked_is_named(parked: Bridge, receiver: OtlpReceiver) -> None:
    seqs = re.findall(r"^(\d+) ", parked.run("journal", "parked").stdout, re.MULTILINE)
    receiver.behave = lambda spans: OK
    done = parked.run("journal", "replay", seqs[0], "9223372036854775807", "--wait", "60", timeout=90)
    assert said(done) == "1 entregados, 0 apartados otra vez, 0 aún no"
    assert done.stderr == "no apartados: 9223372036854775807\n"
    done = parked.run("journal", "replay", seqs[0])
    assert done.returncode == 1 and f"no apartados: {seqs[0]}" in done.stderr


def test_where_nothing_becomes_of_it_in_time_that_is_said(parked: Bridge, receiver: OtlpReceiver) -> None:
    receiver.behave = lambda spans: Reply(503, keep=False)
    done = parked.run("journal", "replay", "--wait", "1.5")
    assert said(done) == "0 entregados, 0 apartados otra vez, 2 aún no"
    assert "sigue esperando" in done.stdout
    parked.stop()
    begun = time.monotonic()
    done = parked.run("journal", "replay", "--wait", "0")
    assert said(done) == "0 entregados, 0 apartados otra vez, 2 aún no" and time.monotonic() - begun < 8
    receiver.behave = lambda spans: OK
    parked.start()  # the wish was kept
    wait_for(lambda: parked.metric("otel_bridge_parked_records") == 0, "nothing parked")


def test_an_interrupt_says_how_far_it_is(parked: Bridge, receiver: OtlpReceiver) -> None:
    receiver.behave = lambda spans: Reply(503, keep=False)
    process = subprocess.Popen(
        # What a shell starts in the background ignores interrupts, and so does what that starts.
        ["env", "--default-signal=INT", *parked.command("journal", "replay", "--wait", "300")],
        cwd=parked.folder, env=parked.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: receiver.requests[-1][1] == 1 and len(receiver.requests) > 6, "an attempt")
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and err == ""
    assert first.startswith("2 registro(s) apartado(s)") and "0 entregados, 0 apartados otra vez, 2 aún no" in out
