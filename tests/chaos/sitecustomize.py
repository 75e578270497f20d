"""On the PYTHONPATH of a bridge under test: on SIGUSR1, ends the thread that CHAOS_VICTIM names; its wall clock is
CHAOS_AHEAD_SECONDS ahead (libfaketime does that while it runs, and makes a sleep at its stop fail: EINVAL); for Redis
it waits CHAOS_REDIS_SECONDS, so that a machine that is busy is not taken for a Redis that hangs; with CHAOS_PAGES_APART
the process that writes pages writes small ones, too, and one that has failed is followed at once; an fdatasync of ours
takes CHAOS_FDATASYNC_SECONDS, so that what it is of can be ended meanwhile."""

import ctypes
import os
import signal
import threading
import time


def _murder(number: int, frame: object) -> None:
    for thread in threading.enumerate():
        if thread.name == os.environ["CHAOS_VICTIM"]:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))


if "CHAOS_VICTIM" in os.environ:
    signal.signal(signal.SIGUSR1, _murder)

if "CHAOS_AHEAD_SECONDS" in os.environ:
    _ahead_ns = int(os.environ["CHAOS_AHEAD_SECONDS"]) * 1_000_000_000
    _time_ns = time.time_ns
    time.time_ns = lambda: _time_ns() + _ahead_ns
    time.time = lambda: time.time_ns() / 1e9

if "CHAOS_REDIS_SECONDS" in os.environ:
    from otel_bridge.access import shared

    shared.ANSWER_SECONDS = float(os.environ["CHAOS_REDIS_SECONDS"])

if "CHAOS_PAGES_APART" in os.environ:
    from otel_bridge.metrics import page_process
    from otel_bridge.ops import alone

    alone.MIN_SERIES, page_process.PAUSE_SECONDS = 0, (0.0, 0.0)

if "CHAOS_FDATASYNC_SECONDS" in os.environ:
    _fdatasync = os.fdatasync

    def _slow(file: int) -> None:
        time.sleep(float(os.environ["CHAOS_FDATASYNC_SECONDS"]))
        _fdatasync(file)

    os.fdatasync = _slow
