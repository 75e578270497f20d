"""Client of otel-bridge, without dependencies.

    client = BridgeClient("https://koomtai.com/api", "devops-expert")
    session = client.create_session("usuario123")
    with client.question(session, "consulta", text) as q:
        answer = my_gpt(text)
        q.tokens(25, 150)

What it promises:
- It never raises into the caller's code and never makes it wait: every call puts a record in a queue and returns;
  a thread of its own sends. `flush` and `close` are the only calls that wait, and only as long as they are told.
- Every record carries an id made here, so that sending it again is safe: while this process lives, what was queued
  is delivered once, however often the bridge goes away and comes back.
- Whatever is dropped is counted (`stats`), told (`on_drop`) and logged (never with content).

What it does not promise: the queue is memory. What waits when the process is killed is lost.
"""

from otel_bridge_client.answers import medir_respuesta
from otel_bridge_client.client import BridgeClient
from otel_bridge_client.ids import new_uuid
from otel_bridge_client.measures import Measure, Question, current
from otel_bridge_client.measuring import medir
from otel_bridge_client.stats import Stats
from otel_bridge_client.tools import ToolCall, instrument
from otel_bridge_client.version import VERSION as __version__

__all__ = [
    "BridgeClient",
    "Measure",
    "Question",
    "Stats",
    "ToolCall",
    "__version__",
    "current",
    "instrument",
    "medir",
    "medir_respuesta",
    "new_uuid",
]
