"""What `otel-bridge journal status` shows of a journal that replicas share."""

from __future__ import annotations

from otel_bridge.commands.spanish import number
from otel_bridge.journal import Description, Lane

_COUNT = (1 << 40) - 1
"""Of a sequence number: what counts within its lane."""


def values(found: Description) -> dict[str, object]:
    """For a program to read."""
    return {
        "server": found.server,
        "schema": found.schema,
        "serves_from": found.serves_from,
        "steward": found.steward,
        "steward_lease_seconds": round(found.steward_lease_seconds, 1),
        "oldest_transaction_id": found.oldest_transaction_id,
        "freeze_at": found.freeze_at,
        "tables": found.tables,
        "lanes": [
            {
                "lane": lane.lane,
                "replica": lane.name,
                "lease_seconds": round(lane.lease_seconds, 1),
                "records": lane.last & _COUNT,
                "delivered_up_to": lane.cursor & _COUNT,
                "pending": lane.pending,
            }
            for lane in found.lanes
        ],
    }


def lines(found: Description) -> list[str]:
    """For a person."""
    steward = "ninguna: nadie muestra lo que comparten las réplicas, cierra sesiones inactivas ni borra lo viejo"
    if found.steward is not None:
        steward = f"{process(found.steward)}, turno {found.steward_lease_seconds:.0f} s"
    return [
        f"{'servidor':15} {found.server}, esquema {found.schema} (versiones que conozcan el {found.serves_from} "
        "o posterior)",
        f"{'encargada':15} {steward}",
        f"{'transacciones':15} la más antigua está {number(found.oldest_transaction_id)} atrás; se congelan desde "
        f"{number(found.freeze_at)}",
        "",
        f"{'carril':>6}  {'réplica':32} {'turno':>9} {'registros':>14} {'pendientes':>12}",
        *(
            f"{lane.lane:>6}  {process(lane.name) if lane.name else '-':32} {_lease(lane):>9} "
            f"{number(lane.last & _COUNT):>14} {number(lane.pending):>12}"
            for lane in found.lanes
        ),
        "",
        f"{'tabla':>15} {'bytes':>16}",
        *(f"{name:>15} {number(size):>16}" for name, size in found.tables.items()),
    ]


def process(name: str) -> str:
    """Host and process id, of a name that also tells which start of it that was."""
    host, _, rest = name.partition(" ")
    words = rest.split(" ")
    return f"{host} {words[1]}{' (se vacía)' if name.endswith(' drains') else ''}" if len(words) > 1 else name


def _lease(lane: Lane) -> str:
    if lane.name is None:
        return "libre"
    return f"{lane.lease_seconds:.0f} s" if lane.lease_seconds > 0 else "terminado"
