"""`python -m otel_bridge.export FORMAT LEVEL`: the process that delivers. The bridge starts it, and says how it logs;
`pipe.py` says how they talk."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import IO, NoReturn

import msgspec

from otel_bridge import journal, logs, signals
from otel_bridge.config import Otlp
from otel_bridge.errors import OperatorError
from otel_bridge.export.delivery import AWAY_SECONDS, Delivery
from otel_bridge.export.frames import read_frame, streams, write_frame
from otel_bridge.export.otlp import connect
from otel_bridge.export.pipe import CONSUMER, Report, Setup, Stop
from otel_bridge.export.shutdown import Shutdown
from otel_bridge.export.spans import SpanProjection
from otel_bridge.journal import StoreDamaged, StoreUnavailable

log = logging.getLogger("otel_bridge.export")

SWITCH_SECONDS = 0.0005
"""After which the thread that encodes gives way to the one that sends, which asks for the interpreter's lock after each
system call. Against the default's 5 ms: drain 175,000 → 220,000 spans/s over HTTP."""


def main() -> int:
    """Set-up on standard input, reports on standard output, logs on standard error. Returns the exit code where no
    set-up comes; otherwise it ends the process itself, with 1 where the journal cannot be read."""
    stdin, stdout = streams()
    logs.set_up(*sys.argv[1:3])
    logs.take_over()
    # A service manager signals every process of its group. When to stop is the bridge's to say: it wants a last flush.
    # Until here they were blocked: the bridge starts this process so.
    for number in signals.ALL:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.ALL)
    first = read_frame(stdin)
    if first is None:
        return 0
    setup = msgspec.msgpack.decode(first, type=Setup)
    sys.setswitchinterval(SWITCH_SECONDS)
    shutdown = Shutdown()
    projection, transport = SpanProjection(setup.gpts, setup.resource), connect(msgspec.convert(setup.otlp, Otlp))
    threading.Thread(target=_listen, args=(stdin, shutdown), name="bridge", daemon=True).start()
    code = 1
    try:
        _when_it_answers(
            shutdown,
            lambda: Delivery(
                journal.open_reader(setup.journal, CONSUMER), projection, transport,
                lambda report: write_frame(stdout, report), shutdown,
            ),
        ).run()  # fmt: skip
        code = 0
    except BrokenPipeError:
        code = 0
    except OperatorError as refusal:
        for line in refusal.lines():
            log.error("%s", line)
        if isinstance(refusal, StoreDamaged):  # the bridge says so on `/readyz`
            with contextlib.suppress(BrokenPipeError):
                write_frame(stdout, Report(message=refusal.advice, damaged=refusal.part))
    _end(code)


def _when_it_answers(shutdown: Shutdown, make: Callable[[], Delivery]) -> Delivery:
    """What `make` makes, once the journal can be read: it may be a server that is away. Raises OperatorError."""
    while True:
        try:
            return make()
        except StoreUnavailable as error:
            if isinstance(error, StoreDamaged) or shutdown.requested:
                raise
            shutdown.wait(AWAY_SECONDS)


def _end(code: int) -> NoReturn:
    # Reports are flushed one by one. The interpreter's own end would trip over the thread that still listens.
    sys.stderr.flush()
    os._exit(code)


def _listen(stdin: IO[bytes], shutdown: Shutdown) -> None:
    """In a thread of its own: takes the bridge's messages until its end of the pipe closes."""
    while (frame := read_frame(stdin)) is not None:
        shutdown.request(msgspec.msgpack.decode(frame, type=Stop).seconds)
    os._exit(0)  # the bridge is gone; its next process goes on from the journal's cursor


if __name__ == "__main__":
    sys.exit(main())
