"""A batch that the process for batches makes ready: it is taken, refused and answered as the ingest does it alone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Coroutine, Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otel_bridge import clock, config, times
from otel_bridge.access.caller import HISTORY
from otel_bridge.config import Config
from otel_bridge.errors import Problem
from otel_bridge.ids import uuid_text
from otel_bridge.intake import ingest as ingest_module
from otel_bridge.intake.answers import Answer
from otel_bridge.intake.batch_process import BatchProcess
from otel_bridge.intake.preparation import Preparation, Prepared
from otel_bridge.records import Event, Record
from tests.harness.bridge import GUIDE_EVENT
from tests.harness.desk import KEY, Desk

CONFIG = """
[gpts.devops-expert]
event_types = ["consulta", "ana@example.com"]
[gpts.ventas]
api_key_hashes = ["sha256:{}"]
"""
TOKEN = "a" * 43
SESSIONS = [("devops-expert", "ana"), ("devops-expert", "hash:"), ("ventas", "ana")]
"""GPT and user; the second one's was forgotten (`user forget`), and comes as it is exported."""
LATER_US = 1_767_225_600_000_000
"""All times that these batches say are earlier, all arrivals later."""
NOBODYS = "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f"
IDS = [f"00000000-0000-4000-8000-{i:012x}" for i in range(4)]


async def told_to(taking: Coroutine[Any, Any, Answer]) -> tuple[int, Any]:
    """A status and a body, also of a refusal."""
    try:
        answer = await taking
    except Problem as problem:
        return problem.kind.status, msgspec.to_builtins(problem.document())
    return answer.status, json.loads(answer.body)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Config:
    file = tmp_path_factory.mktemp("preparation") / "c.toml"
    file.write_text(CONFIG.format(sha256(TOKEN.encode()).hexdigest()), encoding="utf-8")
    return config.load(str(file), {"OTEL_BRIDGE_CONTENT_MAX_CHARS": "100", "OTEL_BRIDGE_RATE_LIMIT": "off"})


@pytest.fixture(scope="module")
def process(loaded: Config) -> Iterator[BatchProcess]:
    process = BatchProcess(loaded, KEY)
    yield process
    process.close()


@pytest.fixture(autouse=True)
def every_batch_goes_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_module, "APART_BYTES", 0)


OPTIONAL = {
    "timestamp": st.sampled_from([None, "2025-06-29T20:00:00.000Z", "2025-06-29T20:00", "2025-06-29"]),
    "id": st.sampled_from([*IDS, "00000000-0000-0000-0000-000000000000"]),
    "tipo": st.sampled_from(["consulta", "otro", "ana@example.com", "a\0b"]),
    "contenido": st.sampled_from(["", "hola", "escribe a ana@example.com", "palabra " * 40, "¿Tú? 😀"]),
    "modelo": st.sampled_from(["gpt-6.2-sol", "ana@example.com"]),
    "error": st.sampled_from(["timeout", "AKIAIOSFODNN7EXAMPLE"]),
    "tokens_entrada": st.sampled_from([0, 25, 25.0, -1]),
    "tokens_cache": st.sampled_from([None, 20, 30]),
    "ttft_ms": st.sampled_from([10, 1e9]),
    "version": st.just("prompt-7"),
    "herramientas": st.just([{"nombre": "buscar", "ms": 3, "error": "timeout"}]),
}  # fmt: skip
items = st.builds(
    lambda session, said: {**GUIDE_EVENT, "timestamp": "2025-06-29T20:00:00.123Z", "sesion_id": session, **said},
    st.integers(0, len(SESSIONS)),
    st.fixed_dictionaries({}, optional=OPTIONAL),
)
plain = st.builds(
    lambda session, i: {
        **GUIDE_EVENT, "timestamp": f"2025-06-29T20:00:00.{i:03}Z", "sesion_id": session,
        "contenido": f"escribe a {i}@example.com" if i % 5 == 0 else "hola",
    },
    st.integers(0, len(SESSIONS) - 1),
    st.integers(0, 99),
)  # fmt: skip
batches = st.lists(plain, min_size=1, max_size=30) | st.lists(plain | items, min_size=1, max_size=6)


async def told(
    loaded: Config, process: BatchProcess | None, posts: list[list[dict[str, Any]]], *headers: tuple[bytes, bytes]
) -> tuple[Any, list[Record], Any, Any]:
    """What these batches are answered, journaled and counted, one after the other. Ids that are made by chance are the
    same on both sides."""
    with TemporaryDirectory() as folder:
        desk = Desk(Path(folder), loaded, process)
        try:
            sessions = []
            for i, (gpt, user) in enumerate(SESSIONS):
                chosen = f"0197bd2e-6c00-7d9a-8f3e-{i:012x}"
                caller = desk.caller((b"x-api-key", TOKEN.encode()), (HISTORY, b"1"))
                answer = await desk.session(caller, gpt_id=gpt, usuario_id=user, id=chosen)
                assert answer.status == 201
                sessions.append(chosen)
            sessions.append(NOBODYS)
            answers = []
            for post in posts:
                body = json.dumps([{**item, "sesion_id": sessions[item["sesion_id"]]} for item in post]).encode()
                answers.append(await told_to(desk.post(body, desk.caller(*headers))))
            records = desk.records()
        finally:
            await desk.close()
    text = json.dumps(answers)
    for record in records:
        record.arrived_us = 0
        if isinstance(record, Event):
            if record.id[6] >> 4 == 7:
                text = text.replace(uuid_text(record.id), "by chance")
                record.id = b""
            if record.end_us > LATER_US:
                record.end_us = 0
    counts = desk.metrics.counts()
    return json.loads(text), records, counts.records, counts.redactions


HEADERS = [
    (),
    ((b"x-api-key", TOKEN.encode()),),
    ((b"x-api-key", TOKEN.encode()), (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
    ((b"idempotency-key", b"a"),),
    ((HISTORY, b"1"),),
]


ONE = {**GUIDE_EVENT, "timestamp": "2025-06-29T20:00:00.123Z", "sesion_id": 0}
CHOSEN, NOBODYS_TEXT = [{**ONE, "id": IDS[0]}, ONE], [{**ONE, "sesion_id": 1, "contenido": "a@example.com"}]


@settings(max_examples=60)
@example(posts=[CHOSEN], again=True, headers=())
@example(posts=[CHOSEN, NOBODYS_TEXT, [{**ONE, "id": IDS[0], "contenido": "otra"}]], again=True, headers=())
@given(posts=st.lists(batches, min_size=1, max_size=2), again=st.booleans(), headers=st.sampled_from(HEADERS))
def test_a_batch_is_taken_as_the_ingest_takes_it_alone(
    loaded: Config, process: BatchProcess, posts: list[list[dict[str, Any]]], again: bool, headers: Any
) -> None:
    posts = posts + posts[:1] if again else posts
    assert asyncio.run(told(loaded, process, posts, *headers)) == asyncio.run(told(loaded, None, posts, *headers))


def prepared(process: BatchProcess, *said: dict[str, Any]) -> Prepared | None:
    posted = [{**GUIDE_EVENT, "timestamp": "2025-06-29T20:00:00Z", "sesion_id": NOBODYS, **one} for one in said]
    return asyncio.run(process.prepare(json.dumps(posted).encode(), LATER_US, 100))


TAKEN = [
    {},
    {"timestamp": None},
    {"id": IDS[0]},
    {"modelo": "gpt-6.2-sol", "error": "timeout", "tipo": "otro"},
    {"contenido": "escribe a ana@example.com"},
    {"ttft_ms": 10, "version": "prompt-7", "herramientas": [{"nombre": "buscar", "ms": 3}], "tokens_cache": 3},
]


@pytest.mark.parametrize("said", TAKEN, ids=str)
def test_nearly_all_batches_are_made_ready_there(process: BatchProcess, said: dict[str, Any]) -> None:
    found = prepared(process, {}, said)
    assert found is not None
    assert len(found.events) == 2 and list(found.posted.values()) == [2]
    assert found.unclean == ([1] if "contenido" in said else [])
    assert json.loads(found.answer)["aceptados"] == 2


def test_a_time_ahead_is_left_to_the_bridge_whatever_the_clock_there_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bridge follows a machine's clock that has stepped. The process does not watch it: to it, the step remains."""
    monkeypatch.setattr(times.CLOCK, "ahead_us", lambda: 30 * times.AHEAD_US)
    preparation = Preparation(KEY, lambda text: True)
    for days, taken in ((0.9, True), (2, False)):
        at = times.format_time(LATER_US + int(days * times.AHEAD_US))
        body = json.dumps([{**GUIDE_EVENT, "timestamp": at, "sesion_id": NOBODYS}]).encode()
        assert (preparation.prepare(body, LATER_US, 100) is not None) == taken


LEFT = [
    {"tokens_entrada": -1},
    {"timestamp": "2025-06-29"},
    {"id": IDS[0], "timestamp": None},
    {"tipo": "ana@example.com"},
    {"error": "AKIAIOSFODNN7EXAMPLE"},
    {"herramientas": [{"nombre": "AKIAIOSFODNN7EXAMPLE", "ms": 3}]},
]


@pytest.mark.parametrize("said", LEFT, ids=str)
def test_what_is_wrong_or_depends_on_the_gpt_is_left_to_the_bridge(process: BatchProcess, said: dict[str, Any]) -> None:
    assert prepared(process, {}, said) is None
    assert prepared(process, {}) is not None


def test_what_waited_too_long_for_the_process_arrives_anew(
    loaded: Config, process: BatchProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_module, "OLDEST_US", 1_000)

    async def scenario() -> None:
        desk = Desk(tmp_path, loaded, process)
        session = await desk.new()
        await process.redact(["hola"])
        asked = process._process._process
        assert asked is not None
        os.kill(asked.pid, signal.SIGSTOP)
        posted = asyncio.create_task(desk.batch([{**ONE, "sesion_id": session}]))
        await asyncio.sleep(0.01)
        later_us = clock.now_us()
        os.kill(asked.pid, signal.SIGCONT)
        assert (await posted).status == 201
        assert desk.records()[-1].arrived_us >= later_us
        await desk.close()

    asyncio.run(scenario())
