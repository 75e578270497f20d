"""What `/openapi.json` promises, asked of the running bridge by a machine: no 5xx, and every answer as documented."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings, strategies
from schemathesis.specs.openapi.checks import negative_data_rejection

from otel_bridge.contract import MAX_LATENCY_MS, MAX_TOKENS, PARTS
from otel_bridge.http import openapi
from tests.frontdoor.conftest import Serve
from tests.harness.bridge import GUIDE_EVENT, Bridge


@pytest.fixture(scope="module")
def fuzzed(serve: Serve) -> Bridge:
    return serve()


@pytest.fixture(scope="module")
def known_session(fuzzed: Bridge) -> str:
    return fuzzed.session()


CONFIG = {
    # The document cannot say «no NUL» without a pattern on every text; tests/contract does.
    "generation": {"allow-x00": False},
    # Too many items is 413, as the body's other limits are; a bad item of a batch is told in its place (207).
    "checks": {
        "negative_data_rejection": {"expected-statuses": [207, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429]},
    },
}
schema = schemathesis.openapi.from_dict(openapi.document(), config=schemathesis.Config.from_dict(CONFIG))


# RFC 3339 has years 0001 to 9999, a record 2015 to a day ahead (its description says so).
moments = strategies.datetimes(datetime(2015, 1, 1), datetime(2026, 1, 1)).map(lambda at: f"{at.isoformat()}Z")
schemathesis.openapi.format("date-time", moments)
BOUNDED = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_what_is_tried_here_is_what_the_bridge_serves(fuzzed: Bridge) -> None:
    assert fuzzed.http.get(f"{fuzzed.url}/openapi.json").json() == json.loads(json.dumps(openapi.document()))


def agree(case: Any) -> list[dict[str, Any]]:
    """The objects of a body, each with no part that is more than its whole (as tokens from the cache): no schema
    can say that, the field's description does."""
    items = case.body if isinstance(case.body, list) else [case.body]
    objects = [item for item in items if isinstance(item, dict)]
    for item in objects:
        for part, whole in PARTS.items():
            most = MAX_LATENCY_MS if part == "ttft_ms" else MAX_TOKENS
            numbers = (item.get(part), item.get(whole))
            if all(isinstance(number, int | float) and 0 <= number <= most for number in numbers):
                item[part] = min(numbers)
    return objects


@schema.parametrize()
@BOUNDED
def test_every_answer_is_as_documented(case: Any, fuzzed: Bridge) -> None:
    agree(case)
    case.call_and_validate(base_url=fuzzed.url)


@schema.include(path="/api/events").parametrize()
@BOUNDED
def test_events_of_a_session_that_exists_are_answered_as_documented(
    case: Any, fuzzed: Bridge, known_session: str
) -> None:
    for item in agree(case):
        if isinstance(item.get("sesion_id"), str):
            item["sesion_id"] = known_session
    # What was wrong with the session is now right: whether the rest is wrong, the test above asks.
    case.call_and_validate(base_url=fuzzed.url, excluded_checks=[negative_data_rejection])


@pytest.fixture(scope="module", autouse=True)
def alive_afterwards(fuzzed: Bridge) -> Any:
    yield
    assert fuzzed.event(fuzzed.session(), **GUIDE_EVENT).status_code == 201
    assert fuzzed.metric("otel_bridge_ledger_gap") == 0
    # Labels are templates and table rows, whatever paths, methods and types were tried.
    assert fuzzed.metric("otel_bridge_series") <= fuzzed.metric("otel_bridge_series_limit")
    assert "Traceback" not in fuzzed.output() and "unexpected" not in fuzzed.output()
    assert fuzzed.stop() == 0
