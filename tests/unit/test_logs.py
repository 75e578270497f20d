"""A log line is one line, and holds nothing that a client chose."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from otel_bridge import logs
from otel_bridge.journal import StoreError


class Stream:
    """Standard error, as text."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def getvalue(self) -> str:
        return self._capsys.readouterr().err


@pytest.fixture
def stream(capsys: pytest.CaptureFixture[str]) -> Iterator[Stream]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in list(root.manager.loggerDict)}
    yield Stream(capsys)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in list(root.manager.loggerDict):
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))


def test_json_is_an_object_a_line(stream: Stream) -> None:
    logs.set_up("json", "info")
    logging.getLogger("x").info("hola %s", "mundo", extra={"fields": {"gpt": "devops-expert"}})
    line = json.loads(stream.getvalue())
    assert (line["level"], line["logger"], line["message"], line["gpt"]) == ("info", "x", "hola mundo", "devops-expert")
    assert line["timestamp"].endswith("+00:00")


def test_text_is_a_line_for_people(stream: Stream) -> None:
    logs.set_up("text", "info")
    logging.getLogger("x").warning("algo pasó")
    written = stream.getvalue()
    assert written.endswith("algo pasó\n") and "warning" in written


def test_auto_is_json_where_there_is_no_terminal(stream: Stream) -> None:
    logs.set_up("auto", "info")
    logging.getLogger("x").info("x")
    json.loads(stream.getvalue())


def test_what_is_below_the_level_is_not_written(stream: Stream) -> None:
    logs.set_up("json", "warning")
    logging.getLogger("x").info("no")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\x1b[31mb", "a\x00b", "a\u2028b", "a\x85b"])
def test_a_text_cannot_start_another_line_or_move_the_cursor(stream: Stream, style: str, text: str) -> None:
    logs.set_up(style, "info")
    logging.getLogger("x").info("said %s", text)
    written = stream.getvalue()
    assert len(written.rstrip("\n").splitlines()) == 1
    assert "\x1b" not in written


@pytest.mark.parametrize("style", ["text", "json"])
def test_the_message_of_an_exception_that_may_hold_a_users_text_is_not_written(stream: Stream, style: str) -> None:
    logs.set_up(style, "info")
    try:
        raise ValueError("secreto-del-usuario")
    except ValueError:
        logging.getLogger("x").exception("failed")
    written = stream.getvalue()
    assert "ValueError" in written and "test_logs.py" in written
    assert "secreto-del-usuario" not in written.replace('raise ValueError("secreto-del-usuario")', "").replace(
        'raise ValueError(\\"secreto-del-usuario\\")', ""
    )


def test_an_error_of_the_system_is_written_whole(stream: Stream) -> None:
    logs.set_up("json", "info")
    try:
        raise StoreError("no such table: usage")
    except StoreError:
        logging.getLogger("x").exception("failed")
    assert "no such table: usage" in json.loads(stream.getvalue())["exception"]


def test_an_exception_is_written_with_what_caused_it(stream: Stream) -> None:
    logs.set_up("json", "info")
    try:
        try:
            raise OSError("the disk is gone")
        except OSError as error:
            raise RuntimeError("so nothing works") from error
    except RuntimeError:
        logging.getLogger("x").exception("failed")
    told = json.loads(stream.getvalue())["exception"]
    assert "the disk is gone" in told and "so nothing works" in told


def test_a_line_carries_its_request(stream: Stream) -> None:
    logs.set_up("json", "info")
    token = logs.request.set((b"req-1", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-00"))
    try:
        logging.getLogger("x").info("x")
    finally:
        logs.request.reset(token)
    line = json.loads(stream.getvalue())
    assert (line["request_id"], line["trace_id"]) == ("req-1", "a" * 32)
