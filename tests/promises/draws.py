"""What is drawn: small pools, so that ids, keys and contents meet again, in the right and the wrong combination."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from tests.promises.values import CLOSED, OPEN, OTHER, SECOND, Body

MINUTE = 60 * SECOND
STEP = 13 * MINUTE
"""However many pass together, with an hour and a day of so many: whether half an hour, or a day, is over is clear."""
KEY = "otb_" + "p" * 43
CONFIG = """
[gpts.{open}]
event_types = ["consulta", "pipeline"]
latency_objective_seconds = 2.0
[gpts.{other}]
event_types = ["consulta", "pipeline"]
latency_objective_seconds = 2.0
[gpts.{closed}]
event_types = ["consulta", "pipeline"]
latency_objective_seconds = 2.0
api_key_hashes = ["{hash}"]
"""

IDS = [str(uuid.UUID(int=0x7C9E6679 + n, version=4)) for n in range(4)]
"""Chosen for sessions and events alike: one may have the other's."""
KEYS = ["key-1", "key-2"]
CONVERSATIONS = ["chat-1", "chat-2"]
HISTORY = "2025-06-29T20:00:0{}.000Z"

ids = st.none() | st.sampled_from(IDS)
keys = st.none() | st.none() | st.sampled_from(KEYS)
gpts = st.sampled_from([OPEN, OPEN, OTHER, CLOSED])
CALLS: list[Body] = [{"nombre": "buscar", "ms": 200}, {"nombre": "leer", "ms": 50.5, "error": "timeout"}]
MEASURED = ("latency_ms", "tokens_entrada", "tokens_salida")
missing = st.sampled_from([(), (), ("latency_ms",), ("tokens_entrada", "tokens_salida"), MEASURED])
"""What a model, that reports on itself, leaves out."""
contents = st.fixed_dictionaries(
    {
        "tipo": st.sampled_from(["consulta", "pipeline", "raro"]),
        "contenido": st.sampled_from(["¿Qué es un runner?", "¿Y un artefacto?"]),
        "latency_ms": st.sampled_from([500, 3000.5]),
        "tokens_entrada": st.sampled_from([5, 7]),
        "tokens_salida": st.sampled_from([11]),
    },
    optional={
        "tokens_cache": st.sampled_from([0, 3]),
        "modelo": st.just("modelo-x"),
        "error": st.just("timeout"),
        "ttft_ms": st.sampled_from([0, 120.5]),
        "tokens_razonamiento": st.sampled_from([0, 3]),
        "version": st.sampled_from(["v1", "v2"]),
        "herramientas": st.lists(st.sampled_from(CALLS), max_size=2),
    },
)
moments = st.sampled_from([None, "now-0", "now-1", "history-0", "history-1"])
"""An event's time: none, of this hour, of another year."""
FATES = ["kill", "stop", "hour", "midnight", "day", "look", "checkpoint", "receiver", "deliver"]
fates = st.lists(st.sampled_from(FATES), min_size=1, max_size=2)
CHANGES: list[Body] = [
    {"contenido": "otra cosa"},
    {"tipo": "otro"},
    {"latency_ms": 501},
    {"tokens_entrada": 8},
    {"tokens_salida": 12},
    {"tokens_cache": 1},
    {"ttft_ms": 121},
    {"tokens_razonamiento": 1},
    {"version": "v3"},
    {"herramientas": [CALLS[1]] * 3},
    {"modelo": "modelo-y"},
    {"error": "cuota"},
    {"timestamp": "2025-06-29T20:00:07.000Z"},
]


def respelled(value: Any, spelling: int) -> Any:
    """The same, written otherwise: another order and an unknown field; other zones and numbers; (3: compressed)."""
    if isinstance(value, list):
        return [respelled(one, spelling) for one in value]
    if spelling == 1:
        return {**dict(reversed(value.items())), "desconocido": [1]}
    if spelling == 2:
        return {name: _otherwise(name, one) for name, one in value.items()}
    return value


def _otherwise(name: str, value: Any) -> Any:
    if name.startswith("timestamp"):
        there = timezone(timedelta(hours=-5))
        return datetime.fromisoformat(value).astimezone(there).isoformat()
    if isinstance(value, int):
        return float(value)
    return value.upper() if name == "id" and value else value
