"""A disk that fails in a commit: nothing is claimed that is not so, and what the log has left decides at the start."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from otel_bridge import journal
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.journal import Append, Parked
from otel_bridge.records import Event, event_span_id
from tests.chaos.conftest import long_form
from tests.chaos.disks import FailingDisk
from tests.chaos.faults import failing, strace
from tests.chaos.lanes import LONG, side_by_side
from tests.chaos.ledger import Client, Forgetful, Ledger, Say, account, journaled
from tests.harness.bridge import ROOT, Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

UNKNOWN = "urn:otel-bridge:resultado-desconocido"
NOTHING_TAKEN = "urn:otel-bridge:diario-no-disponible"
NO_ROOM = "urn:otel-bridge:disco-lleno"
EVENTS = "gen_ai_client_operation_duration_seconds_count"
WRITE_ERRORS = [("EIO", NOTHING_TAKEN), ("EDQUOT", NOTHING_TAKEN), ("ENOSPC", NO_ROOM)]
ROUNDS = int(os.environ.get("CHAOS_FSYNCS", "50"))


def _wal(bridge: Bridge) -> Path:
    return Path(f"{bridge.journal}-wal")


def _pid(bridge: Bridge) -> int:
    assert bridge.process is not None
    return bridge.process.pid


def _new() -> str:
    return str(uuid.uuid4())


def _told(answer: requests.Response, kind: str) -> None:
    assert answer.status_code == 503 and answer.json()["type"] == kind, answer.text
    assert int(answer.headers["Retry-After"]) > 0


def _quiet(bridge: Bridge) -> None:
    """Until the log is in the file and nothing commits by itself any more: that goes on for a second or two behind the
    last record and the last page. The next commit begins the log anew: an fsync of its head, and then its own."""
    settle(bridge)
    wait_for(lambda: time.time() - _wal(bridge).stat().st_mtime > 2.5, "a journal that nobody writes")


def _in_journal(bridge: Bridge) -> set[str]:
    return {str(uuid.UUID(bytes=one)) for one in journaled(bridge)[1]}


@pytest.mark.parametrize(("end", "which"), [("kill -9", 2), ("by itself", 1)])
@side_by_side
def test_a_failed_fsync_is_told_as_unknown_and_a_repeat_counts_once(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, end: str, which: int
) -> None:
    bridge = make_bridge(**receiver.environ).start()
    session = bridge.session()
    taken, unknown, refused = _new(), [_new() for _ in range(3)], _new()
    assert bridge.event(session, id=taken).status_code == 201
    _quiet(bridge)
    with failing(_pid(bridge), _wal(bridge), f"fdatasync,fsync:error=EIO:when={which}") as fault:
        batch = [{**_event(session), "id": one} for one in unknown]
        answer = bridge.post("/events", batch)
        _told(answer, UNKNOWN)
        assert "No se tomó nada" not in answer.text
        _told(bridge.event(session, id=refused), NOTHING_TAKEN)
        ready = bridge.http.get(f"{bridge.url}/readyz", timeout=5)
        assert ready.status_code == 503 and "no se sabe" in str(ready.json()["problemas"]), ready.text
        left = _wal(bridge).read_bytes()
        if end == "kill -9":
            bridge.kill()
        else:
            assert bridge.process is not None and bridge.process.wait(20) == 1
    assert fault.count() == 1 and _wal(bridge).read_bytes() == left  # nothing was moved any more
    bridge.start()
    # What the system had of it was taken to be written, so it is there; the answers said neither. Of the log's head the
    # fsync comes before the commit's own frames.
    written = {one for one in unknown if uuid.UUID(one).bytes in left}
    assert written == (set() if which == 1 else set(unknown))
    assert bridge.metric(EVENTS) == 1 + len(written) and _in_journal(bridge) == {taken, *written}
    again = bridge.post("/events", batch)
    assert again.status_code == 201 and [one["id"] for one in again.json()["resultados"]] == unknown, again.text
    assert bridge.post("/events", batch[0]).status_code == 200
    settle(bridge)
    assert bridge.metric(EVENTS) == 4 and bridge.metric("otel_bridge_ledger_gap") == 0
    assert {event_span_id(uuid.UUID(one).bytes).hex() for one in (taken, *unknown)} < set(receiver.times)
    assert len(receiver.times) == 5 and bridge.metric("otel_bridge_exported_records_total") == 5
    assert bridge.event(session, id=refused).status_code == 201


def _event(session: str) -> dict[str, Any]:
    return {"sesion_id": session, "tipo": "consulta", "contenido": "x", "latency_ms": 1, "tokens_entrada": 1,
            "tokens_salida": 1}  # fmt: skip


@pytest.mark.parametrize("error, kind", WRITE_ERRORS if LONG else WRITE_ERRORS[:1])
@side_by_side
def test_a_failed_write_of_the_log_takes_nothing_whichever_it_is(
    make_bridge: Callable[..., Bridge], error: str, kind: str
) -> None:
    """A commit is some writes and an fsync: each of them fails in turn, with and without a kill behind it."""
    bridge = make_bridge().start()
    session, refused, taken, number = bridge.session(), [], [], 1
    while True:
        one = _new()
        with failing(_pid(bridge), _wal(bridge), f"pwrite64:error={error}:when={number}") as fault:
            answer = bridge.event(session, id=one)
        if answer.status_code != 201:
            _told(answer, kind)
            refused.append(one)
            number += 1
        else:
            taken.append(one)
            if not fault.count():
                break  # a commit has fewer writes; else it was housekeeping's that failed
        if number in (2, 4):
            bridge.kill()
            bridge.start()
    assert len(refused) > 3  # the log's head, and a frame a page: segment, keys, and what they stand in
    wait_for(lambda: bridge.http.get(f"{bridge.url}/readyz", timeout=5).status_code == 200, "a ready bridge")
    bridge.kill()
    bridge.start()
    assert _in_journal(bridge) == set(taken) and bridge.metric(EVENTS) == len(taken)
    assert all(bridge.event(session, id=one).status_code == 201 for one in refused)
    assert bridge.metric(EVENTS) == len(taken) + len(refused)


@side_by_side
def test_a_checkpoint_that_cannot_be_fsynced_ends_the_process_and_loses_nothing(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    """What of it is on the disk nobody knows, and the log alone has it all: it must not be begun anew."""
    bridge = make_bridge(**receiver.environ).start()
    session, taken = bridge.session(), []
    with failing(_pid(bridge), bridge.journal, "fdatasync,fsync:error=EIO:when=1") as fault:
        while not fault.count():
            taken.append(_new())
            assert bridge.event(session, id=taken[-1]).status_code in (201, 503)
        left = wait_for(lambda: "writer died" in bridge.output() and _wal(bridge).read_bytes(), "the writer's end")
        _told(bridge.event(session, id=_new()), NOTHING_TAKEN)
        assert bridge.process is not None and bridge.process.wait(20) == 1
    assert _wal(bridge).read_bytes() == left
    bridge.start()
    assert {bridge.event(session, id=one).status_code for one in taken} <= {200, 201}
    settle(bridge)
    assert bridge.metric(EVENTS) == len(taken) == len(receiver.times) - 1
    assert bridge.metric("otel_bridge_ledger_gap") == 0


@side_by_side
def test_a_stop_whose_last_commit_cannot_be_fsynced_does_not_pass_for_an_orderly_one(
    make_bridge: Callable[..., Bridge],
) -> None:
    bridge = make_bridge().start()
    session = bridge.session()
    assert bridge.event(session).status_code == 201
    with failing(_pid(bridge), _wal(bridge), "fdatasync,fsync:error=EIO:when=1+"):
        assert bridge.stop() == 1
    assert "no snapshot at the stop" in bridge.output() and _wal(bridge).stat().st_size > 0
    bridge.start()
    assert bridge.metric(EVENTS) == 1 and bridge.event(session).status_code == 201


@side_by_side
def test_a_page_of_metrics_beside_it_shows_nothing_that_falls(make_bridge: Callable[..., Bridge]) -> None:
    """Refusals are counted on, and nothing can be saved any more: the next process counts from what was saved."""
    bridge = make_bridge().start()
    session = bridge.session()
    assert bridge.event(session).status_code == 201
    shown: dict[Any, float] = {}
    with failing(_pid(bridge), _wal(bridge), "fdatasync,fsync:error=EIO:when=1+") as fault:
        pages = 0
        while pages < 3 or not fault.count():
            assert bridge.event(session, id="no uuid").status_code == 422
            for key, value in bridge.scrape().items():
                shown[key] = max(value, shown.get(key, 0.0))
            pages += fault.count() > 0
        bridge.kill()
    bridge.start()
    after = bridge.scrape()
    counters = [key for key in shown if key[0].endswith(("_total", "_count", "_sum", "_bucket"))]
    counters = [key for key in counters if key[0] != "otel_bridge_worker_restarts_total"]  # of this process
    assert len(counters) > 100
    assert not {key: (shown[key], after.get(key)) for key in counters if after.get(key, 0.0) < shown[key]}


GROWS = """
import sys, time, uuid
from otel_bridge import journal
from otel_bridge.journal import Append, StoreError
from otel_bridge.records import Event

store = journal.open(sys.argv[1], "otlp")
now = time.time_ns() // 1000
events = [Event(uuid.uuid4().bytes, bytes(16), "g", "u", "consulta", "x" * 4000, 1.0, 1, 1, now, now)
          for _ in range(10_000)]
try:
    store.begin()
    store.write([Append(events, [None] * len(events))])
    store.commit()
except StoreError as error:
    print(type(error).__name__, flush=True)
"""


@side_by_side
def test_a_commit_whose_index_cannot_grow_is_unknown_for_it_is_on_the_disk(tmp_path: Path) -> None:
    """The last that can go wrong: its frames are written and fsynced, and the index has no room for them."""
    path = tmp_path / "journal.db"
    # It grows by eight pages, the last byte of each is written: 4,062 frames have room in the first eight.
    inject = [*strace(Path(f"{path}-shm"), "pwrite64:error=ENOSPC:when=9+"), "-o", "/dev/null"]
    done = subprocess.run(
        [*inject, sys.executable, "-c", GROWS, f"sqlite:///{path}"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout == "OutcomeUnknown\n", done.stderr
    reader = journal.open_reader(f"sqlite:///{path}", CONSUMER)
    assert reader.ledger().pending == 10_000
    reader.close()


@side_by_side
def test_what_an_fsync_did_not_keep_is_written_anew_before_it_counts_as_safe(
    make_bridge: Callable[..., Bridge], failing_disk: Callable[[], FailingDisk]
) -> None:
    """A real disk that fails: pages whose fsync has failed are read as they were written, and are on no disk."""
    disk = failing_disk()
    bridge = make_bridge(
        OTEL_BRIDGE_JOURNAL=f"sqlite:///{disk.folder}/data/otel-bridge.db", OTEL_BRIDGE_DISK_MIN_FREE="0"
    ).start()
    session, unknown = bridge.session(), _new()
    disk.fail()
    wait_for(lambda: bridge.event(session, id=_new()).json().get("type") == UNKNOWN, "a failed fsync", pause=0)
    _told(bridge.event(session, id=unknown), NOTHING_TAKEN)
    bridge.kill()
    refused = bridge.run("serve", "--port", "0", "--metrics-port", "0")
    assert refused.returncode == 2 and "Comprueba el disco" in refused.stderr, refused.stderr
    disk.mend()
    # What a start has folded and would answer repeats by, before anything else is written.
    opens = "import os, sys; from otel_bridge import journal; print(journal.open(sys.argv[1], 'otlp').last); "
    opens += "sys.stdout.flush(); os._exit(0)"
    url = f"sqlite:///{bridge.journal}"
    done = subprocess.run([sys.executable, "-c", opens, url], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    disk.forget()
    bridge.start()
    assert len(_in_journal(bridge)) == bridge.metric(EVENTS) == int(done.stdout) - 1
    assert bridge.event(session).status_code == 201


@side_by_side
def test_a_replay_that_cannot_be_fsynced_says_that_it_may_be_asked_again(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge()
    store = journal.open(f"sqlite:///{bridge.journal}", CONSUMER)
    now = time.time_ns() // 1000
    event = Event(uuid.uuid4().bytes, uuid.uuid4().bytes, "devops-expert", "u", "consulta", None, 1.0, 1, 1, now, now)
    store.begin()
    store.write([Append([event], [None])])
    store.advance(1, 0, [Parked(1, b"", "poison", "no", now)])
    store.commit()
    store.close()
    command = bridge.command("journal", "replay")
    inject = [*strace(_wal(bridge), "fdatasync,fsync:error=EIO:when=1+"), "-o", "/dev/null"]
    done = subprocess.run([*inject, *command], cwd=bridge.folder, env=bridge.env(), capture_output=True, text=True)
    assert done.returncode != 0 and "Traceback" not in done.stderr, done.stderr
    assert "pídelo otra vez" in done.stderr
    assert bridge.run("journal", "replay").returncode == 0


class Undecided(Client):
    """Repeats half of what is not taken, and leaves the rest at that."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.left: set[bytes] = set()
        """Events of posts that were told to be of unknown outcome, or that got no answer, and were not repeated."""
        self.refused: set[bytes] = set()
        """Those of which every answer said that nothing was taken."""

    def _post_events(self, session: bytes, count: int) -> None:
        try:
            super()._post_events(session, count)
        except _LeftAtThat:
            pass

    def _repeats(self, value: Any, unknown: bool) -> None:
        items = value if isinstance(value, list) else [value]
        if "sesion_id" in items[0] and self._random.random() < 0.5:
            (self.left if unknown else self.refused).update(uuid.UUID(one["id"]).bytes for one in items)
            raise _LeftAtThat


class _LeftAtThat(Exception):
    pass


@contextmanager
def _under_load(bridge: Bridge, seed: int) -> Iterator[tuple[Ledger, list[Undecided]]]:
    ledger = Ledger()
    clients = [Undecided(bridge.port, ledger, seed * 1000 + i, pause=0.002) for i in range(4)]
    for client in clients:
        client.start()
    try:
        yield ledger, clients
    finally:
        for client in clients:
            client.end()
    for client in clients:
        client.finish()


FAULTS = (
    ("-wal", "fdatasync,fsync:error=EIO:when={}"),
    ("-wal", "fdatasync,fsync:error=EIO:when={}+"),
    ("-wal", "pwrite64:error=EIO:when={}"),
    ("-wal", "pwrite64:error=EIO:when={}+"),
    ("", "fdatasync,fsync:error=EIO:when=1+"),
    ("", "pwrite64:error=EIO:when={}"),
)
"""Which of the journal's files, and which call of each thread."""


@long_form
@pytest.mark.timeout(60 + 15 * ROUNDS)
def test_failing_disks_at_random_moments_leave_every_answer_true(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, say: Say
) -> None:
    seed = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
    moments = random.Random(seed)
    receiver.spans = Forgetful()
    bridge = make_bridge(**receiver.environ).start()
    started, failed, ended = time.monotonic(), 0, 0
    with _under_load(bridge, seed) as (ledger, clients):
        for _ in range(ROUNDS):
            time.sleep(moments.uniform(0.0, 0.5))
            suffix, rule = moments.choice(FAULTS)
            path = Path(f"{bridge.journal}{suffix}")
            with failing(_pid(bridge), path, rule.format(moments.randint(1, 8))) as fault:
                kills = moments.random() < 0.5
                _exits(bridge, moments.uniform(0.0, 1.5) if kills else 5.0)
                failed += fault.count()
                assert bridge.process is not None
                if bridge.process.poll() is not None:
                    code = bridge.process.returncode  # 2: it was still starting
                    assert code == 1 or (code == 2 and "el disco no admite" in bridge.output()), bridge.output()
                    ended += 1
            if bridge.process.poll() is None:
                bridge.kill()
            bridge.start(wait=moments.random() < 0.8)
    bridge.wait_ready()
    settle(bridge)
    events = set(journaled(bridge)[1])
    left = set().union(*(client.left for client in clients))
    refused = set().union(*(client.refused for client in clients))
    assert not events & refused  # who was told that nothing was taken may post it as a new one
    ledger.events |= events & left
    found = account(bridge, ledger, receiver)
    say(
        f"{ROUNDS} rounds in {time.monotonic() - started:.0f} s, seed {seed}: {failed} calls failed, {ended} times the "
        f"process ended by itself, {ledger.unknown} posts were told that it is not known; {found}; of {len(left)} "
        f"events of unknown outcome that nobody repeated {len(events & left)} are there, of {len(refused)} refused none"
    )
    found.check()
    assert bridge.stop() == 0


def _exits(bridge: Bridge, seconds: float) -> bool:
    """Whether the process ends by itself within this time."""
    assert bridge.process is not None
    try:
        bridge.process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
