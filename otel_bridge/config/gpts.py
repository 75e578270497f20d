"""The registry of GPTs: one table of the file each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from otel_bridge import catalog, clock
from otel_bridge.config import oauth, readers
from otel_bridge.config.diagnostics import Diagnostics, shown
from otel_bridge.config.prices import OLD_MONTHS, Price, read_prices, shipped
from otel_bridge.config.rates import Rate
from otel_bridge.config.readers import Reader

UNKNOWN = "unknown"

_HASH = re.compile(r"sha256:[0-9a-f]{64}")
GPT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
PAGES = (14.4, 6)
"""The burn rates that GPTLatencyBudgetBurn pages at (prometheus/rules)."""

TTFT_TARGET = 0.95


@dataclass(frozen=True, slots=True)
class Gpt:
    """A registered GPT."""

    id: str
    name: str
    provider: str = "openai"
    model: str = UNKNOWN
    event_types: tuple[str, ...] = catalog.DEFAULT_EVENT_TYPES
    latency_objective_seconds: float = 5.0
    slo_target: float = 0.99
    """Share of answers that must be good, from 0 to 1."""
    ttft_objective_seconds: float | None = None
    """Of the time to the first token; None: none."""
    ttft_target: float = TTFT_TARGET
    """Share of answers whose first token must come within it."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    """By model; the GPT's own model where the table is flat."""
    api_key_hashes: tuple[str, ...] = ()
    rate_limit: Rate | None = None
    """None: the general one. NO_LIMIT: off."""
    retention_days: float | None = None
    """Days that its records are kept, fewer than the journal's; None: as long as those."""
    oauth_clients: tuple[str, ...] = ()
    """Clients whose access tokens open this GPT; `oauth.ANY` is every client of the issuer."""
    oauth_claims: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Claims that a token must have to open this GPT, each with one of these values."""
    closed: bool = field(init=False)
    """Whether a credential is needed; otherwise whoever reaches the port may post. Kept, as each request asks."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "closed", bool(self.api_key_hashes or self.takes_tokens))

    @property
    def takes_tokens(self) -> bool:
        """Whether there is an access token that opens it."""
        return bool(self.oauth_clients or self.oauth_claims)

    def takes_shipped_prices(self) -> bool:
        return self.prices is shipped().models


def _hashes(raw: object) -> tuple[str, ...]:
    """Hashes of API keys."""
    hashes = readers.texts(raw)
    if not all(_HASH.fullmatch(digest) for digest in hashes):
        raise ValueError("hashes como sha256:…")
    return hashes


GPT_READERS: Mapping[str, Reader[Any]] = {
    "name": readers.text,
    "provider": readers.text,
    "model": readers.text,
    "event_types": readers.texts,
    "latency_objective_seconds": readers.number(0.001, 3600),
    "slo_target": readers.number(0.5, 0.99999),
    "ttft_objective_seconds": readers.number(0.001, 3600),
    "ttft_target": readers.number(0.5, 0.99999),
    "api_key_hashes": _hashes,
    "rate_limit": readers.gpt_rate,
    "retention_days": readers.number(0.01, 3650),
    "oauth_clients": oauth.words,
    "oauth_claims": oauth.claims,
}
"""The keys of a GPT's table, beside `prices`."""


def read_gpts(source: Path, tables: object, diagnostics: Diagnostics) -> dict[str, Gpt]:
    """The GPTs of `[gpts.…]` by id, without those in whose table something is wrong: that goes to `diagnostics`."""
    if not isinstance(tables, dict) or not tables:
        diagnostics.add(f"{source}: no hay ningún GPT registrado; se esperaba una tabla como [gpts.devops-expert]")
        return {}
    gpts = {}
    for gpt_id, table in tables.items():
        problems = len(diagnostics.lines)
        gpt = _gpt(source, gpt_id, table, diagnostics)
        if len(diagnostics.lines) == problems:
            gpts[gpt_id] = gpt
            _doubt(f"{source}: gpts.{gpt_id}", gpt, diagnostics)
    return gpts


def _gpt(source: Path, gpt_id: str, table: object, diagnostics: Diagnostics) -> Gpt:
    place = f"{source}: gpts.{gpt_id}"
    if not GPT_ID.fullmatch(gpt_id):
        place = f"{source}: gpts.{gpt_id!r}"
        diagnostics.add(f"{place}: se esperaba un id de letras, cifras y . _ -, de 128 caracteres como mucho")
    values: dict[str, Any] = {"name": gpt_id}
    if not isinstance(table, dict):
        # What was found is not repeated: it may be the key itself.
        diagnostics.add(f"{place}: se esperaba una tabla como [gpts.devops-expert]")
        table = {}
    for key, raw in table.items():
        if key == "prices":
            model = table.get("model")
            values[key] = read_prices(f"{place}.{key}", raw, model if isinstance(model, str) else UNKNOWN, diagnostics)
        elif key == "api_key_hashes":
            try:
                values[key] = _hashes(raw)
            except ValueError:
                # What was found is not repeated: it may be the key itself.
                diagnostics.add(
                    f"{place}.{key}: se esperaban hashes como sha256:… hechos por `otel-bridge keys new {gpt_id}`"
                )
        elif key in GPT_READERS:
            values[key] = diagnostics.read(f"{place}.{key}", GPT_READERS[key], raw, None)
        else:
            diagnostics.unknown(f"{place}: clave desconocida {shown(key)}", key, [*GPT_READERS, "prices"])
    return Gpt(id=gpt_id, **values)


def _doubt(place: str, gpt: Gpt, diagnostics: Diagnostics) -> None:
    """Warns of what works and is probably not meant."""
    if gpt.prices and gpt.model not in gpt.prices:
        diagnostics.warn(
            f"{place}.prices: no hay precio de {shown(gpt.model)}, el modelo de los eventos que no dicen otro: "
            f"no suman coste, y sus tokens se cuentan en {catalog.UNPRICED.name}"
        )
    today = datetime.fromtimestamp(clock.now_us() / 1e6, UTC).date()
    if gpt.takes_shipped_prices() and shipped().months(today) >= OLD_MONTHS:
        diagnostics.warn(
            f"{place}.prices: la lista incluida {shipped().age(today)} (leída el {shipped().read}): compárala "
            f"con {shipped().source} y escribe precios propios, o instala un otel-bridge más nuevo"
        )
    if gpt.ttft_target != TTFT_TARGET and gpt.ttft_objective_seconds is None:
        diagnostics.warn(f"{place}.ttft_target: sin ttft_objective_seconds no se juzga nada por él")
    target = gpt.slo_target
    highest = 1 / (1 - target)  # the burn rate where every answer is bad
    silent = [f"{rate:g}×" for rate in PAGES if highest < rate]
    if silent:
        several = len(silent) > 1
        pages = f"los avisos de {' y '.join(silent)} no pueden" if several else f"el aviso de {silent[0]} no puede"
        diagnostics.warn(
            f"{place}.slo_target: con {target:g}, el presupuesto se gasta a {highest:.3g}× cuando toda respuesta "
            f"es mala, y nunca más deprisa: {pages} saltar por él; GPTLatencyBudgetBurn avisa por "
            f"proporción: más del {100 * (1 - target / 2):.3g} % de las respuestas de una hora malas"
        )
