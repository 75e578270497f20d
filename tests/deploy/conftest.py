"""The chart as Helm renders it, and what Kubernetes' own types say of it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.kubernetes import CHART
from tests.harness.helm import program

Objects = dict[tuple[str, str], dict[str, Any]]
"""By kind and name."""


def objects(text: str) -> Objects:
    found = [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in found}
    assert len(by_name) == len(found), "two objects have one name"
    return by_name


class Helm:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(self.path), *arguments], capture_output=True, text=True, timeout=120)

    def template(self, values: dict[str, Any], chart: Path = CHART) -> str:
        """What a release named otel-bridge in the namespace gpt is made of."""
        command = [str(self.path), "template", "otel-bridge", str(chart), "--namespace", "gpt", "--values", "-"]
        done = subprocess.run(command, input=yaml.safe_dump(values), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def helm() -> Helm:
    return Helm(program("helm"))


@pytest.fixture(scope="session")
def kinds() -> Callable[[str], str]:
    """Reads manifests strictly, with Kubernetes' own types; returns what is wrong, empty where nothing is."""
    path = program("kinds")

    def read(text: str) -> str:
        done = subprocess.run([str(path)], input=text, capture_output=True, text=True, timeout=60)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    return read
