"""What the bridge owes its clients, as docs/guia.md and DESIGN.md tell it. Knows nothing of how the bridge does it.

A post is judged when it is answered: its status, its id, and that a repeat gets the first answer. What was accepted is
kept, and says what every count must be (totals.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.promises.values import (
    CLOSED,
    DAY,
    IDLE_AFTER,
    NEAR,
    OPEN,
    OTHER,
    SECOND,
    Answer,
    Body,
    Event,
    Post,
    Rating,
    Session,
    keep,
    moment,
)

MEASURED = ("latency_ms", "tokens_entrada", "tokens_salida")


class Remembered(NamedTuple):
    arrived_us: int
    content: Any
    """What the id stands for; None where the key itself says it."""
    record: Event | Session | Rating


class Owed(NamedTuple):
    status: int
    first: Event | Session | Rating | None = None
    """What is repeated."""
    late: Event | Session | Rating | None = None
    """What may be taken for repeated: it is past its day, but the bridge doubts the clock that it has started with."""

    def by(self, answer: Answer) -> Owed:
        return Owed(200, self.late) if self.late is not None and answer.status == 200 else self


class Promises:
    """`exact`: the clock is known to the microsecond."""

    def __init__(self, exact: bool) -> None:
        self.exact = exact
        self.sessions: list[Session] = []
        self.ratings: list[Rating] = []
        self.idle: list[tuple[str, int, float]] = []
        """Each time that a session fell idle: its GPT, events and length (seconds)."""
        self.duplicates: Counter[str] = Counter()
        self.refused: Counter[tuple[str, int]] = Counter()
        self.hashes: dict[str, str] = {}
        """Of each user, as it was shown first."""
        self._by_id: dict[str, Session] = {}
        self._of_key: dict[str, Session] = {}
        """The sessions of the GPT with a key whose chosen id another GPT had already."""
        self._conversations: dict[tuple[str, str], Session] = {}
        self._remembered: dict[Any, Remembered] = {}

    @property
    def events(self) -> Iterator[Event]:
        return (event for session in self.sessions for event in session.events)

    # --- answers ------------------------------------------------------------------------------------------------------

    def answered(self, post: Post, answer: Answer, now_us: int, lost_before: bool = False) -> None:
        """A post's answer. Posts that were answered together are told in the order in which they were taken.
        `lost_before`: the answer to an earlier one of the same was lost, so whether this repeats it nobody can say."""
        if post.path.endswith("/fin"):
            self._answered_end(post, answer)
        elif post.path.endswith("/valoracion"):
            self._answered_rating(post, answer, now_us, lost_before)
        elif post.path == "/sessions":
            owed = self._judge_session(post, now_us).by(answer)
            self._check(post, answer, owed, lost_before)
            if answer.status in (200, 201):
                self._take_session(post, answer, owed, now_us)
            self._tally("session", answer.status)
        elif isinstance(post.body, list):
            self._answered_batch(post, answer, now_us)
        else:
            owed = self._judge_event(post, post.body, 0, now_us).by(answer)
            self._check(post, answer, owed, lost_before)
            self._take_event(post, post.body, 0, answer, owed, now_us, answer.body)
            self._tally("event", answer.status)

    def owes(self, post: Post, now_us: int, id_: object) -> int:
        """The status that a post of one record is owed, where this is the id that it was answered with."""
        judge = (
            self._judge_session(post, now_us)
            if post.path == "/sessions"
            else self._judge_event(post, post.body, 0, now_us)
        )
        return 200 if judge.late is not None and judge.late.id == id_ else judge.status

    def _answered_batch(self, post: Post, answer: Answer, now_us: int) -> None:
        if answer.status not in (201, 207):
            # Of sessions of one GPT that it may not post for: refused as a whole.
            owed = {self._judge_event(post, body, place, now_us).status for place, body in enumerate(post.body)}
            keep(owed == {answer.status}, f"{post}\n→ {answer}\nits items are owed {owed}")
            self.refused["event", answer.status] += len(post.body)
            return
        results = answer.body["resultados"]
        keep([one["indice"] for one in results] == [*range(len(post.body))], f"{post} → {answer}: results in order")
        for place, (body, result) in enumerate(zip(post.body, results, strict=True)):
            item = Answer(result["estado"], result)
            owed = self._judge_event(post, body, place, now_us).by(answer)
            self._check(post._replace(body=body), item, owed, False)
            self._take_event(post, body, place, item, owed, now_us, None)
            self._tally("event", item.status)
        taken = sum(one["estado"] in (200, 201) for one in results)
        keep(
            (answer.body["aceptados"], answer.body["rechazados"]) == (taken, len(results) - taken)
            and answer.status == (201 if taken == len(results) else 207),
            f"{post} → {answer}: its status and numbers",
        )

    def _tally(self, kind: str, status: int) -> None:
        if status == 200:
            self.duplicates[kind] += 1
        elif status != 201:
            self.refused[kind, status] += 1

    def _check(self, post: Post, answer: Answer, owed: Owed, lost_before: bool) -> None:
        told = f"{post}\n→ {answer.status} {answer.body}"
        right = answer.status == owed.status or (lost_before and {answer.status, owed.status} == {200, 201})
        keep(right, f"{told}\nowed: {owed.status}{f', the answer {owed.first.answer}' if owed.first else ''}")
        if owed.first is None:
            return
        first = owed.first
        keep(first.id is None or answer.body["id"] == first.id, f"{told}\nowed: the first id, {first.id}")
        if "indice" not in answer.body and first.answer is not None:
            same = {**first.answer}
            if isinstance(first, Session) and post.conversation:  # that its conversation has one, not who asks for it
                same["usuario_id"] = answer.body["usuario_id"]
            keep(answer.body == same, f"{told}\nowed: the first answer, {same}")

    # --- sessions -----------------------------------------------------------------------------------------------------

    def _judge_session(self, post: Post, now_us: int) -> Owed:
        body = post.body
        gpt, chosen = body["gpt_id"], body.get("id")
        if gpt not in (OPEN, OTHER, CLOSED):
            return Owed(404)
        if gpt == CLOSED and not post.with_api_key:
            return Owed(401)
        content = (gpt, body["usuario_id"], moment(body["timestamp_inicio"]))
        if chosen is not None:
            holder = self._by_id.get(chosen)
            if holder is not None and holder.gpt != gpt == CLOSED:
                holder = self._of_key.get(chosen)
            if holder is None:
                return Owed(201)
            same = holder.chosen and content == (holder.gpt, holder.user, holder.started_us)
            return Owed(200, holder) if same else Owed(409)
        if post.key is not None:
            return self._recall(("session", gpt, post.key), content, now_us)
        first = self._conversations.get((gpt, post.conversation or ""))
        return Owed(201) if first is None else Owed(200, first)

    def _take_session(self, post: Post, answer: Answer, owed: Owed, now_us: int) -> None:
        told = f"{post}\n→ {answer.status} {answer.body}"
        body, id_ = post.body, answer.body["id"]
        keep(answer.body["trace_id"] == id_.replace("-", ""), told)
        if isinstance(owed.first, Session):
            if owed.first.id is None:
                self._told(owed.first, id_)
            owed.first.answer = owed.first.answer or answer.body
            return
        chosen, started_us = body.get("id"), moment(body["timestamp_inicio"])
        wanted = {"gpt_id": body["gpt_id"], "usuario_id": body["usuario_id"]}
        keep(
            all(answer.body[name] == value for name, value in wanted.items())
            and moment(answer.body["timestamp_inicio"]) == started_us,
            told,
        )
        own = chosen in self._by_id
        keep((id_ == chosen) == (chosen is not None and not own), f"{told}\nowed: the chosen id where it is free")
        keep(id_ not in self._by_id, f"{told}\nowed: an id of its own")
        unkeyed = chosen is None and post.key is None
        again = chosen is not None or bool(unkeyed and post.conversation)
        made = self._open(body["gpt_id"], body["usuario_id"], started_us, again, now_us)
        made.answer = answer.body
        self._told(made, id_)
        if own:
            self._of_key[chosen] = made
        elif chosen is None and post.key is not None:
            content = (made.gpt, made.user, started_us)
            self._remembered["session", made.gpt, post.key] = Remembered(now_us, content, made)
        elif unkeyed and post.conversation:
            self._conversations[made.gpt, post.conversation] = made

    def _open(self, gpt: str, user: str, started_us: int | None, chosen: bool, now_us: int) -> Session:
        self.sessions.append(Session(len(self.sessions), gpt, user, started_us, chosen, now_us))
        return self.sessions[-1]

    def _told(self, session: Session, id_: str) -> None:
        session.id = id_
        self._by_id[id_] = session

    # --- events -------------------------------------------------------------------------------------------------------

    def _session_of(self, post: Post, body: Body) -> Session | None:
        """The session that an event names; None where it names none that exists."""
        named = body.get("sesion_id")
        if named is None and post.conversation is not None:
            return self._conversations.get((body["gpt_id"], post.conversation))
        found = self._by_id.get(named) if named else None
        if post.with_api_key and (found is None or found.gpt != CLOSED):
            return self._of_key.get(named or "", found)
        return found

    def _opens(self, post: Post, body: Body) -> bool:
        """Whether an event names no session but its conversation."""
        return body.get("sesion_id") is None and post.conversation is not None

    def _judge_event(self, post: Post, body: Body, place: int, now_us: int) -> Owed:
        if post.conversation is None and any(body.get(name) is None for name in MEASURED):
            return Owed(422)
        if not isinstance(body.get("latency_ms"), int | float | None):
            return Owed(422)
        session = self._session_of(post, body)
        opens = session is None and self._opens(post, body)
        gpt = body["gpt_id"] if opens else session.gpt if session else None
        if gpt is None or gpt not in (OPEN, OTHER, CLOSED):
            return Owed(404)
        if gpt == CLOSED and not post.with_api_key:
            return Owed(401)
        if opens:
            # Its key may be taken all the same: an id is the GPT's.
            session = Session(-1, gpt, "", None, True, now_us)
        assert session is not None
        key, content = self._identity(session, post, body, place)
        return Owed(201) if key is None else self._recall(key, content, now_us)

    def _identity(self, session: Session, post: Post, body: Body, place: int) -> tuple[Any, Any]:
        """(what a repeat is recognised by, what it must say to be one)."""
        at = None if body.get("timestamp") is None else moment(body["timestamp"])
        says = (
            session.number,
            *(body.get(name) for name in ("tipo", "contenido", *MEASURED)),
            *(body.get(name) for name in ("tokens_cache", "ttft_ms", "tokens_razonamiento", "version")),
            repr(body.get("herramientas") or []),
            at,
        )
        everything = (*says, body.get("modelo"), body.get("error"))
        if body.get("id") is not None:
            return ("event", session.gpt, body["id"]), everything
        if post.key is not None:
            return ("event by header", session.number, place, post.key), everything
        return (None, None) if at is None else (("content", says), None)

    def _recall(self, key: Any, content: Any, now_us: int) -> Owed:
        """A key is remembered for 24 hours from the arrival of what it was given to."""
        known = self._remembered.get(key)
        if known is None:
            return Owed(201)
        if now_us - known.arrived_us >= DAY:
            return Owed(201, late=None if self.exact or known.content != content else known.record)
        return Owed(200, known.record) if known.content == content else Owed(409)

    def _take_event(
        self, post: Post, body: Body, place: int, answer: Answer, owed: Owed, now_us: int, whole: Body | None
    ) -> None:
        if answer.status == 409 and self._session_of(post, body) is None:
            # A conversation's session is opened before its event shows to be a conflict; nobody is told its id.
            self._open_conversation(post, body, now_us)
        if answer.status not in (200, 201):
            return
        told = f"{post._replace(body=body)}\n→ {answer.status} {answer.body}"
        id_ = answer.body["id"]
        if isinstance(owed.first, Event):
            owed.first.id = id_
            owed.first.answer = owed.first.answer or whole
            return
        session = self._session_of(post, body) or self._open_conversation(post, body, now_us)
        if session.id is None and whole is not None:
            self._told(session, whole["sesion_id"])
        own_time = None if body.get("timestamp") is None else moment(body["timestamp"])
        event = Event(session, body, now_us if own_time is None else own_time, now_us, id_, whole)
        chosen = body.get("id")
        if chosen is None:
            keep(all(one.id != id_ for one in self.events), f"{told}\nowed: an id of its own")
        keep(chosen in (None, id_), f"{told}\nowed: the chosen id")
        if whole is not None:
            self._check_event(told, event, whole)
        session.add(event)
        key, content = self._identity(session, post, body, place)
        if key is not None:
            self._remembered[key] = Remembered(now_us, content, event)

    def _check_event(self, told: str, event: Event, whole: Body) -> None:
        keep(all(whole.get(name) == event.body.get(name) for name in ("tipo", *MEASURED)), told)
        keep(whole["sesion_id"] == event.session.id, f"{told}\nowed: its session, {event.session.id}")
        keep(whole["trace_id"] == whole["sesion_id"].replace("-", ""), told)
        late = abs(moment(whole["timestamp"]) - event.end_us)
        exact = self.exact or event.body.get("timestamp") is not None
        keep(late < (SECOND // 1000 if exact else NEAR), f"{told}\nowed: its time")
        if not exact:
            event.end_us = moment(whole["timestamp"])

    def _open_conversation(self, post: Post, body: Body, now_us: int) -> Session:
        gpt, conversation = body["gpt_id"], post.conversation
        assert conversation is not None
        end_us = now_us if body.get("timestamp") is None else moment(body["timestamp"])
        started = end_us - round((body.get("latency_ms") or 0) * 1000)
        exact = self.exact or body.get("timestamp") is not None
        if not exact or isinstance(post.body, list):
            started = None
        made = self._open(gpt, f"openai-conversation:{conversation}", started, True, now_us)
        self._conversations[gpt, conversation] = made
        return made

    # --- ratings, and ends of sessions --------------------------------------------------------------------------------

    def ratable(self) -> list[Event]:
        """Events of which it is clear which one an id means."""
        times = Counter(event.id for event in self.events)
        return [event for event in self.events if event.id is not None and times[event.id] == 1]

    def _answered_rating(self, post: Post, answer: Answer, now_us: int, lost_before: bool) -> None:
        id_ = post.path.split("/")[2]
        event = next((event for event in self.ratable() if event.id == id_), None)
        found = event is not None and now_us - event.arrived_us < DAY - NEAR
        if event is not None and not found and answer.status != 404:
            found = True  # it may be found for longer
        if event is None or not found:
            self._check(post, answer, Owed(404), False)
        elif event.session.gpt == CLOSED and not post.with_api_key:
            self._check(post, answer, Owed(401), False)
        else:
            key, content = self._identity_of_rating(event, post)
            owed = self._recall(key, content, now_us).by(answer)
            self._check(post, answer, owed, lost_before)
            if answer.status in (200, 201):
                self._take_rating(post, event, answer, owed, now_us, key, content)
        self._tally("feedback", answer.status)

    def _identity_of_rating(self, event: Event, post: Post) -> tuple[Any, Any]:
        says = (event.id, post.body["valor"], post.body.get("comentario"))
        if post.body.get("id") is not None:
            return ("rating", event.session.gpt, post.body["id"]), says
        if post.key is not None:
            return ("rating by header", event.session.number, post.key), says
        return ("rating content", event.session.gpt, says), None

    def _take_rating(
        self, post: Post, event: Event, answer: Answer, owed: Owed, now_us: int, key: Any, content: Any
    ) -> None:
        told = f"{post}\n→ {answer.status} {answer.body}"
        if isinstance(owed.first, Rating):
            owed.first.id, owed.first.answer = answer.body["id"], owed.first.answer or answer.body
            return
        wanted = {"evento_id": event.id, "valor": post.body["valor"]}
        if event.session.id is not None:
            wanted |= {"sesion_id": event.session.id, "trace_id": event.session.id.replace("-", "")}
        keep({name: answer.body[name] for name in wanted} == wanted, f"{told}\nowed: {wanted}")
        keep(post.body.get("id") in (None, answer.body["id"]), f"{told}\nowed: the chosen id")
        late = abs(moment(answer.body["timestamp"]) - now_us)
        keep(late < (SECOND // 1000 if self.exact else NEAR), f"{told}\nowed: its arrival")
        rating = Rating(event, post.body["valor"], now_us, answer.body["id"], answer.body)
        self.ratings.append(rating)
        self._remembered[key] = Remembered(now_us, content, rating)

    def _answered_end(self, post: Post, answer: Answer) -> None:
        session = self._by_id[post.path.split("/")[2]]
        owed = 401 if session.gpt == CLOSED and not post.with_api_key else 200
        keep(answer.status == owed, f"{post}\n→ {answer.status} {answer.body}\nowed: {owed}")
        if owed == 200 and session.live:
            self._end(session)
        if owed == 200:
            keep(answer.body["activa"] is False, f"{post}\n→ {answer.body}\nowed: it is idle")

    def _end(self, session: Session) -> None:
        low, high = session.period or (0, 0)
        self.idle.append((session.gpt, len(session.stretch), (high - low) / SECOND))
        session.live, session.stretch, session.period = False, [], None

    # --- time ---------------------------------------------------------------------------------------------------------

    def fall_idle(self, now_us: int) -> None:
        """The bridge looks for sessions that are idle."""
        for session in self.sessions:
            if session.live and session.last_us < now_us - IDLE_AFTER:
                self._end(session)
