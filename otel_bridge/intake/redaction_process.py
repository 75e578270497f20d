"""Redaction in a process of its own, on another core: beside the event loop a thread would only take turns with it.

    bridge ──texts, a frame──▶ `python -m otel_bridge.intake.redaction_process REGION …` ──what is kept──▶ bridge

It is started for the first texts, and ends when the bridge's end of the pipe closes. It keeps nothing.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from otel_bridge import signals
from otel_bridge.export.deadline import watch
from otel_bridge.export.pipe import read_frame, write_frame
from otel_bridge.privacy.redaction import Redactor

log = logging.getLogger(__name__)

ANSWER_SECONDS = 20.0
"""A process that takes longer is ended: the dearest texts of one frame take less than a second, and its start does."""

Kept = tuple[str | None, dict[str, int]]
"""What is kept of a text (None: nothing), and what was found in it, by kind."""

_texts = msgspec.msgpack.Decoder(list[str]).decode
_kept = msgspec.msgpack.Decoder(list[Kept]).decode


class RedactionProcess:
    """Used from one thread."""

    def __init__(self, regions: Sequence[str]) -> None:
        self._regions = regions
        self._process: subprocess.Popen[bytes] | None = None

    def redact(self, texts: Sequence[str]) -> list[Kept] | None:
        """What is kept of these texts. None: no process answers; the next texts start another."""
        answer = None
        try:
            if self._process is None:
                self._process = _start(self._regions)
            answer = self._ask(self._process, texts)
        except OSError as error:
            log.warning("the redaction process cannot be used: %s", error)
        finally:
            if answer is None:  # what is left in its pipe would be taken for the answer to other texts
                self.close()
        return answer

    def _ask(self, process: subprocess.Popen[bytes], texts: Sequence[str]) -> list[Kept] | None:
        assert process.stdin is not None and process.stdout is not None
        with watch.within(ANSWER_SECONDS, process.kill):  # a frame may be longer than the pipe
            write_frame(process.stdin, texts)
            frame = read_frame(process.stdout)
        if frame is None:
            log.warning("the redaction process does not answer: it is ended")
        return None if frame is None else _kept(frame)

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _start(regions: Sequence[str]) -> subprocess.Popen[bytes]:
    # Blocked from its first instruction on, as the delivery process has them (export/exporter.py): it ends by its pipe.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals.ALL)
    try:
        return subprocess.Popen(  # noqa: S603 — ourselves, with words of our configuration
            [sys.executable, "-m", __name__, *regions],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def main() -> None:
    stdin, stdout = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not break the frames
    redactor = Redactor("on", sys.argv[1:])
    while (frame := read_frame(stdin)) is not None:
        answer: list[Kept] = []
        for text in _texts(frame):
            counts: dict[str, int] = {}
            answer.append((redactor.redact(text, counts), counts))
        try:
            write_frame(stdout, answer)
        except BrokenPipeError:
            return


if __name__ == "__main__":
    main()
