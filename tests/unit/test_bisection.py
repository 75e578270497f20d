"""Which records of a refused batch are parked, and how many requests that takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from otel_bridge import journal
from otel_bridge.export import request_size
from otel_bridge.export.backoff import Backoff
from otel_bridge.export.batch import Batch
from otel_bridge.export.bisection import CONFIRMATIONS, Bisection, Part
from otel_bridge.export.endpoint import Endpoint
from otel_bridge.export.pipe import Report
from otel_bridge.export.probe import Probe
from otel_bridge.export.request_size import RequestSize
from otel_bridge.export.result import SendResult
from otel_bridge.export.shutdown import Shutdown
from otel_bridge.export.spans import SpanProjection
from otel_bridge.journal.store import Append
from otel_bridge.records import Record, Session
from tests.unit.samples import gpt, session

OK = SendResult("ok")
POISON = SendResult("poison", "HTTP 400 bad")
SERVER_ERROR = SendResult("retry", "HTTP 500 boom", may_be_record=True)
BUSY = SendResult("retry", "HTTP 503 busy")
Behaviour = Callable[[list[int]], SendResult]


class Instant(Shutdown):
    """Counts the waits and does not sit them through."""

    waits = 0

    def wait(self, seconds: float) -> None:
        self.waits += 1


class Scripted(SpanProjection):
    """An endpoint that is a function of the records' numbers: a request is one byte a record, its number."""

    def __init__(self, behave: Behaviour) -> None:
        super().__init__({"devops-expert": gpt()})
        self.behave = behave
        self.requests: list[list[int]] = []

    def request(self, records: object) -> bytes:
        assert isinstance(records, list)
        return bytes(self._number(record) for record in records)

    def send(self, body: bytes) -> SendResult:
        self.requests.append(list(body))
        return self.behave(list(body))

    def close(self) -> None:
        pass

    @staticmethod
    def _number(record: Record) -> int:
        assert isinstance(record, Session)
        return record.id[-1]


class Search:
    """A bisection of eight records, numbered from 1, that were refused together."""

    def __init__(self, folder: Path, behave: Behaviour, first: SendResult = POISON, count: int = 8) -> None:
        store = journal.open(f"sqlite:///{folder}/journal.db", "otlp")
        store.begin()
        store.write([Append([session(n) for n in range(1, count + 1)], [None] * count)])
        store.commit()
        reader = store.reader()
        batch = Batch(0)
        batch.add(reader.segments(0, 1)[0])
        self.endpoint = Scripted(behave)
        self.shutdown = Instant()
        self.reports: list[Report] = []
        backoff = Backoff(self.shutdown, self.reports.append)
        counted = Endpoint(self.endpoint, self.endpoint)
        self.probe = Probe(counted, reader, backoff)
        self.size = RequestSize()
        self.search = Bisection(batch, [Part(0, count, first)], counted, self.size, self.probe, backoff, self.shutdown)
        self.finished = self.search.run()
        self.parked = [(parked.seq, parked.reason) for parked in self.search.parked]
        reader.close()
        store.close()


def refuse(bad: set[int], result: SendResult = POISON) -> Behaviour:
    return lambda numbers: result if bad & set(numbers) else OK


@pytest.mark.parametrize("bad", [{1}, {8}, {3, 4}, {1, 5, 8}, {2, 3, 5, 6, 7}])
def test_a_refused_record_is_parked_and_the_others_are_taken(tmp_path: Path, bad: set[int]) -> None:
    found = Search(tmp_path, refuse(bad))
    assert found.finished and found.search.exported == 8 - len(bad)
    assert found.parked == [(number, "refused") for number in sorted(bad)]
    assert found.shutdown.waits == 0 and found.search.message == POISON.message


def test_parts_go_out_in_the_records_order(tmp_path: Path) -> None:
    found = Search(tmp_path, refuse({6}))
    taken = [numbers for numbers in found.endpoint.requests if len(numbers) > 1 and 6 not in numbers]
    assert taken == [[1, 2, 3, 4], [7, 8]]


def test_a_servers_error_parks_a_record_alone_after_it_is_confirmed(tmp_path: Path) -> None:
    found = Search(tmp_path, refuse({5}, SERVER_ERROR), SERVER_ERROR)
    assert found.finished and found.parked == [(5, "server-error")]
    assert found.endpoint.requests.count([5]) == CONFIRMATIONS
    assert found.shutdown.waits == CONFIRMATIONS - 1


@pytest.mark.parametrize("result", [POISON, SERVER_ERROR])
def test_nothing_is_parked_while_no_record_is_taken(tmp_path: Path, result: SendResult) -> None:
    found = Search(tmp_path, lambda numbers: result, result)
    assert not found.finished and found.parked == []
    assert [(report.state, report.message) for report in found.reports] == [
        ("config", f"no acepta ningún registro: {result.message}")
    ]


def test_a_probe_that_meets_an_endpoint_in_trouble_ends_the_search_with_its_message(tmp_path: Path) -> None:
    found = Search(tmp_path, lambda numbers: BUSY)
    assert not found.finished and found.parked == []
    assert [(report.state, report.message) for report in found.reports] == [("retry", BUSY.message)]
    assert len(found.endpoint.requests) == 1


def test_what_is_taken_stays_taken_while_the_endpoint_is_away(tmp_path: Path) -> None:
    """Every third request meets an endpoint that is busy: only that part is sent again."""
    seen: list[list[int]] = []

    def behave(numbers: list[int]) -> SendResult:
        seen.append(numbers)
        if len(seen) % 3 == 0:
            return BUSY
        return refuse({6})(numbers)

    found = Search(tmp_path, behave)
    assert found.finished and found.parked == [(6, "refused")]
    assert found.search.exported == 7 and found.shutdown.waits > 0


def test_a_partial_success_parks_the_whole_part(tmp_path: Path) -> None:
    partial = SendResult("partial", "one is bad", rejected=1)
    found = Search(tmp_path, lambda numbers: OK, partial)
    assert found.finished and found.search.partial and found.endpoint.requests == []
    assert found.parked == [(number, "partial") for number in range(1, 9)]
    assert found.search.parked[0][3] == "tramos rechazados: 1, en un envío de 8 registros: one is bad"


TOO_LARGE = SendResult("poison", "HTTP 413", too_large=True)


def test_what_is_too_large_is_halved_without_asking_whether_the_endpoint_is_well(tmp_path: Path) -> None:
    found = Search(tmp_path, lambda numbers: TOO_LARGE if len(numbers) > 2 else OK, TOO_LARGE)
    assert found.finished and found.parked == [] and not found.search.halved
    assert found.endpoint.requests == [[1, 2, 3, 4], [1, 2], [3, 4], [5, 6, 7, 8], [5, 6], [7, 8]]


def test_what_is_known_to_be_too_large_is_halved_unsent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_size, "LEAST_BYTES", 1)
    found = Search(tmp_path, lambda numbers: TOO_LARGE if len(numbers) > 2 else OK, TOO_LARGE)
    assert found.finished and found.parked == [] and found.size.bytes == 2
    assert found.endpoint.requests == [[1, 2, 3, 4], [1, 2], [3, 4], [5, 6], [7, 8]]


def test_a_record_that_is_too_large_alone_is_parked_while_a_good_one_is_taken(tmp_path: Path) -> None:
    found = Search(tmp_path, refuse({3}, TOO_LARGE), TOO_LARGE)
    assert found.finished and found.parked == [(3, "refused")] and found.search.exported == 7


def test_an_endpoint_that_finds_every_record_too_large_parks_nothing(tmp_path: Path) -> None:
    found = Search(tmp_path, lambda numbers: TOO_LARGE, TOO_LARGE)
    assert not found.finished and found.parked == [] and found.reports[-1].state == "config"


def test_too_large_together_parks_nothing(tmp_path: Path) -> None:
    found = Search(tmp_path, lambda numbers: POISON if len(numbers) > 2 else OK)
    assert found.finished and found.search.halved and found.parked == [] and found.search.exported == 8
