"""The two forms of what is counted: one bridge saves all of it as one snapshot; of replicas the steward saves what is
shared, and each saves its own. A journal that is copied from one to the other changes its form."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from otel_bridge.metrics.own import dump, loaded, total


class SnapshotForms:
    """`journal.Forms`."""

    def parted(self, snapshot: bytes) -> tuple[bytes, bytes]:
        try:
            document = msgspec.msgpack.decode(snapshot)
            clock = document.get("clock")
            shared = {"state": document["state"], "scrapers": document["scrapers"], "clock": clock}
            own = {"own": document["own"], "clock": clock, "held": document.get("held")}
        except (msgspec.MsgspecError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{type(error).__name__}; arranca una vez con él el puente de esta versión, y páralo"
            ) from None
        return msgspec.msgpack.encode(shared), msgspec.msgpack.encode(own)

    def joined(self, shared: bytes, own: Sequence[bytes]) -> bytes:
        document = msgspec.msgpack.decode(shared)
        each = [msgspec.msgpack.decode(one) for one in own]
        clocks = [known for one in (document, *each) if (known := one.get("clock")) is not None]
        return msgspec.msgpack.encode(
            {
                "state": document["state"],
                "own": dump(total(loaded(one["own"]) for one in each)),
                "scrapers": document["scrapers"],
                "clock": max(clocks, default=None),
                "held": next((one["held"] for one in each if one.get("held") is not None), None),
            }
        )
