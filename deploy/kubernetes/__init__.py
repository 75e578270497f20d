"""What the chart renders, as plain manifests for who uses no Helm: written by `make manifests`, held in step by
tests/deploy."""

from __future__ import annotations

import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHART = HERE.parent / "helm" / "otel-bridge"
NAMESPACE = "otel-bridge"

VALUES: dict[str, tuple[str, ...]] = {
    "otel-bridge.yaml": (),
    "otel-bridge-postgresql.yaml": (
        "journal.kind=postgresql",
        "journal.postgresql.secret.name=otel-bridge-postgresql",
        "journal.postgresql.migrate.how=initContainer",  # a Job that Helm does not delete could not be applied again
        "userHashKey.secret.name=otel-bridge-user-hash-key",
    ),
}
"""File → the values that differ from values.yaml."""

_HEAD = """\
# Written by `make manifests` from deploy/helm/otel-bridge, not edited by hand.{values}
# How it is used, and what has to be there before: docs/kubernetes.md.
"""


def files(helm: str) -> dict[Path, str]:
    """Every manifest and what it must hold. `helm`: the program. Raises CalledProcessError where it fails."""
    made = {}
    for name, values in VALUES.items():
        flags = [part for value in values for part in ("--set", value)]
        text = subprocess.run(
            [helm, "template", "otel-bridge", str(CHART), "--namespace", NAMESPACE, *flags],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ).stdout
        # Nobody who applies these has Helm look after them.
        lines = [line.rstrip() for line in text.splitlines() if not line.endswith("managed-by: Helm")]
        with_values = "".join(f"\n#   --set {value}" for value in values)
        head = _HEAD.format(values=f" Other than values.yaml has it:{with_values}" if values else "")
        made[HERE / name] = head + "\n".join(lines).strip() + "\n"
    return made
