"""The process for batches: what the redactor and the ingest do themselves, whatever happens to the process."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import psutil
import pytest

from otel_bridge import config
from otel_bridge.config import REGIONS, Config
from otel_bridge.export import answering
from otel_bridge.intake import batch_process
from otel_bridge.intake.batch_process import BatchProcess, Kept
from otel_bridge.intake.contents import CUT_MARK, FRAME_CHARS, LONG_CHARS, TOGETHER, Contents
from otel_bridge.privacy.redaction import Redactor
from tests.harness.bridge import ROOT

KEY = b"k" * 32
CASES = [json.loads(line) for line in (ROOT / "tests/redaction/cases.jsonl").read_text(encoding="utf-8").splitlines()]
TEXTS = [text for case in CASES for text in case.values() if isinstance(text, str)]


def here(texts: list[str]) -> list[Kept]:
    """What the redactor of this process keeps."""
    redactor = Redactor("on", REGIONS)
    kept = []
    for text in texts:
        counts: dict[str, int] = {}
        kept.append((redactor.redact(text, counts), counts))
    return kept


@pytest.fixture
def process() -> Iterator[BatchProcess]:
    process = BatchProcess(config.load(str(ROOT / "otel-bridge.toml"), {}), KEY)
    yield process
    process.close()


def redact(process: BatchProcess, texts: list[str]) -> list[Kept] | None:
    return asyncio.run(process.redact(texts))


def children() -> list[psutil.Process]:
    """Of a test before this one, a PostgreSQL may run in this process's care, too."""
    return [one for one in psutil.Process().children() if "otel_bridge.intake.batch_process" in one.cmdline()]


def child() -> psutil.Process:
    (one,) = children()
    return one


def test_it_keeps_what_the_redactor_keeps(process: BatchProcess) -> None:
    kept = redact(process, TEXTS)
    assert kept == here(TEXTS)
    assert any(counts for _, counts in kept or ())


def test_one_that_is_killed_is_started_anew(process: BatchProcess) -> None:
    assert redact(process, ["a@example.com"]) == [("[correo]", {"email": 1})]
    child().kill()
    assert redact(process, ["a@example.com"]) is None
    assert redact(process, ["a@example.com"]) == [("[correo]", {"email": 1})]


def test_one_that_answers_something_else_is_none(process: BatchProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as replaced:  # as another release's would, installed while this one runs
        replaced.setattr(answering, "read_frame", lambda stream: msgspec.msgpack.encode([1, 2]))
        assert redact(process, ["a@example.com"]) is None
        assert asyncio.run(process.prepare(b"[]", 0, 100)) is None
    assert redact(process, ["a@example.com"]) == [("[correo]", {"email": 1})]


def test_one_of_another_release_is_not_asked(
    process: BatchProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Installed while this one runs: it may make other records of the same events."""
    monkeypatch.setattr(answering, "__version__", "0.0.1")
    for _ in range(2):
        assert redact(process, ["a@example.com"]) is None
        assert children() == []
    (said,) = caplog.records
    assert "0.0.1 runs" in said.getMessage()


def test_one_that_hangs_is_ended(process: BatchProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    redact(process, ["hola"])
    hung = child()
    hung.suspend()
    monkeypatch.setattr(batch_process, "ANSWER_SECONDS", 0.2)
    assert redact(process, ["a@example.com"]) is None
    assert not hung.is_running()


def test_one_that_hangs_before_a_frame_longer_than_its_pipe_is_ended(
    process: BatchProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    redact(process, ["hola"])
    child().suspend()
    monkeypatch.setattr(batch_process, "ANSWER_SECONDS", 0.2)
    assert redact(process, ["a@example.com " * 20_000]) is None


def test_one_that_hangs_holds_up_no_stop(process: BatchProcess) -> None:
    redact(process, ["hola"])
    child().suspend()

    async def stop() -> list[list[Kept] | None]:
        waiting = [asyncio.create_task(process.redact(["a@example.com"])) for _ in range(3)]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await asyncio.get_running_loop().run_in_executor(None, process.close)
        assert time.monotonic() - began < 5
        return await asyncio.gather(*waiting)

    assert asyncio.run(stop()) == [None] * 3
    assert children() == []


def test_one_whose_answer_was_not_read_answers_no_other_texts(
    process: BatchProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as short:
        short.setattr(answering, "read_frame", fail)
        with pytest.raises(MemoryError):
            redact(process, ["a@example.com"])
    assert redact(process, ["hola"]) == [("hola", {})]


def test_signals_of_a_group_do_not_end_it_and_its_pipe_does(process: BatchProcess) -> None:
    redact(process, ["hola"])
    one = child()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(one.pid, number)
    assert redact(process, ["a@example.com"]) == [("[correo]", {"email": 1})]
    started, process._process._process = process._process._process, None
    assert started is not None and started.stdin is not None and started.stdout is not None
    started.stdin.close()
    assert started.wait(10) == 0
    started.stdout.close()


# --- as contents are kept ---------------------------------------------------------------------------------------------


@pytest.fixture
def loaded() -> Config:
    return config.load(str(ROOT / "otel-bridge.toml"), {})


def kept_one_by_one(contents: Contents, texts: list[str]) -> list[Kept]:
    kept: list[Kept] = []
    for text in texts:
        counts: dict[str, int] = {}
        kept.append((contents.kept(text, counts), counts))
    return kept


LONG = "Escribe a ana@example.com. " * 3000
SOME = ["ana@example.com", "a" * 100 + " 612 345 678", LONG, *TEXTS[:200], *(["x@example.com " * 900] * 12)]
"""Several frames of them."""


def test_together_the_contents_of_a_batch_are_kept_as_one_by_one(loaded: Config, process: BatchProcess) -> None:
    assert sum(min(len(text), 16_384) for text in SOME) > 2 * FRAME_CHARS
    contents = Contents(replace(loaded, content_max_chars=90), process)
    try:
        kept = asyncio.run(contents.kept_together(SOME))
        assert kept == kept_one_by_one(contents, SOME)
        assert str(kept[2][0]).endswith(CUT_MARK)
    finally:
        contents.close()


def test_while_others_wait_for_the_process_they_are_kept_here(loaded: Config, process: BatchProcess) -> None:
    redact(process, ["hola"])
    contents = Contents(loaded, process)
    stopped = child()
    stopped.suspend()

    async def three() -> list[list[Kept]]:
        waiting = [asyncio.create_task(contents.kept_together(SOME)) for _ in range(2)]
        await asyncio.sleep(0)
        assert process.is_busy
        kept = [await contents.kept_together(SOME)]
        stopped.resume()
        return kept + [await one for one in waiting]

    try:
        assert asyncio.run(three()) == [kept_one_by_one(contents, SOME)] * 3
    finally:
        contents.close()


def test_a_text_is_cut_by_the_lengths_that_it_was_looked_at_by(
    loaded: Config, process: BatchProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were it cut by those of a reload, half of a secret at the end of what was looked at would be kept."""
    contents = Contents(replace(loaded, content_max_chars=2_000), process)
    redact_there = process.redact

    async def reloaded_meanwhile(texts: list[str]) -> list[Kept] | None:
        redacted = await redact_there(texts)
        contents.configure(replace(loaded, content_max_chars=16_000))
        return redacted

    monkeypatch.setattr(process, "redact", reloaded_meanwhile)
    looked_at = 2 * 2_000 + LONG_CHARS
    halved = "clave " + "a" * (looked_at - 16) + " ana@example.com"  # half of the address is looked at
    try:
        kept = asyncio.run(contents.kept_together([halved] * TOGETHER))
    finally:
        contents.close()
    assert kept[0] == ("clave " + "a" * 1_994 + CUT_MARK, {})
    assert not any("ana@" in (text or "") for text, _ in kept)


def test_without_the_process_they_are_kept_all_the_same(
    loaded: Config, process: BatchProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = Contents(loaded, process)
    try:
        monkeypatch.setattr("sys.executable", "/nowhere/python")
        assert asyncio.run(contents.kept_together(SOME)) == kept_one_by_one(contents, SOME)
    finally:
        contents.close()


@pytest.mark.parametrize(("redaction", "has"), [("on", True), ("full", False)])
def test_texts_go_to_it_where_they_are_many_and_redacted(
    loaded: Config, process: BatchProcess, redaction: str, has: bool
) -> None:
    contents = Contents(replace(loaded, redaction=redaction), process)  # type: ignore[arg-type]
    asyncio.run(contents.kept_together(["ana@example.com"] * (TOGETHER - 1)))
    assert children() == []
    asyncio.run(contents.kept_together(["ana@example.com"] * TOGETHER))
    assert len(children()) == has
    contents.close()
