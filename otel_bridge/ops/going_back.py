"""A journal that has gone back, in words: to the log in English, to commands and `/readyz` in Spanish."""

from __future__ import annotations

from datetime import UTC, datetime

from otel_bridge.journal import WentBack

_SEEN = {
    "backup": "a backup stands in its place",
    "older": "an older copy stands in its place",
    "incomplete": "it is a copy that was made while it was served, without its log",
    "other": "it is another one than was served here last",
}
_FOLLOWS = (
    "spans that it does not know as exported are sent again, with the same ids",
    "its counters are lower: Prometheus takes that for a reset, and rates jump once",
    "what was accepted since is gone from here: what was exported of it is in the trace store, events of its sessions "
    "get 404, and a retry of it counts again",
)
FOLLOWS = (
    "los spans que no le constan como exportados se envían otra vez, con los mismos ids",
    "sus contadores son más bajos: Prometheus lo toma por un reinicio, y las tasas dan un salto",
    "lo aceptado desde entonces ya no está aquí: lo que se exportó sigue en el almacén de trazas, los eventos de sus "
    "sesiones reciben 404, y un reintento cuenta otra vez",
)
"""What going back means for those who look on."""
_NOTAS = {
    "backup": "se restauró de una copia de seguridad",
    "older": "es una copia más antigua que lo último que se sirvió aquí",
    "incomplete": "es una copia hecha mientras se servía, sin lo último que se había escrito",
    "other": "es otro que el último que se sirvió aquí",
}


def summary(found: WentBack) -> str:
    """One line for a person: what was recognised."""
    was = f"; el registro {found.before} estuvo aquí el {moment(found.before_us)}" if found.before else ""
    return f"{_NOTAS[found.kind]}: termina en el registro {found.last}{was}"


def warning(place: str, found: WentBack) -> str:
    """What was recognised and what follows, for the log."""
    was = f"; record {found.before} was here by {moment(found.before_us)}" if found.before else ""
    seen = f"{_SEEN[found.kind]}: it ends with record {found.last}{was}"
    return f"journal {place} has gone back: {seen}. What follows: {'; '.join(_FOLLOWS)}. See docs/respaldo.md"


def note(found: WentBack) -> str:
    """For `/readyz`, which anyone may ask: no paths and no numbers."""
    return (
        f"volvió atrás: {_NOTAS[found.kind]}. Los contadores son más bajos y se reenvían trazas; docs/respaldo.md dice "
        "qué más"
    )


def moment(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="seconds") if us else "-"
