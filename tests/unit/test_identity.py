"""What a repeat is recognised by is the same in every release: a retry may come across an upgrade."""

from __future__ import annotations

import json

from otel_bridge import contract
from otel_bridge.intake.identity import Identity
from tests.unit.test_contract import EVENT

AT_US = 1_751_227_200_000_000
SESSION = bytes(range(16))


def test_an_event_of_0_1_0_is_known_by_what_0_1_0_knew_it_by() -> None:
    event = contract.decode_event(json.dumps({**EVENT, "modelo": "o3", "error": "timeout"}).encode())
    identity = Identity(b"k" * 32)
    assert identity.of_content(SESSION, event, AT_US).hex() == "630197bd4672001a208d5729653ab2b28c"
    assert identity.event_digest(SESSION, event, AT_US).hex() == "ffaa800829b92fbd72daba8d41f5078f"
    assert identity.event_digest(SESSION, event, None).hex() == "3b27463b37d97cbed5d4da4f8e54127e"
