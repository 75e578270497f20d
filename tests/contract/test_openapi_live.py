"""schemathesis against a served bridge: what it answers is what `/openapi.json` says it may answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from otel_bridge.http import openapi
from tests.harness.bridge import Bridge

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
schema = schemathesis.openapi.from_dict(openapi.document())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    bridge = Bridge(tmp_path_factory.mktemp("openapi"))
    try:
        yield bridge.start()
        assert bridge.metric("otel_bridge_ledger_gap") == 0
        assert bridge.stop() == 0
    finally:
        bridge.close()


@schema.parametrize()
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_an_answer_is_one_that_the_document_has(case: schemathesis.Case, served: Bridge) -> None:
    case.call_and_validate(base_url=served.url, checks=CHECKS)
