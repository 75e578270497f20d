"""A session, its events and their retries, over hours, restarts, kills and outages, against a model of the promises.

A real bridge, over HTTP and MCP. What clients do and what befalls it is drawn (tests/promises/rules.py); the same
machine runs a hundred times as fast in one process in tests/journal/test_promises.py. What is a matter of
milliseconds cannot be repeated at will, so nothing is left out of a failure: it prints all of its steps.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from tests.chaos.conftest import Say
from tests.chaos.lanes import LONG
from tests.frontdoor.test_mcp import call
from tests.promises.desk import header_lines
from tests.promises.draws import HISTORY, IDS, KEYS, contents, gpts, moments
from tests.promises.rules import Clients
from tests.promises.served import Served
from tests.promises.values import CLOSED, Answer, Body, Post

EXAMPLES = int(os.environ.get("PROMISES_EXAMPLES", "8" if LONG else "2"))
STEPS = 40
STARTS = 60 if LONG else 5
"""Of one bridge: each takes a second. Past them only clients act."""
TOOLS = {"/sessions": "crear_sesion", "/events": "registrar_evento"}


class OverHttp(Clients):
    served: Served
    folder: Path
    seen: Counter[str]

    def __init__(self) -> None:
        self.served = Served(Path(tempfile.mkdtemp(dir=self.folder)))
        self.starts = 0
        super().__init__()

    def may_end(self) -> bool:
        self.starts += 1
        return self.starts <= STARTS

    def _restart(self, kill: bool) -> None:
        if self.may_end():
            super()._restart(kill)

    def _pass_time(self, what: str, us: int) -> None:
        if self.may_end():
            super()._pass_time(what, us)

    @rule(which=st.integers(0, 30))
    def retry_over_mcp(self, which: int) -> None:
        post = self.posted(which)
        if isinstance(post.body, list):
            return
        meta = {"openai/session": post.conversation} if post.conversation else None
        headers = dict(header_lines(post._replace(conversation=None)))
        failed, document = call(self.served.bridge, TOOLS[post.path], post.body, meta, **headers)
        # A tool's result has no status but an error's.
        owed = self.promises.owes(post, self.served.now_us(), document.get("id"))
        status = document["status"] if failed else owed if owed in (200, 201) else 201
        self.hold(post, Answer(status, document))

    @rule(
        kill=st.booleans(),
        moment=st.integers(0, 6),
        gpt=gpts,
        content=contents,
        at=moments,
        id_=st.sampled_from(IDS),
        key=st.sampled_from(KEYS),
        how=st.sampled_from(["session", "by id", "by header", "by content", "again"]),
        which=st.integers(0, 30),
    )
    def post_into_the_end(
        self, kill: bool, moment: int, gpt: str, content: Body, at: str | None, id_: str, key: str, how: str, which: int
    ) -> None:
        """It gets no answer, or one that says nothing: it is posted twice more when the bridge is back."""
        if not self.may_end():
            return
        session, again = self.session(which), self.posted(which)
        if how == "session":
            body = {"gpt_id": gpt, "usuario_id": "ana", "timestamp_inicio": HISTORY.format(0), "id": id_}
            post = Post("/sessions", body, None, None, gpt == CLOSED)
        elif how == "again" and isinstance(again.body, dict) and "nadie" not in again.body.values():
            post = again if again.key or again.body.get("id") else again._replace(key=key)
        else:
            body = self.event(
                session.id, id_ if how == "by id" else None, at or "now-2" if how == "by content" else at, content
            )
            header = None if how == "by content" else key
            post = Post("/events", body, header, None, session.gpt == CLOSED)
        self.killed = self.killed or kill
        raw = json.dumps(post.body).encode()
        answer = self.served.post_into_the_end(post, raw, kill, moment / 1000)
        self.tell(f"{'kill -9' if kill else 'a stop'} in the middle of {post}\n    → {answer}")
        lost = answer is None or answer.status == 503
        if answer is not None and not lost:
            self.hold(post, answer)
        for _ in range(2):
            (retried,) = self.served.post([post], [raw], False)
            self.hold(post, retried, lost)
            lost = False
        self.check()

    def tell(self, line: str) -> None:
        super().tell(line)
        self.seen[line.split(" ")[0]] += 1

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.end_well()
            else:
                print(f"its steps:\n{chr(10).join(self.story)}\n{self.served.bridge.output()[-4000:]}")
        finally:
            self.served.close()


@pytest.mark.timeout(120 * EXAMPLES)
def test_whatever_happens_to_a_real_bridge_every_promise_is_kept(tmp_path: Path, say: Say) -> None:
    class Machine(OverHttp):
        folder, seen = tmp_path, Counter()

    run_state_machine_as_test(
        Machine,
        settings=settings(
            settings.get_profile("machine"),
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            database=None,
            phases=[Phase.generate],
        ),
    )
    say(f"{EXAMPLES} examples: {dict(Machine.seen)}")
