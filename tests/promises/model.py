"""What the bridge owes its clients, as docs/guia.md and DESIGN.md tell it. Knows nothing of how the bridge does it.

A post is judged when it is answered: its status, its id, and that a repeat gets the first answer. What was accepted is
kept, and says what every count must be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
IDLE_AFTER = 1_800 * SECOND
NEAR = 30 * SECOND
"""That a clock which is not exact may be off, with all the time that a post may have taken."""
OBJECTIVE_MS = 2_000
TYPES = ("consulta", "pipeline")
OPEN, OTHER, CLOSED = "abierto", "otro-gpt", "cerrado"
"""Two GPTs without keys, and one with a key."""

Body = dict[str, Any]


class Post(NamedTuple):
    path: str
    body: Any
    key: str | None = None
    """Its `Idempotency-Key`."""
    conversation: str | None = None
    with_api_key: bool = False

    def __str__(self) -> str:
        told = "".join(
            f" {name}={value}"
            for name, value in (("Idempotency-Key", self.key), ("conversation", self.conversation))
            if value
        )
        return f"POST {self.path}{told}{' with key' * self.with_api_key} {self.body}"


class Answer(NamedTuple):
    status: int
    body: Any


class Unkept(AssertionError):
    """A promise that was not kept."""


@dataclass
class Session:
    number: int
    gpt: str
    user: str
    started_us: int | None
    """None: known to the bridge alone."""
    chosen: bool
    """Whether its id is one that a client may post again."""
    last_us: int
    """When something of it last arrived."""
    id: str | None = None
    """None: nobody was told."""
    answer: Body | None = None
    events: list[Event] = field(default_factory=list)
    live: bool = True
    stretch: list[Event] = field(default_factory=list)
    """Its events since it was last idle."""
    period: tuple[int, int] | None = None
    """The first and the last of them."""

    def add(self, event: Event) -> None:
        self.events.append(event)
        self.stretch.append(event)
        self.live, self.last_us = True, event.arrived_us
        self._lengthen(event.end_us, event.arrived_us - DAY)

    def _lengthen(self, end_us: int, a_day_ago: int) -> None:
        """What arrives more than a day late has no part in the length of a period that something of its time belongs
        to; of history alone, the latest day counts."""
        if self.period is None:
            self.period = (end_us, end_us)
            return
        low, high = self.period
        together = (min(low, end_us), max(high, end_us))
        if high > a_day_ago:
            self.period = together if end_us > a_day_ago else self.period
        elif end_us > a_day_ago:
            self.period = (end_us, end_us)
        elif together[1] - together[0] <= DAY:
            self.period = together
        elif end_us > high:
            self.period = (end_us, end_us)


@dataclass
class Event:
    session: Session
    body: Body
    end_us: int
    arrived_us: int
    id: str | None = None
    answer: Body | None = None
    """None: it was taken in a batch, whose answer tells its id alone, or by a post whose answer was lost."""


class Remembered(NamedTuple):
    arrived_us: int
    content: Any
    """What the id stands for; None where the key itself says it."""
    record: Event | Session


class Owed(NamedTuple):
    status: int
    first: Event | Session | None = None
    """What is repeated."""


class Promises:
    """`exact`: the clock is known to the microsecond."""

    def __init__(self, exact: bool) -> None:
        self.exact = exact
        self.sessions: list[Session] = []
        self.idle: list[tuple[str, int, float]] = []
        """Each time that a session fell idle: its GPT, events and length (seconds)."""
        self.duplicates: Counter[str] = Counter()
        self.refused: Counter[tuple[str, int]] = Counter()
        self._hashes: dict[str, str] = {}
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
        if post.path == "/sessions":
            owed = self._judge_session(post, now_us)
            self._check(post, answer, owed, lost_before)
            if answer.status in (200, 201):
                self._take_session(post, answer, owed, now_us)
            self._tally("session", answer.status)
        elif isinstance(post.body, list):
            self._answered_batch(post, answer, now_us)
        else:
            owed = self._judge_event(post, post.body, 0, now_us)
            self._check(post, answer, owed, lost_before)
            self._take_event(post, post.body, 0, answer, owed, now_us, answer.body)
            self._tally("event", answer.status)

    def owes(self, post: Post, now_us: int) -> int:
        """The status that a post of one record is owed."""
        judge = (
            self._judge_session(post, now_us)
            if post.path == "/sessions"
            else self._judge_event(post, post.body, 0, now_us)
        )
        return judge.status

    def _answered_batch(self, post: Post, answer: Answer, now_us: int) -> None:
        if answer.status not in (201, 207):
            # Of sessions of one GPT that it may not post for: refused as a whole.
            owed = {self._judge_event(post, body, place, now_us).status for place, body in enumerate(post.body)}
            _keep(owed == {answer.status}, f"{post}\n→ {answer}\nits items are owed {owed}")
            self.refused["event", answer.status] += len(post.body)
            return
        results = answer.body["resultados"]
        _keep([one["indice"] for one in results] == [*range(len(post.body))], f"{post} → {answer}: results in order")
        for place, (body, result) in enumerate(zip(post.body, results, strict=True)):
            item = Answer(result["estado"], result)
            owed = self._judge_event(post, body, place, now_us)
            self._check(post._replace(body=body), item, owed, False)
            self._take_event(post, body, place, item, owed, now_us, None)
            self._tally("event", item.status)
        taken = sum(one["estado"] in (200, 201) for one in results)
        _keep(
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
        _keep(right, f"{told}\nowed: {owed.status}{f', the answer {owed.first.answer}' if owed.first else ''}")
        if owed.first is None:
            return
        first = owed.first
        _keep(first.id is None or answer.body["id"] == first.id, f"{told}\nowed: the first id, {first.id}")
        if "indice" not in answer.body and first.answer is not None:
            same = {**first.answer}
            if isinstance(first, Session) and post.conversation:  # that its conversation has one, not who asks for it
                same["usuario_id"] = answer.body["usuario_id"]
            _keep(answer.body == same, f"{told}\nowed: the first answer, {same}")

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
        _keep(answer.body["trace_id"] == id_.replace("-", ""), told)
        if isinstance(owed.first, Session):
            if owed.first.id is None:
                self._told(owed.first, id_)
            owed.first.answer = owed.first.answer or answer.body
            return
        chosen, started_us = body.get("id"), moment(body["timestamp_inicio"])
        wanted = {"gpt_id": body["gpt_id"], "usuario_id": body["usuario_id"]}
        _keep(
            all(answer.body[name] == value for name, value in wanted.items())
            and moment(answer.body["timestamp_inicio"]) == started_us,
            told,
        )
        own = chosen in self._by_id
        _keep((id_ == chosen) == (chosen is not None and not own), f"{told}\nowed: the chosen id where it is free")
        _keep(id_ not in self._by_id, f"{told}\nowed: an id of its own")
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
        if not isinstance(body.get("latency_ms"), int | float):
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
            *(body[name] for name in ("tipo", "contenido", "latency_ms", "tokens_entrada", "tokens_salida")),
            body.get("tokens_cache"),
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
        if known is None or now_us - known.arrived_us >= DAY:
            return Owed(201)
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
            _keep(all(one.id != id_ for one in self.events), f"{told}\nowed: an id of its own")
        _keep(chosen in (None, id_), f"{told}\nowed: the chosen id")
        if whole is not None:
            self._check_event(told, event, whole)
        session.add(event)
        key, content = self._identity(session, post, body, place)
        if key is not None:
            self._remembered[key] = Remembered(now_us, content, event)

    def _check_event(self, told: str, event: Event, whole: Body) -> None:
        names = ("tipo", "latency_ms", "tokens_entrada", "tokens_salida")
        _keep(all(whole[name] == event.body[name] for name in names), told)
        _keep(whole["sesion_id"] == event.session.id, f"{told}\nowed: its session, {event.session.id}")
        _keep(whole["trace_id"] == whole["sesion_id"].replace("-", ""), told)
        late = abs(moment(whole["timestamp"]) - event.end_us)
        exact = self.exact or event.body.get("timestamp") is not None
        _keep(late < (SECOND // 1000 if exact else NEAR), f"{told}\nowed: its time")
        if not exact:
            event.end_us = moment(whole["timestamp"])

    def _open_conversation(self, post: Post, body: Body, now_us: int) -> Session:
        gpt, conversation = body["gpt_id"], post.conversation
        assert conversation is not None
        end_us = now_us if body.get("timestamp") is None else moment(body["timestamp"])
        started = end_us - round(body["latency_ms"] * 1000)
        exact = self.exact or body.get("timestamp") is not None
        if not exact or isinstance(post.body, list):
            started = None
        made = self._open(gpt, f"openai-conversation:{conversation}", started, True, now_us)
        self._conversations[gpt, conversation] = made
        return made

    # --- time ---------------------------------------------------------------------------------------------------------

    def fall_idle(self, now_us: int) -> None:
        """The bridge looks for sessions that are idle."""
        for session in self.sessions:
            if session.live and session.last_us < now_us - IDLE_AFTER:
                low, high = session.period or (0, 0)
                self.idle.append((session.gpt, len(session.stretch), (high - low) / SECOND))
                session.live, session.stretch, session.period = False, [], None

    # --- what everything must come to ---------------------------------------------------------------------------------

    def counts(self) -> Counter[tuple[str, ...]]:
        """What /metrics must show: (name, labels…) → value."""
        owed: Counter[tuple[str, ...]] = Counter()
        for session in self.sessions:
            owed["gpt_sessions_total", session.gpt] += 1
            owed["accepted", "session"] += 1
        for event in self.events:
            gpt, body = event.session.gpt, event.body
            type_ = body["tipo"] if body["tipo"] in TYPES else "otro"
            owed["operation_duration_count", gpt, type_, body.get("error") or "", body.get("modelo") or "unknown"] += 1
            owed["operation_duration_sum", gpt] += body["latency_ms"] / 1000
            owed["token_usage_sum", gpt, "input"] += body["tokens_entrada"]
            owed["token_usage_sum", gpt, "output"] += body["tokens_salida"]
            good = body.get("error") is None and body["latency_ms"] <= OBJECTIVE_MS
            owed["gpt_slo_events_total", gpt, "good" if good else "bad"] += 1
            owed["gpt_unpriced_tokens_total", gpt] += body["tokens_entrada"] + body["tokens_salida"]
            owed["accepted", "event"] += 1
        for gpt, events, seconds in self.idle:
            owed["gpt_session_events_count", gpt] += 1
            owed["gpt_session_events_sum", gpt] += events
            owed["gpt_session_duration_seconds_count", gpt] += 1
            owed["gpt_session_duration_seconds_sum", gpt] += seconds
        return owed

    def check_counts(self, seen: Mapping[tuple[str, ...], float]) -> None:
        owed = self.counts()
        wrong = {
            name: (seen.get(name, 0), owed.get(name, 0))
            for name in {*seen, *owed}
            if abs(seen.get(name, 0) - owed.get(name, 0))
            > (1e-6 if self.exact or "_duration_seconds_sum" not in name[0] else 0.01)
        }
        _keep(
            not wrong, "counted (seen, owed): " + ", ".join(f"{name}: {pair}" for name, pair in sorted(wrong.items()))
        )

    def check_state(self, session: Session, answer: Answer) -> None:
        """`GET /api/sessions/{id}`."""
        events, told = session.events, f"GET /api/sessions/{session.id}\n→ {answer.status} {answer.body}"
        owed = {
            "id": session.id,
            "gpt_id": session.gpt,
            "trace_id": (session.id or "").replace("-", ""),
            "eventos": len(events),
            "eventos_con_error": sum(event.body.get("error") is not None for event in events),
            "tokens_entrada": sum(event.body["tokens_entrada"] for event in events),
            "tokens_salida": sum(event.body["tokens_salida"] for event in events),
            "activa": session.live,
        }
        _keep(answer.status == 200, told)
        _keep({name: answer.body[name] for name in owed} == owed, f"{told}\nowed: {owed}")
        hashed = self._hashes.setdefault(session.user, answer.body["usuario_hash"])
        _keep(hashed == answer.body["usuario_hash"], f"{told}\nowed: {session.user} is {hashed}")
        _keep(len({*self._hashes.values()}) == len(self._hashes), f"{told}\ntwo users in one: {self._hashes}")
        times = {"timestamp_inicio": session.started_us, "primer_evento": None, "ultimo_evento": None}
        if events:
            ends = [event.end_us for event in events]
            times |= {"primer_evento": min(ends), "ultimo_evento": max(ends)}
        for name, at_us in times.items():
            seen = answer.body.get(name)
            if at_us is not None:
                near = SECOND // 1000 if self.exact else NEAR
                _keep(seen is not None and abs(moment(seen) - at_us) < near, f"{told}\nowed: {name} {at_us}")
            elif name != "timestamp_inicio":
                _keep(seen is None, f"{told}\nowed: no {name}")


def moment(text: str) -> int:
    """RFC 3339 → microseconds since the epoch."""
    at = datetime.fromisoformat(text)
    return (at - datetime.fromisoformat("1970-01-01T00:00:00Z")) // (at.resolution)


def _keep(kept: bool, promise: str) -> None:
    if not kept:
        raise Unkept(promise)
