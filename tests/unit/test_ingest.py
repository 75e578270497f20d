"""From a body to a journaled record and its answer, without a socket: what is kept, hashed, cut, recognised."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from otel_bridge import config, errors
from otel_bridge.access.caller import Access, Caller
from otel_bridge.config import Gpt, Rate
from otel_bridge.errors import Problem
from otel_bridge.ids import new_uuid, uuid_text
from otel_bridge.intake.sessions import KnownSession
from otel_bridge.privacy.users import UserHasher
from tests.harness.bridge import GUIDE_EVENT
from tests.harness.desk import KEY, Desk

CONFIG = '[gpts.devops-expert]\nname = "DevOps Expert"\n[gpts.ventas]\n'


@pytest.fixture
def at_desk(tmp_path: Path) -> Callable[..., Any]:
    def run(scenario: Callable[[Desk], Coroutine[Any, Any, Any]], **settings: str) -> Any:
        async def served() -> Any:
            tmp_path.joinpath("c.toml").write_text(CONFIG, encoding="utf-8")
            environ = {f"OTEL_BRIDGE_{name.upper()}": value for name, value in settings.items()}
            desk = Desk(tmp_path, config.load(str(tmp_path / "c.toml"), environ))
            try:
                return await scenario(desk)
            finally:
                await desk.close()

        return asyncio.run(served())

    return run


AtDesk = Callable[..., Any]


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_a_user_is_kept_only_as_a_keyed_hash(at_desk: AtDesk) -> None:
    async def scenario(desk: Desk) -> None:
        for user in ("ana", "bruno", "ana"):
            await desk.session(usuario_id=user)
        users = [record.user for record in desk.records()]
        assert users[0] == users[2] != users[1]
        assert users[0] == UserHasher(KEY)("ana") != UserHasher(b"x" * 32)("ana")
        assert b"ana" not in b"".join(segment.body for segment in desk.reader.segments(0, 100))

    at_desk(scenario)


CONTENT = [
    ("on", "escribe a ana@example.com", lambda kept: "ana@example.com" not in kept and kept.startswith("escribe a ")),
    ("off", "escribe a ana@example.com", lambda kept: kept == "escribe a ana@example.com"),
    ("full", "escribe a ana@example.com", lambda kept: kept is None),
]


@pytest.mark.parametrize(("mode", "content", "right"), CONTENT, ids=[mode for mode, _, _ in CONTENT])
def test_content_is_redacted_before_it_is_journaled(at_desk: AtDesk, mode: str, content: str, right: Any) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.event(await desk.new(), contenido=content)
        assert right(desk.records()[-1].content)

    at_desk(scenario, redaction=mode)


def test_long_content_is_cut_and_says_so(at_desk: AtDesk) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.event(await desk.new(), contenido="palabra " * 1000)
        kept = desk.records()[-1].content
        assert kept.endswith("[recortado]") and kept.startswith("palabra ") and len(kept) <= 120

    at_desk(scenario, content_max_chars="100")


def test_a_secret_across_the_cut_does_not_leave_in_half(at_desk: AtDesk) -> None:
    async def scenario(desk: Desk) -> None:
        session = await desk.new()
        for shift in (5, 10, 15, 65_530):
            await desk.event(session, contenido="x" * (100 - shift) + " ana.garcia@example.com " + "y" * 70_000)
            await desk.event(session, contenido="x " * (65_536 // 2 - shift % 60) + "ana.garcia@example.com")
        assert not any("ana.garcia" in (record.content or "") for record in desk.records()[1:])

    at_desk(scenario, content_max_chars="100000")


def test_redactions_are_counted_once_although_a_post_is_repeated(at_desk: AtDesk) -> None:
    async def scenario(desk: Desk) -> None:
        session = await desk.new()
        for _ in range(3):
            await desk.event(session, contenido="ana@example.com", timestamp="2025-06-29T20:00:00Z")
        assert sum(desk.metrics.redactions.values()) == 1

    at_desk(scenario)


def test_an_event_without_a_time_ends_when_it_arrives(at_desk: AtDesk) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.event(await desk.new())
        record = desk.records()[-1]
        assert record.end_us == record.arrived_us

    at_desk(scenario)


def test_a_whole_latency_is_answered_as_it_was_sent(at_desk: AtDesk) -> None:
    async def scenario(desk: Desk) -> None:
        session = await desk.new()
        assert b'"latency_ms":1500,' in (await desk.event(session, latency_ms=1500)).body
        assert b'"latency_ms":0.25,' in (await desk.event(session, latency_ms=0.25)).body

    at_desk(scenario)


def test_a_repeat_without_a_time_of_its_own_is_answered_with_the_first_ones(at_desk: AtDesk) -> None:
    async def scenario(desk: Desk) -> None:
        session, chosen = await desk.new(), str(uuid.uuid4())
        first = await desk.event(session, id=chosen)
        await asyncio.sleep(0.02)
        again = await desk.event(session, id=chosen)
        assert (first.status, again.status) == (201, 200) and first.body == again.body

    at_desk(scenario)


# --- who may ----------------------------------------------------------------------------------------------------------


class RefusedFor(Caller):
    """A caller that may not post for one GPT."""

    def __init__(self, desk: Desk, gpt_id: str) -> None:
        super().__init__(desk.access, [], {}, "127.0.0.1")
        self.gpt_id = gpt_id
        self.asked: list[tuple[str, int]] = []

    def admit(self, gpt: Gpt, items: int) -> None:
        self.asked.append((gpt.id, items))
        if gpt.id == self.gpt_id:
            raise Problem(errors.FORBIDDEN)


def test_what_a_caller_may_not_post_is_not_journaled(at_desk: AtDesk) -> None:
    async def scenario(desk: Desk) -> None:
        session = await desk.new()
        for call in (
            desk.session(RefusedFor(desk, "devops-expert")),
            desk.event(session, RefusedFor(desk, "devops-expert")),
        ):
            with pytest.raises(Problem) as caught:
                await call
            assert caught.value.kind is errors.FORBIDDEN
        with pytest.raises(Problem):
            await desk.batch([{**GUIDE_EVENT, "sesion_id": session}] * 3, RefusedFor(desk, "devops-expert"))
        assert len(desk.records()) == 1

    at_desk(scenario)


def test_a_batch_asks_once_a_gpt_with_its_number_of_items(at_desk: AtDesk) -> None:
    async def scenario(desk: Desk) -> None:
        first, second = await desk.new(), await desk.new(gpt_id="ventas")
        caller = RefusedFor(desk, "ventas")
        answer = await desk.batch(
            [{**GUIDE_EVENT, "sesion_id": s} for s in (first, second, first, second, first)], caller
        )
        assert sorted(caller.asked) == [("devops-expert", 3), ("ventas", 2)]
        assert answer.status == 207
        assert [item["estado"] for item in json.loads(answer.body)["resultados"]] == [201, 403, 201, 403, 201]

    at_desk(scenario)


def test_redactions_of_a_batch_are_those_of_its_new_items(at_desk: AtDesk) -> None:
    async def scenario(desk: Desk) -> None:
        session = await desk.new()
        mail = {**GUIDE_EVENT, "sesion_id": session, "contenido": "ana@example.com"}
        await desk.batch([{**mail, "timestamp": "2025-06-29T20:00:00Z"}])
        answer = await desk.batch([{**mail, "timestamp": f"2025-06-29T20:00:0{n}Z"} for n in (0, 1)])
        assert [item["estado"] for item in json.loads(answer.body)["resultados"]] == [200, 201]
        assert sum(desk.metrics.redactions.values()) == 2

    at_desk(scenario)


# --- ids and headers --------------------------------------------------------------------------------------------------


def test_a_new_id_is_a_uuid_of_version_7_and_sorts_by_time() -> None:
    early, late = new_uuid(1_751_227_200_000_000), new_uuid(1_751_227_201_000_000)
    assert uuid.UUID(bytes=early).version == 7 and early < late
    assert uuid_text(early) == str(uuid.UUID(bytes=early))


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (TRACEPARENT, True),
        (TRACEPARENT[:-2] + "00", True),
        ("01" + TRACEPARENT[2:] + "-more", True),
        ("ff" + TRACEPARENT[2:], False),
        (TRACEPARENT.upper(), False),
        (TRACEPARENT[:-1], False),
        ("00-" + "0" * 32 + "-b7ad6b7169203331-01", False),
        ("00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01", False),
        ("", False),
    ],
)
def test_a_traceparent_is_read_as_w3c_has_it(tmp_path: Path, text: str, read: bool) -> None:
    link = caller(tmp_path, (b"traceparent", text.encode())).link
    assert link == (bytes.fromhex(text[3:35] + text[36:52]) if read else None)


@pytest.mark.parametrize("key", ["", " ", "a b", "ñ", "x" * 256, "a\tb"])
def test_an_unusable_idempotency_key_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(Problem) as caught:
        caller(tmp_path, (b"idempotency-key", key.encode()))
    assert caught.value.kind is errors.HEADER_INVALID


def caller(folder: Path, *headers: tuple[bytes, bytes]) -> Caller:
    folder.joinpath("c.toml").write_text(CONFIG, encoding="utf-8")
    return Access(config.load(str(folder / "c.toml"), {})).caller(headers, "127.0.0.1")


def test_a_session_of_a_gpt_that_left_the_configuration_takes_no_more_events(at_desk: AtDesk, tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        session = await desk.new(gpt_id="ventas")
        file = tmp_path / "c.toml"
        file.write_text("[gpts.devops-expert]\n", encoding="utf-8")
        desk.ingest.configure(config.load(str(file), {}))
        with pytest.raises(Problem) as caught:
            await desk.event(session)
        assert caught.value.kind is errors.GPT_NOT_FOUND

    at_desk(scenario)


def test_a_session_on_its_way_out_takes_no_event_not_even_one_whose_text_was_waited_for(at_desk: AtDesk) -> None:
    async def scenario(desk: Desk) -> None:
        session = await desk.new()
        id_ = uuid.UUID(session).bytes
        contents = desk.ingest._contents
        kept_elsewhere, going_out = contents.kept_elsewhere, asyncio.Event()

        async def slowly(text: str, counts: dict[str, int]) -> str | None:
            going_out.set()
            await asyncio.sleep(0)
            return await kept_elsewhere(text, counts)

        contents.kept_elsewhere = slowly  # type: ignore[method-assign]
        contents.must_wait = lambda text: True  # type: ignore[method-assign]
        waiting = asyncio.ensure_future(desk.event(session, contenido="escribe a ana@example.com"))
        await going_out.wait()
        desk.ingest.sessions.refuse([id_])
        for refused in (waiting, desk.event(session), desk.ingest.session_state(session, desk.caller())):
            with pytest.raises(Problem) as caught:
                await refused
            assert caught.value.kind is errors.SESSION_NOT_FOUND
        assert len(desk.records()) == 1
        desk.ingest.sessions.readmit([id_])
        assert (await desk.event(session)).status == 201

    at_desk(scenario)


def test_a_session_that_goes_out_while_another_of_its_batch_is_looked_up_takes_no_event(at_desk: AtDesk) -> None:
    async def scenario(desk: Desk) -> None:
        going, forgotten = await desk.new(), await desk.new()
        sessions = desk.ingest.sessions
        sessions.age()
        assert (await desk.event(going)).status == 201
        sessions.age()  # the other one is not remembered any more
        assert sessions.remembers(uuid.UUID(going).bytes) and not sessions.remembers(uuid.UUID(forgotten).bytes)
        look_up = sessions.look_up

        async def slowly(session_ids: Sequence[int]) -> dict[int, KnownSession]:
            found = await look_up(session_ids)
            sessions.refuse([uuid.UUID(going).bytes])
            return found

        sessions.look_up = slowly  # type: ignore[method-assign]
        at = "2025-06-29T20:00:00Z"
        batch = [{**GUIDE_EVENT, "sesion_id": session, "timestamp": at} for session in (going, forgotten)]
        answer = json.loads((await desk.batch(batch)).body)
        assert [item["estado"] for item in answer["resultados"]] == [404, 201]

    at_desk(scenario)


def test_an_id_that_was_refused_may_be_used_anew(at_desk: AtDesk) -> None:
    async def scenario(desk: Desk) -> None:
        chosen = str(uuid.uuid4())
        desk.ingest.sessions.refuse([uuid.UUID(chosen).bytes])
        assert await desk.new(id=chosen) == chosen
        assert (await desk.event(chosen)).status == 201

    at_desk(scenario)


def test_the_repeat_of_a_session_on_its_way_out_brings_it_not_back(at_desk: AtDesk) -> None:
    async def scenario(desk: Desk) -> None:
        chosen = await desk.new(id=str(uuid.uuid4()))
        desk.ingest.sessions.refuse([uuid.UUID(chosen).bytes])
        assert (await desk.session(id=chosen)).status == 200
        with pytest.raises(Problem) as caught:
            await desk.event(chosen)
        assert caught.value.kind is errors.SESSION_NOT_FOUND

    at_desk(scenario)


def test_a_batch_that_is_prepared_again_lets_nobody_in_who_was_refused(
    at_desk: AtDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(desk: Desk) -> None:
        mine, others = await desk.new(), await desk.new(gpt_id="ventas")
        limited = replace(desk.ingest.gpts["ventas"], rate_limit=Rate(1, 60))
        monkeypatch.setattr(desk.ingest, "gpts", {**desk.ingest.gpts, "ventas": limited})
        told = iter((True, False))
        monkeypatch.setattr(desk.ingest.sessions, "refuses", lambda sessions: next(told))
        items = [
            {**GUIDE_EVENT, "sesion_id": session, "contenido": f"escribe a ana{n}@example.org"}
            for n, session in enumerate((mine, others, others))
        ]
        answer = json.loads((await desk.batch(items)).body)
        assert [result["estado"] for result in answer["resultados"]] == [201, 429, 429]
        assert next(told, None) is None, "it was prepared twice"

    at_desk(scenario)
