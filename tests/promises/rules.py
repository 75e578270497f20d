"""What clients do, what time does and what befalls the bridge, in any order: a machine whose steps are drawn.

A failure prints its steps as posts and answers, after Hypothesis has left out what it can.
"""

from __future__ import annotations

import gzip
import json
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from otel_bridge.records import event_span_id, feedback_span_id, tool_span_id
from tests.promises import totals
from tests.promises.bridges import Served
from tests.promises.draws import (
    CHANGES,
    CONVERSATIONS,
    HISTORY,
    IDS,
    KEYS,
    MINUTE,
    STEP,
    contents,
    fates,
    gpts,
    ids,
    keys,
    missing,
    moments,
    respelled,
)
from tests.promises.model import Promises
from tests.promises.values import CLOSED, DAY, HOUR, OPEN, OTHER, SECOND, Answer, Body, Post, Session, Unkept


class Clients(RuleBasedStateMachine):
    """One bridge, its clients and its fate. `served` is set by who makes it."""

    served: Served

    def __init__(self) -> None:
        super().__init__()
        self.promises = Promises(self.served.exact_clock)
        self.posts: list[Post] = []
        """What was posted, as it may be posted again."""
        self.ratings: list[Post] = []
        """Those that were posted."""
        self.began_us = self.served.now_us()
        self.down = False
        """Whether the receiver is."""
        self.killed = False
        self.story: list[str] = []
        """Its steps, for where they cannot be repeated."""

    @initialize(gpt=gpts, id_=ids, key=keys)
    def open_the_first_session(self, gpt: str, id_: str | None, key: str | None) -> None:
        self.open_a_session(gpt, "ana", 0, id_, key, None)

    # --- what clients do ----------------------------------------------------------------------------------------------

    @rule(gpt=gpts, user=st.sampled_from(["ana", "luis"]), at=st.sampled_from([0, 1]), id_=ids, key=keys,
          conversation=st.none() | st.sampled_from(CONVERSATIONS))  # fmt: skip
    def open_session(self, **drawn: Any) -> None:
        self.open_a_session(**drawn)

    def open_a_session(
        self, gpt: str, user: str, at: int, id_: str | None, key: str | None, conversation: str | None
    ) -> None:
        body: Body = {"gpt_id": gpt, "usuario_id": user, "timestamp_inicio": HISTORY.format(at)}
        if id_ is not None:
            body["id"] = id_
        self.send(Post("/sessions", body, key, conversation, gpt == CLOSED))

    @rule(id_=ids, key=st.sampled_from(KEYS))
    def use_one_name_in_every_gpt(self, id_: str | None, key: str) -> None:
        for gpt in (OPEN, OTHER, CLOSED):
            self.open_a_session(gpt, "ana", 0, id_, key, None)

    @rule(which=st.integers(0, 30), id_=ids, key=keys, at=moments, content=contents)
    def post_an_event(self, **drawn: Any) -> None:
        self.post_event(**drawn)

    def post_event(self, which: int, id_: str | None, key: str | None, at: str | None, content: Body) -> None:
        session = self.session(which)
        self.send(Post("/events", self.event(session.id, id_, at, content), key, None, session.gpt == CLOSED))

    @rule(gpt=gpts, conversation=st.sampled_from(CONVERSATIONS), id_=ids, at=moments, content=contents, missing=missing)
    def post_an_event_of_a_conversation(
        self, gpt: str, conversation: str, id_: str | None, at: str | None, content: Body, missing: tuple[str, ...]
    ) -> None:
        body = {**self.event(None, id_, at, content), "gpt_id": gpt}
        for name in missing:
            del body[name]
        self.send(Post("/events", body, None, conversation, gpt == CLOSED))

    @rule(id_=st.sampled_from(IDS), with_api_key=st.booleans(), at=moments, content=contents)
    def post_an_event_to_a_chosen_id(self, id_: str, with_api_key: bool, at: str | None, content: Body) -> None:
        """It means the session that its GPT chose it for, whoever else did."""
        self.send(Post("/events", self.event(id_, None, at, content), None, None, with_api_key))

    @rule(which=st.integers(0, 30), at=moments, content=contents)
    def post_a_plain_event(self, which: int, at: str | None, content: Body) -> None:
        self.post_event(which, None, None, at, content)

    @rule(which=st.integers(0, 2))
    def retry_what_is_recent(self, which: int) -> None:
        self.send(self.posted(which))

    @rule(which=st.integers(0, 30), times=st.integers(1, 2), spelling=st.integers(0, 3))
    def retry(self, which: int, times: int, spelling: int) -> None:
        for _ in range(times):
            self.send(self.posted(which), spelling=spelling)

    @rule(which=st.integers(0, 30), times=st.integers(2, 4))
    def retry_at_once(self, which: int, times: int) -> None:
        self.send(*[self.posted(which)] * times)

    @rule(which=st.integers(0, 30), third=st.integers(0, 2))
    def retry_with_other_content(self, which: int, third: int) -> None:
        post = self.posted(which)
        changes = [{"usuario_id": "otra"}, {"timestamp_inicio": HISTORY.format(9)}]
        if isinstance(post.body, dict):
            for change in changes if post.path == "/sessions" else CHANGES[third::3]:
                self.send(post._replace(body={**post.body, **change}))
        if isinstance(post.body, dict) and post.body.get("sesion_id"):
            other = self.session(which + third)
            with_api_key = post.with_api_key or other.gpt == CLOSED
            self.send(post._replace(body={**post.body, "sesion_id": other.id}, with_api_key=with_api_key))

    @rule(which=st.integers(0, 30), id_=st.sampled_from(IDS), content=contents, at=moments)
    def claim_an_id_twice_at_once(self, which: int, id_: str, content: Body, at: str | None) -> None:
        """The same id with two contents: one of them gets it."""
        session = self.session(which)
        first = Post("/events", self.event(session.id, id_, at, content), None, None, session.gpt == CLOSED)
        self.send(first, first._replace(body={**first.body, "contenido": "otra cosa"}))

    @rule(id_=st.sampled_from(IDS), gpt=gpts, content=contents, at=moments)
    def post_a_session_and_its_first_event_at_once(self, id_: str, gpt: str, content: Body, at: str | None) -> None:
        """The event may be too early: it is refused then, and posted again."""
        session: Body = {"gpt_id": gpt, "usuario_id": "ana", "timestamp_inicio": HISTORY.format(0), "id": id_}
        event = Post("/events", self.event(id_, None, at, content), None, None, gpt == CLOSED)
        early, _ = self.send(event, Post("/sessions", session, None, None, gpt == CLOSED))
        if early.status == 404:
            self.send(event)

    @rule(parts=st.lists(st.tuples(st.sampled_from(["again", "new", "nowhere", "wrong"]), st.integers(0, 30)),
                         min_size=1, max_size=5),
          key=keys, content=contents, at=moments)  # fmt: skip
    def post_a_batch(self, parts: list[tuple[str, int]], key: str | None, content: Body, at: str | None) -> None:
        items: list[Body] = []
        closed = False
        for part, which in parts:
            again = self.posted(which)
            session = self.session(which)
            if part == "again" and again.path == "/events" and isinstance(again.body, dict):
                if again.body["sesion_id"] is None:
                    continue  # without the header it is nobody's
                items.append(again.body)
                closed = closed or again.with_api_key
            elif part == "nowhere":
                items.append(self.event(str(uuid.UUID(int=which)), None, at, content))
            elif part == "wrong":
                items.append({**self.event(session.id, None, at, content), "latency_ms": "1500"})
            else:
                items.append(self.event(session.id, None, at, {**content, "tokens_salida": 20 + which}))
                closed = closed or session.gpt == CLOSED
        if items and (closed or not any(self.is_closed(item) for item in items)):
            self.send(Post("/events", items, key, None, closed))

    @rule(content=contents, at=moments, what=st.sampled_from(["no GPT", "no session", "no key"]))
    def post_what_is_refused(self, what: str, content: Body, at: str | None) -> None:
        session = next((one for one in self.known if one.gpt == CLOSED), None)
        if what == "no GPT":
            body = {"gpt_id": "nadie", "usuario_id": "ana", "timestamp_inicio": HISTORY.format(0), "id": IDS[0]}
            self.send(Post("/sessions", body))
        elif what == "no session" or session is None:
            self.send(Post("/events", self.event(str(uuid.UUID(int=1)), IDS[0], at, content)))
        else:
            self.send(Post("/events", self.event(session.id, IDS[0], at, content)))

    @rule(which=st.integers(0, 30), value=st.sampled_from([-1, 0, 0.5, 1]),
          comment=st.sampled_from([None, "no era eso"]), id_=ids, key=keys,
          with_api_key=st.sampled_from([True, True, True, False]))  # fmt: skip
    def rate(
        self, which: int, value: float, comment: str | None, id_: str | None, key: str | None, with_api_key: bool
    ) -> None:
        events = self.promises.ratable()
        if events:
            event = events[-1 - which % len(events)]
            body: Body = {"valor": value}
            body |= {"comentario": comment} if comment else {}
            body |= {"id": id_} if id_ else {}
            with_api_key = with_api_key and event.session.gpt == CLOSED
            self.rated(Post(f"/events/{event.id}/valoracion", body, key, None, with_api_key))

    @rule(which=st.integers(0, 5), times=st.integers(1, 3), fates=fates)
    def rate_again(self, which: int, times: int, fates: list[str]) -> None:
        """At once, and after what befalls the bridge."""
        if self.ratings:
            post = self.ratings[-1 - which % len(self.ratings)]
            self.rated(*[post] * times)
            self.befall(fates)
            self.rated(post)

    @rule(which=st.integers(0, 30))
    def rate_what_is_no_event(self, which: int) -> None:
        for id_ in (str(uuid.UUID(int=which + 1)), self.session(which).id):
            if id_ not in {event.id for event in self.promises.events}:
                self.rated(Post(f"/events/{id_}/valoracion", {"valor": 1}))

    def rated(self, *posts: Post) -> None:
        self.send(*posts)
        self.ratings += [post for post in posts if post not in self.ratings]

    @rule(which=st.integers(0, 30), times=st.integers(1, 2), with_api_key=st.sampled_from([True, True, False]))
    def end_session(self, which: int, times: int, with_api_key: bool) -> None:
        session = self.session(which)
        with_api_key = with_api_key and session.gpt == CLOSED
        self.send(*[Post(f"/sessions/{session.id}/fin", {}, None, None, with_api_key)] * times)

    # --- what befalls the bridge --------------------------------------------------------------------------------------

    @rule(fates=fates)
    def befall(self, fates: list[str]) -> None:
        for fate in fates:
            getattr(self, f"_{fate}")()

    @rule(fates=st.lists(fates, min_size=1, max_size=3), how=st.sampled_from(["id", "key", "time", "session"]),
          which=st.integers(0, 30), at=moments, content=contents, others=st.booleans())  # fmt: skip
    def post_and_retry_across(
        self, fates: list[list[str]], how: str, which: int, at: str | None, content: Body, others: bool
    ) -> None:
        """One post, and a retry after each of what befalls the bridge; posts of others come between."""
        session = self.session(which)
        if how == "session":
            body = {"gpt_id": session.gpt, "usuario_id": "ana", "timestamp_inicio": HISTORY.format(0)}
            post = Post("/sessions", body, KEYS[which % 2], None, session.gpt == CLOSED)
        else:
            at = at or "now-2" if how == "time" else at
            body = self.event(session.id, IDS[which % len(IDS)] if how == "id" else None, at, content)
            post = Post("/events", body, KEYS[which % 2] if how == "key" else None, None, session.gpt == CLOSED)
        self.send(post)
        for some in fates:
            self.befall(some)
            if others:
                other = {**content, "contenido": "de otros"}
                self.send(Post("/events", self.event(session.id, None, "now-3", other), None, None, post.with_api_key))
            self.send(post)

    @precondition(lambda self: self.served.exact_clock)
    @rule(seconds=st.sampled_from([0.001, 780, 1800, 1800.001, 86_399.999, 86_400]), fates=fates)
    def so_much_time_passes(self, seconds: float, fates: list[str]) -> None:
        """To the very end of half an hour and of a day."""
        self.tell(f"{seconds} s pass")
        self.served.pass_time(round(seconds * SECOND), False)
        self.befall(fates)

    def _kill(self) -> None:
        self._restart(True)

    def _stop(self) -> None:
        self._restart(False)

    def _restart(self, kill: bool) -> None:
        self.tell(f"{'kill -9' if kill else 'a stop'}, and a start")
        self.killed = self.killed or kill
        self.served.restart(kill)
        self.check()

    def _hour(self) -> None:
        self._pass_time("an hour passes", 65 * MINUTE)

    def _midnight(self) -> None:
        left_us = DAY - self.served.now_us() % DAY
        self._pass_time("midnight passes", (left_us // STEP + 1) * STEP)

    def _day(self) -> None:
        self._pass_time("a day passes", 1_495 * MINUTE)

    def _pass_time(self, what: str, us: int) -> None:
        self.tell(what)
        self.killed = self.killed or not self.served.exact_clock
        self.served.pass_time(us, True)
        if self.served.keeps_house:
            self._look()

    def _look(self) -> None:
        """It looks for sessions that are idle."""
        self.tell("it looks for idle sessions")
        self.promises.fall_idle(self.served.now_us())
        self.served.keep_house(len(self.promises.idle))

    def _checkpoint(self) -> None:
        self.tell("a checkpoint")
        self.served.checkpoint()

    def _receiver(self) -> None:
        self.down = not self.down
        self.tell("the receiver is away" if self.down else "the receiver is back")
        self.served.outage(self.down)

    def _deliver(self) -> None:
        if not self.down:
            self.tell("all is delivered")
            self.check_delivered()

    # --- parts --------------------------------------------------------------------------------------------------------

    def tell(self, line: str) -> None:
        self.story.append(line)
        note(line)

    @property
    def known(self) -> list[Session]:
        return [session for session in self.promises.sessions if session.id is not None]

    def session(self, which: int) -> Session:
        known = self.known
        return known[which % len(known)]

    def posted(self, which: int) -> Post:
        return self.posts[-1 - which % len(self.posts)]

    def is_closed(self, item: Body) -> bool:
        return any(one.gpt == CLOSED and item.get("sesion_id") == one.id for one in self.known)

    def event(self, session_id: str | None, id_: str | None, at: str | None, content: Body) -> Body:
        body = {"sesion_id": session_id, **content}
        if id_ is not None:
            body["id"] = id_
        if at is not None:
            kind, number = at.split("-")
            body["timestamp"] = HISTORY.format(number) if kind == "history" else self.this_hour(int(number))
        return body

    def this_hour(self, seconds: int) -> str:
        """A moment before now that is the same for a while, so that contents meet again."""
        at_us = self.began_us + (self.served.now_us() - self.began_us) // HOUR * HOUR - (10 + seconds) * SECOND
        return datetime.fromtimestamp(at_us // SECOND, UTC).isoformat().replace("+00:00", "Z")

    def send(self, *posts: Post, spelling: int = 0) -> list[Answer]:
        """Posts at once, and holds the answers against what is owed."""
        bodies = [json.dumps(respelled(post.body, spelling)).encode() for post in posts]
        packed = spelling == 3
        answers = self.served.post(posts, [gzip.compress(body) for body in bodies] if packed else bodies, packed)
        for post, answer in in_order(posts, answers):
            self.hold(post, answer)
        return answers

    def hold(self, post: Post, answer: Answer, lost_before: bool = False) -> None:
        """Holds one answer against what is owed."""
        self.tell(f"{post}\n    → {answer.status} {told(answer.body)}")
        self.promises.answered(post, answer, self.served.now_us(), lost_before)
        if post.path in ("/sessions", "/events") and post not in self.posts:
            self.posts.append(post)

    def check(self) -> None:
        """Everything that is true at any moment."""
        seen, promises = self.served.counts(), self.promises
        totals.check_counts(promises, seen.owed)
        accepted = len(promises.sessions) + len([*promises.events]) + len(promises.ratings)
        ledger = f"ledger: accepted {accepted}, {seen}"
        if seen.gap or seen.exported + seen.pending + seen.parked != accepted or seen.parked:
            raise Unkept(ledger)
        own = [
            (seen.duplicates, Counter({kind: promises.duplicates[kind] for kind in ("event", "feedback")})),
            (seen.refused, promises.refused),
        ]
        for shown, owed in own:
            for name, value in owed.items():  # type: ignore[attr-defined]
                # What no page has shown may be lost in a kill.
                if shown.get(name, 0) > value or (not self.killed and shown.get(name, 0) != value):
                    raise Unkept(f"repeats and refusals: seen {shown}, owed {owed}")
        known = self.known
        states = self.served.states([(str(session.id), session.gpt == CLOSED) for session in known])
        for session, state in zip(known, states, strict=True):
            totals.check_state(promises, session, state)

    def check_delivered(self) -> None:
        self.served.deliver()
        delivered = self.served.delivered()
        roots = {span.trace_id: place for place, span in reversed([*enumerate(delivered)]) if not span.parent_id}
        children = Counter((span.trace_id, span.span_id) for span in delivered if span.parent_id)
        sessions = {session.id.replace("-", ""): session for session in self.known if session.id}
        unknown = len(self.promises.sessions) - len(sessions)
        if not (roots.keys() >= sessions.keys() and len(roots) - len(sessions) == unknown):
            raise Unkept(f"delivered: roots of {[*roots]}, owed {[*sessions]} and {unknown} more")
        owed = {
            (trace_id, event_span_id(uuid.UUID(event.id).bytes).hex())
            for trace_id, session in sessions.items()
            for event in session.events
        }
        for rating in self.promises.ratings:
            if rating.answer is not None and rating.id is not None:
                span_id = feedback_span_id(uuid.UUID(rating.id).bytes).hex()
                owed.add((rating.answer["trace_id"], span_id))
        owed |= {
            (trace_id, tool_span_id(uuid.UUID(event.id).bytes, number).hex())
            for trace_id, session in sessions.items()
            for event in session.events
            for number in range(len(event.body.get("herramientas") or ()))
        }
        if owed != children.keys():
            raise Unkept(f"delivered: events {sorted(children)}, owed {sorted(owed)}")
        for place, span in enumerate(delivered):
            if span.parent_id and roots[span.trace_id] > place:
                raise Unkept(f"delivered: the event {span} before the root of its trace")
        seen = self.served.counts()
        promises = self.promises
        if seen.pending or seen.exported != len(promises.sessions) + len([*promises.events]) + len(promises.ratings):
            raise Unkept(f"delivered: {seen}")

    def end_well(self) -> None:
        """At the end of its steps."""
        if self.down:
            self._receiver()
        self.check()
        self.check_delivered()


def in_order(posts: Sequence[Post], answers: Sequence[Answer]) -> list[tuple[Post, Answer]]:
    """As they were taken: what was new, a session before its event, then what repeats it. What came before the session
    that it names is told by its answer."""
    made = {
        answer.body["id"]
        for post, answer in zip(posts, answers, strict=True)
        if post.path == "/sessions" and answer.status == 201
    }

    def place(pair: tuple[Post, Answer]) -> tuple[int, ...]:
        post, answer = pair
        if post.path == "/events" and made and answer.body.get("sesion_id") not in made:
            return (0,)
        return ({201: 1, 207: 1}.get(answer.status, 2), post.path == "/events")

    return sorted(zip(posts, answers, strict=True), key=place)


def told(body: Any) -> str:
    """An answer's telling parts."""
    if "resultados" in body:
        return str([(one["estado"], one.get("id")) for one in body["resultados"]])
    return str(body.get("id") or body.get("type"))
