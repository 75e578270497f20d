"""kill -9 at random moments, under concurrent single and batch load, again and again."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

import psutil
import pytest

from tests.chaos.lanes import LONG
from tests.chaos.ledger import Forgetful, Load, Say, account
from tests.harness.bridge import Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.settling import settle

KILLS = int(os.environ.get("CHAOS_KILLS", "200" if LONG else "4"))


def export_process(bridge: Bridge) -> psutil.Process | None:
    assert bridge.process is not None
    children = psutil.Process(bridge.process.pid).children()
    return next((one for one in children if "otel_bridge.export" in one.cmdline()), None)


@pytest.mark.timeout(60 + 15 * KILLS)
def test_kills_at_random_moments_lose_nothing_and_count_nothing_twice(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, say: Say
) -> None:
    seed = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
    moments = random.Random(seed)
    receiver.spans = Forgetful()
    bridge = make_bridge(**receiver.environ).start()
    started, unready = time.monotonic(), 0
    with Load(bridge, clients=6, seed=seed, pause=0.004) as load:
        for kill in range(KILLS):
            time.sleep(moments.uniform(0.0, 1.2))
            if kill % 4 == 3:  # the delivery alone, and the whole a moment later
                exporter = export_process(bridge)
                if exporter is not None:
                    exporter.send_signal(signal.SIGKILL)
                time.sleep(moments.uniform(0.0, 0.5))
            bridge.kill()
            early = moments.random() < 0.2  # sometimes while it is still starting
            bridge.start(wait=not early)
            unready += early
    bridge.wait_ready()
    settle(bridge)
    found = account(bridge, load.ledger, receiver)
    found.check()
    assert "gone back" not in bridge.output() and "log is not there" not in bridge.output()
    assert bridge.stop() == 0
    say(
        f"{KILLS} kills ({unready} restarts not waited for) in {time.monotonic() - started:.0f} s, seed {seed}: "
        f"{found}; {load.ledger.unanswered} posts got no answer, {load.ledger.statuses[200]} were recognised as repeats"
    )
