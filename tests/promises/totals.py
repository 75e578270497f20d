"""What everything must come to: what /metrics and a session's state show, of what the model has kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tests.promises.model import Promises
from tests.promises.values import NEAR, OBJECTIVE_MS, SECOND, TYPES, Answer, Session, keep, moment


def counts(promises: Promises) -> Counter[tuple[str, ...]]:
    """What /metrics must show: (name, labels…) → value."""
    owed: Counter[tuple[str, ...]] = Counter()
    for session in promises.sessions:
        owed["gpt_sessions_total", session.gpt] += 1
        owed["accepted", "session"] += 1
    for event in promises.events:
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
    for rating in promises.ratings:
        result = "good" if rating.value > 0 else "bad" if rating.value < 0 else "neutral"
        owed["gpt_feedback_total", rating.event.session.gpt, result] += 1
        owed["accepted", "feedback"] += 1
    for gpt, events, seconds in promises.idle:
        owed["gpt_session_events_count", gpt] += 1
        owed["gpt_session_events_sum", gpt] += events
        owed["gpt_session_duration_seconds_count", gpt] += 1
        owed["gpt_session_duration_seconds_sum", gpt] += seconds
    return owed


def check_counts(promises: Promises, seen: Mapping[tuple[str, ...], float]) -> None:
    owed = counts(promises)
    wrong = {
        name: (seen.get(name, 0), owed.get(name, 0))
        for name in {*seen, *owed}
        if abs(seen.get(name, 0) - owed.get(name, 0))
        > (1e-6 if promises.exact or "_duration_seconds_sum" not in name[0] else 0.01)
    }
    keep(not wrong, "counted (seen, owed): " + ", ".join(f"{name}: {pair}" for name, pair in sorted(wrong.items())))


def check_state(promises: Promises, session: Session, answer: Answer) -> None:
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
    keep(answer.status == 200, told)
    keep({name: answer.body[name] for name in owed} == owed, f"{told}\nowed: {owed}")
    hashed = promises.hashes.setdefault(session.user, answer.body["usuario_hash"])
    keep(hashed == answer.body["usuario_hash"], f"{told}\nowed: {session.user} is {hashed}")
    keep(len({*promises.hashes.values()}) == len(promises.hashes), f"{told}\ntwo users in one: {promises.hashes}")
    times = {"timestamp_inicio": session.started_us, "primer_evento": None, "ultimo_evento": None}
    if events:
        ends = [event.end_us for event in events]
        times |= {"primer_evento": min(ends), "ultimo_evento": max(ends)}
    for name, at_us in times.items():
        seen = answer.body.get(name)
        if at_us is not None:
            near = SECOND // 1000 if promises.exact else NEAR
            keep(seen is not None and abs(moment(seen) - at_us) < near, f"{told}\nowed: {name} {at_us}")
        elif name != "timestamp_inicio":
            keep(seen is None, f"{told}\nowed: no {name}")
