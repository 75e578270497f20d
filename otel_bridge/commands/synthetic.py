"""The synthetic session that `otel-bridge doctor` posts.

It is recognisable: its user is `otel-bridge-doctor`. Its one event takes a fifth of a millisecond, so that it changes
no average and is alone in its bucket, whose exemplar is the proof.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from otel_bridge.commands.api import Api, now_text

USER = "otel-bridge-doctor"
LATENCY_MS = 0.2


@dataclass
class SyntheticSession:
    """Its ids, and what the bridge counted before and after it."""

    gpt: str
    id: str = ""
    trace_id: str = ""
    before: float = 0.0
    after: float = 0.0
    begun: float = field(default_factory=time.time)

    def post(self, api: Api) -> None:
        """Posts the session and its event. Raises PostFailed."""
        self.id, self.trace_id = api.open_session(
            {"gpt_id": self.gpt, "usuario_id": USER, "timestamp_inicio": now_text()}
        )
        api.post(
            "/events",
            {
                "sesion_id": self.id,
                "tipo": "consulta",
                "contenido": "Evento sintético de otel-bridge doctor",
                "latency_ms": LATENCY_MS,
                "tokens_entrada": 1,
                "tokens_salida": 1,
                "timestamp": now_text(),
            },
        )
