"""The same events at other programs, each in alternation with a bridge, with what each promises when it answers.

    python -m benchmarks.peers [--short] [collector pushgateway phoenix langfuse]

The Collector is `otelcol-contrib` of the PATH, or the program that OTELCOL names; where there is neither it is built
from its Go modules, once, as tests/chaos builds one, but optimised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.peers import collector, langfuse, phoenix, pushgateway
from benchmarks.peers.beside import Beside, Row

PEERS: dict[str, Callable[[Beside], Iterator[Row]]] = {
    "collector": collector.run,
    "pushgateway": pushgateway.run,
    "phoenix": phoenix.run,
    "langfuse": langfuse.run,
}
PROMISE = (
    "valid, redacted, journaled with an fsync; a repeat of it is recognised; counted once; delivered at least once, "
    "whoever is killed meanwhile"
)


def peers(folder: Path, rounds: int, seconds: float, names: tuple[str, ...] = tuple(PEERS)) -> Iterator[Row]:
    yield "otel-bridge: what its answer promises", "–", PROMISE
    with Beside.started(folder, rounds, seconds) as beside:
        for name in names:
            yield from PEERS[name](beside)
