"""`python -m benchmarks.peers`: see the package."""

import argparse
import tempfile
from pathlib import Path

from benchmarks import peers
from tests.harness.bridge import ROOT

parser = argparse.ArgumentParser(
    prog="python -m benchmarks.peers", description=peers.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--short", action="store_true")
parser.add_argument("names", nargs="*", metavar="PEER", help=" ".join(peers.PEERS))
arguments = parser.parse_args()
if unknown := set(arguments.names) - set(peers.PEERS):
    parser.error(f"no peer: {', '.join(sorted(unknown))}")
# Beside the project, not in a memory file system: an fsync must reach a disk.
(ROOT / ".run").mkdir(exist_ok=True)
with tempfile.TemporaryDirectory(dir=ROOT / ".run") as folder:
    rounds, seconds = (3, 2) if arguments.short else (5, 5)
    for what, figure, note in peers.peers(Path(folder), rounds, seconds, tuple(arguments.names) or tuple(peers.PEERS)):
        print(f"| {what} | {figure} | {note} |", flush=True)
