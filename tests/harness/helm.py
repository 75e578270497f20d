"""Helm and a reader of Kubernetes' own types, of the versions in `tests/deploy/go`: each built once, from Go's index of
modules, into the user's cache folder."""

from __future__ import annotations

from pathlib import Path

from tests.harness.go_program import go_program

SOURCE = Path(__file__).parents[1] / "deploy" / "go"
GO = (1, 26)
"""As go.mod says."""
PROGRAMS = {"kinds": ".", "helm": "helm.sh/helm/v4/cmd/helm"}
"""Program → its package."""


def program(name: str) -> Path:
    """Skips the test where it is neither there nor to be built. On two cores Helm takes a minute and a half the first
    time, the other a quarter of that."""
    return go_program(name, SOURCE, GO, package=PROGRAMS[name])
