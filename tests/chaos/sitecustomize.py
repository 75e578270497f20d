"""On the PYTHONPATH of a bridge under test: on SIGUSR1, ends the thread that CHAOS_VICTIM names."""

import ctypes
import os
import signal
import threading


def _murder(number: int, frame: object) -> None:
    for thread in threading.enumerate():
        if thread.name == os.environ["CHAOS_VICTIM"]:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))


if "CHAOS_VICTIM" in os.environ:
    signal.signal(signal.SIGUSR1, _murder)
