"""The same post at every replica in the same moment, again and again."""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.chaos.replicas.world import World
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION
from tests.harness.fleet import Fleet

RACERS = 4
"""Races at once, each with a thread a replica."""
Answer = tuple[int, str]
"""Status, and the id."""


class Race:
    """One event after the other, each posted to every replica in the same moment. `settled`: told of each."""

    def __init__(self, fleet: Fleet, number: int, count: int) -> None:
        self._session = str(uuid.UUID(int=0xACE << 96 | number, version=4))
        self._number, self._count = number, count
        self._stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._gate = threading.Barrier(len(fleet.bridges))
        self._answers: list[list[Answer]] = [[] for _ in fleet.bridges]
        self._threads = [
            threading.Thread(target=self._run, args=(bridge.port, self._answers[i]), daemon=True)
            for i, bridge in enumerate(fleet.bridges)
        ]
        self.failure: BaseException | None = None

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> list[list[Answer]]:
        """The answers of each race."""
        for thread in self._threads:
            thread.join(1200)
        assert self.failure is None, self.failure
        return [list(one) for one in zip(*self._answers, strict=True)]

    @property
    def done(self) -> float:
        return min(len(answers) for answers in self._answers) / self._count

    @property
    def session(self) -> str:
        return self._session

    def _run(self, port: int, answers: list[Answer]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            for i in range(-1, self._count):
                self._gate.wait(60)
                answers.append(self._post(connection, *self._event(i)))
        except BaseException as failure:
            self.failure = self.failure or failure
            self._gate.abort()
        connection.close()

    def _event(self, i: int) -> tuple[str, dict[str, Any], dict[str, str]]:
        """A session first; then events told apart by their id, by their content, by an `Idempotency-Key`."""
        name = str(uuid.uuid5(uuid.UUID(self._session), str(i)))
        if i < 0:
            return "/api/sessions", {**GUIDE_SESSION, "id": self._session}, {}
        event = {**GUIDE_EVENT, "sesion_id": self._session, "contenido": f"carrera {self._number} {i}"}
        if i % 3 == 0:
            return "/api/events", {**event, "id": name}, {}
        if i % 3 == 1:
            return "/api/events", {**event, "timestamp": self._stamp}, {}
        return "/api/events", event, {"Idempotency-Key": name}

    def _post(
        self, connection: http.client.HTTPConnection, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> Answer:
        while True:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            text = json.loads(answer.read())
            if answer.status in (200, 201):
                return answer.status, text["id"]
            assert answer.status == 503, (answer.status, text)
            time.sleep(0.02)


Beside = Callable[[Callable[[], float]], None]
"""What is done meanwhile; it is told how much of the race is over (0 … 1)."""


def race(world: World, count: int, beside: Beside) -> Counter[tuple[int, ...]]:
    """Runs so many races; how often each set of statuses came. What was taken is in the world's ledger."""
    serial = len(world.ledger.events)
    races = [Race(world.fleet, serial * RACERS + number, count // RACERS) for number in range(RACERS)]
    for race in races:
        race.start()
    beside(lambda: min(race.done for race in races))
    outcomes: Counter[tuple[int, ...]] = Counter()
    for race in races:
        session, *events = race.join()
        world.ledger.sessions.add(uuid.UUID(race.session).bytes)
        for answers in (session, *events):
            ids = {id_ for _, id_ in answers}
            assert len(ids) == 1, answers
            outcomes[tuple(sorted(status for status, _ in answers))] += 1
        world.ledger.events.update(uuid.UUID(answers[0][1]).bytes for answers in events)
    return outcomes
