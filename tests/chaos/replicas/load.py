"""Clients of many replicas: each post goes to whichever answers, a repeat to another."""

from __future__ import annotations

import http.client
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.chaos.ledger import ANSWER_SECONDS, Client, Ledger
from tests.harness.bridge import GUIDE_EVENT

Target = tuple[str, int]
"""Host and port: of a replica, or of a balancer before them."""
OF_A_BALANCER = "about:blank"
"""The type of its own words: whether a replica has taken the post it does not say."""


class Roaming(Client):
    """A client that is led to any replica. Besides what `Client` posts: events without an id, which their content tells
    apart, others under an `Idempotency-Key`, and posts of before once more, to find them known wherever they come to.
    """

    def __init__(
        self, targets: Sequence[Target], ledger: Ledger, seed: int, patience: float = ANSWER_SECONDS, **options: Any
    ) -> None:
        """`patience`: seconds that it waits for an answer, before it posts again elsewhere."""
        super().__init__(targets[0][1], ledger, seed, **options)
        self._targets = targets
        self._patience = patience
        self._open_to: dict[Target, http.client.HTTPConnection] = {}
        self._headers: dict[str, str] = {}
        self._last_status = 0
        self._known: list[tuple[dict[str, Any], dict[str, str], str]] = []
        """Some events that were taken: body, headers, id."""
        self.repeated = 0
        self.told: Counter[str] = Counter()
        """Types of the 503 that it got."""
        self._at = random.Random(seed ^ 0x5EED)

    def run(self) -> None:
        try:
            super().run()
        finally:
            for connection in self._open_to.values():
                connection.close()

    def _post_events(self, session: bytes, count: int) -> None:
        chance = self._at.random()
        if count > 1 or chance < 0.4:
            super()._post_events(session, count)
            return
        if chance < 0.5 and self._known:
            self._repeat()
            return
        event = {**GUIDE_EVENT, "sesion_id": str(uuid.UUID(bytes=session)), "contenido": f"¿{uuid.uuid4().hex}?"}
        if chance < 0.75:
            event["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".000Z"
        else:
            self._headers = {"Idempotency-Key": uuid.uuid4().hex}
        answer = self._post("/api/events", event)
        with self._ledger.lock:
            self._ledger.events.add(uuid.UUID(answer["id"]).bytes)
        del self._known[:-49]
        self._known.append((event, self._headers, answer["id"]))
        self._headers = {}

    def _repeat(self) -> None:
        """What was taken is known at every replica at once: 200 with the first answer's id."""
        body, self._headers, first = self._at.choice(self._known)
        answer = self._post("/api/events", body)
        self._headers = {}
        assert self._last_status == 200 and answer["id"] == first, (self._last_status, answer, first)
        self.repeated += 1

    def _once(self, path: str, body: bytes) -> tuple[int, bytes]:
        target = self._at.choice(self._targets)
        connection = self._open_to.pop(target, None)
        if connection is None:
            connection = http.client.HTTPConnection(*target, timeout=self._patience)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json", **self._headers})
            response = connection.getresponse()
            answer = response.read()
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._open_to[target] = connection
        self._last_status = response.status
        if response.status in (502, 503, 504):
            assert int(response.headers["Retry-After"]) > 0, answer
            assert "application/problem+json" in response.headers["Content-Type"], answer
            kind = json.loads(answer)["type"]
            if kind == OF_A_BALANCER:
                raise http.client.HTTPException(f"{response.status} of the balancer")
            assert kind.startswith("urn:otel-bridge:"), answer
            self.told[kind] += 1
        return response.status, answer


class Load:
    """Some roaming clients at once, with one ledger. Seeds of one ledger's loads differ."""

    def __init__(
        self, at: Sequence[Target], clients: int = 4, seed: int = 1, ledger: Ledger | None = None, **options: Any
    ) -> None:
        self.ledger = Ledger() if ledger is None else ledger
        self.clients = [Roaming(at, self.ledger, seed * 1000 + i, **options) for i in range(clients)]

    @property
    def repeated(self) -> int:
        """Posts of before that were sent once more, and were known."""
        return sum(client.repeated for client in self.clients)

    def __enter__(self) -> Load:
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        for client in self.clients:
            client.end()
        if kind is None:
            for client in self.clients:
                client.finish(120)

    def told(self) -> Counter[str]:
        """Types of 503 that its clients got."""
        return sum((client.told for client in self.clients), Counter())

    @property
    def failed(self) -> bool:
        return any(client.failure is not None for client in self.clients)

    def check_alive(self) -> None:
        for client in self.clients:
            if client.failure is not None:
                raise client.failure
