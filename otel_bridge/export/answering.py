"""A process of ours that answers questions, one at a time. Nothing depends on it: who asks does without where it does
not answer.

    bridge ──settings, then a question a frame──▶ `python -m module`
    bridge ◀──its release, then an answer a frame── the same
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from otel_bridge import __version__
from otel_bridge.export import frames
from otel_bridge.export.deadline import watch
from otel_bridge.export.frames import read_frame, write_frame

log = logging.getLogger(__name__)

R = TypeVar("R")

_release = msgspec.msgpack.Decoder(str).decode


class AnsweringProcess:
    """Asked in one thread; closed from any."""

    def __init__(self, module: str, name: str, settings: Callable[[], Any]) -> None:
        """`name`: for the log. `settings`: the first frame of each process. In the pipe and not in its arguments, which
        others can read."""
        self._module = module
        self._name = name
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = False
        self._is_other = False
        """What is installed is another release than this process: it was replaced while this runs."""

    def ask(self, question: Any, read: Callable[[bytes], R], seconds: float) -> R | None:
        """None: no process answers within so many seconds; the next question starts another. Raises what `read` raises,
        but for a DecodeError."""
        return self._do(lambda: self._answer(question), read, seconds)

    def start(self, seconds: float) -> bool:
        """Starts one that is to be asked later. False: it does not answer within so many seconds."""
        return self._do(self._greeting, lambda _: True, seconds) is not None

    def end(self) -> None:
        """Ends it at once; the next question starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def close(self) -> None:
        """From now on nothing is asked: who waits for an answer gets none. Called from any thread; `end` afterwards."""
        self._closing = True
        self._end_late()

    def _do(self, get: Callable[[], bytes | None], read: Callable[[bytes], R], seconds: float) -> R | None:
        if self._closing or self._is_other:
            return None
        answer: R | None = None
        understood = False
        try:
            with watch.within(seconds, self._end_late):  # a frame may be longer than the pipe
                frame = get()
            if frame is not None:
                answer, understood = read(frame), True
        except OSError as error:
            if not self._closing:
                log.warning("the process for %s cannot be used: %s", self._name, error)
        except msgspec.DecodeError as error:
            log.warning("the process for %s does not answer as it should: %s", self._name, error)
        finally:
            if not understood:  # what is left in its pipe would be taken for the answer to another question
                self.end()
        return answer

    def _answer(self, question: Any) -> bytes | None:
        if self._process is None and self._greeting() is None:
            return None
        process = self._process
        if process is None or self._closing:  # one that `close` has not seen is seen here
            return None
        assert process.stdin is not None
        write_frame(process.stdin, question)
        return self._read(process)

    def _greeting(self) -> bytes | None:
        """Starts it. None: it does not answer, or is of another release, which may answer something else."""
        process = self._process = frames.start(self._module)
        if self._closing:  # `close` has not seen this one
            return None
        assert process.stdin is not None
        write_frame(process.stdin, self._settings())
        frame = self._read(process)
        if frame is None:
            return None
        installed = _release(frame)
        if installed == __version__:
            return frame
        self._is_other = True
        log.warning(
            "otel-bridge %s is installed, %s runs: until it starts anew it does without a process for %s",
            installed, __version__, self._name,
        )  # fmt: skip
        return None

    def _read(self, process: subprocess.Popen[bytes]) -> bytes | None:
        assert process.stdout is not None
        frame = read_frame(process.stdout)
        if frame is None and not self._closing:
            log.warning("the process for %s does not answer: it is ended", self._name)
        return frame

    def _end_late(self) -> None:
        process = self._process
        if process is not None:
            process.kill()


def answer(begin: Callable[[bytes], Callable[[bytes], Any]]) -> None:
    """Such a process's own side, until the bridge's end of the pipe closes. `begin`: from the frame of the settings to
    what answers a question's frame. Raises what that raises."""
    stdin, stdout = frames.streams()
    settings = read_frame(stdin)
    if settings is None:
        return
    answers = begin(settings)
    with contextlib.suppress(BrokenPipeError):
        write_frame(stdout, __version__)
        while (question := read_frame(stdin)) is not None:
            write_frame(stdout, answers(question))
