"""What everything must come to: what /metrics and a session's state show, of what the model has kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tests.promises.model import MEASURED, Promises
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
        labels = (type_, body.get("error") or "", body.get("modelo") or "unknown")
        for what, name in zip(("latency", "tokens_input", "tokens_output"), MEASURED, strict=True):
            if body.get(name) is None:
                owed["gpt_unmeasured_events_total", gpt, *labels, what] += 1
        tokens_in, tokens_out = body.get("tokens_entrada") or 0, body.get("tokens_salida") or 0
        owed["token_usage_sum", gpt, "input"] += tokens_in
        owed["token_usage_sum", gpt, "output"] += tokens_out
        owed["gpt_unpriced_tokens_total", gpt] += tokens_in + tokens_out
        latency_ms = body.get("latency_ms")
        result = "failed" if body.get("error") else "unmeasured"
        if latency_ms is not None:
            owed["operation_duration_count", gpt, *labels] += 1
            owed["operation_duration_sum", gpt] += latency_ms / 1000
            good = body.get("error") is None and latency_ms <= OBJECTIVE_MS
            owed["gpt_slo_events_total", gpt, "good" if good else "bad"] += 1
            if not body.get("error"):
                result = "good" if good else "slow"
        if body.get("version") is not None:
            owed["gpt_version_events_total", gpt, body["version"], result] += 1
        if body.get("ttft_ms") is not None:
            owed["gpt_time_to_first_token_seconds_count", gpt] += 1
            owed["gpt_time_to_first_token_seconds_sum", gpt] += body["ttft_ms"] / 1000
        if body.get("tokens_salida") is not None:
            owed["gpt_reasoning_tokens_total", gpt] += body.get("tokens_razonamiento") or 0
        for call in body.get("herramientas") or ():
            owed["gpt_tool_calls_total", gpt, call["nombre"], "error" if "error" in call else "ok"] += 1
            owed["gpt_tool_seconds_total", gpt] += call["ms"] / 1000
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
        "activa": session.live,
    }
    lacking = {name: sum(event.body.get(name) is None for event in events) for name in MEASURED}
    if any(lacking.values()):
        owed["eventos_sin_medir"] = lacking
    for name in ("tokens_entrada", "tokens_salida"):
        if not events or lacking[name] < len(events):
            owed[name] = sum(event.body.get(name) or 0 for event in events)
    absent = {"eventos_sin_medir", "tokens_entrada", "tokens_salida"} - owed.keys()
    keep(not absent & answer.body.keys(), f"{told}\nowed: no {absent}")
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
