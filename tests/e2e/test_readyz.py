"""`/readyz` stands on the public port: in Spanish, and without what the endpoint says of itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from otel_bridge.export.result import KINDS
from otel_bridge.journal import DamagedPart
from otel_bridge.ops import health, space
from tests.harness.bridge import Bridge
from tests.harness.otlp import OK, OtlpReceiver, Reply
from tests.harness.waiting import wait_for

Make = Callable[..., Bridge]
TOKEN = "s3cr3t-Token-9"
WORDS = f"tenant-7 at 10.1.2.3:4318 does not know {TOKEN}"


@pytest.mark.parametrize(
    ("status", "said"), [(401, "detenida: el destino no acepta"), (503, "en espera: el destino no")]
)
def test_the_endpoints_words_are_in_the_log_alone(
    make_bridge: Make, receiver: OtlpReceiver, status: int, said: str
) -> None:
    receiver.behave = lambda spans: Reply(status, WORDS.encode(), keep=False)
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {TOKEN}"}
    bridge = make_bridge(**receiver.environ, **headers).start()
    bridge.session()
    wait_for(lambda: "delivery waits (" in bridge.output(), "the endpoint's words in the log")
    ready = bridge.http.get(f"{bridge.url}/readyz", timeout=5)
    assert ready.status_code == 200
    assert ready.json()["exportacion"]["estado"].startswith(said)
    for word in ("tenant-7", "10.1.2.3", "127.0.0.1", str(receiver.port), "HTTP", "retry", "config", TOKEN):
        assert word not in ready.text.replace("configuracion", "").replace("configuración", ""), word
    assert f"HTTP {status} tenant-7 at 10.1.2.3:4318 does not know …" in bridge.output()
    receiver.behave = lambda spans: OK
    wait_for(lambda: "delivery goes on" in bridge.output(), "delivery in the log")
    assert bridge.http.get(f"{bridge.url}/readyz", timeout=5).json()["exportacion"] == {"estado": "ok"}
    assert TOKEN not in bridge.output()


def test_an_address_that_nobody_answers_at_is_in_the_log_alone(make_bridge: Make) -> None:
    for protocol in ("http/protobuf", "grpc"):
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        bridge = make_bridge(**environ).start()
        bridge.session()
        wait_for(lambda b=bridge: "delivery waits (retry)" in b.output(), "the failure in the log")  # type: ignore[misc]
        assert "127.0.0.1" not in bridge.http.get(f"{bridge.url}/readyz", timeout=5).text
        bridge.stop()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"OTEL_BRIDGE_DISK_MIN_FREE": "1000TiB"}, "disco: queda menos espacio libre que disk_min_free"),
        ({"OTEL_BRIDGE_JOURNAL_MAX_SIZE": "1024"}, "disco: el diario alcanzó journal_max_size"),
    ],
)
def test_a_problem_is_told_in_spanish(make_bridge: Make, setting: dict[str, str], said: str) -> None:
    bridge = make_bridge(**setting).start(wait=False)

    def problems() -> list[str]:
        ready = bridge.http.get(f"{bridge.url}/readyz", timeout=5)
        assert ready.status_code == 503
        return [one for one in ready.json()["problemas"] if not one.startswith("proceso de fondo caído")]  # not up yet

    assert wait_for(problems, "an unready bridge") == [said]


def test_every_state_and_every_lack_of_room_has_its_words() -> None:
    assert health._DELIVERY.keys() == {*KINDS, "starting", "restarting", "damaged"}
    assert health._FULL.keys() == {space.AT_LIMIT, space.NO_ROOM}
    # Neither holds up anything: what is old, and what a rating alone looks for.
    assert health._DAMAGED.keys() == set(DamagedPart) - {DamagedPart.OLD, DamagedPart.LOOKED_FOR}
