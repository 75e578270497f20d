"""What `pip install otel-bridge` leaves out: the rest works without it, and what needs it says what to install."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_bridge import errors
from tests.docs.test_errores import example
from tests.harness.bridge import ROOT, Bridge

HIDE = """
import sys

HIDDEN = {names!r}


class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else self.finder.find_spec(name, path, target)

    def invalidate_caches(self):
        self.finder.invalidate_caches()


sys.meta_path[:] = [Hiding(one) if getattr(one, "__name__", "") == "PathFinder" else one for one in sys.meta_path]
"""
"""For a `sitecustomize` of a Python that finds these packages no more: as if they were not installed."""
EXTRAS = ("mcp", "mcp_types", "jwt", "cryptography", "redis", "psycopg")


class Plain(Bridge):
    """A bridge without any extra."""

    def __init__(self, folder: Path, config: str | None = None, **environ: str) -> None:
        super().__init__(folder, config, **environ)
        hiding = folder / "hiding"
        hiding.mkdir()
        (hiding / "sitecustomize.py").write_text(HIDE.format(names=EXTRAS), encoding="utf-8")

    def env(self) -> dict[str, str]:
        return {**super().env(), "PYTHONPATH": f"{self.folder / 'hiding'}:{ROOT}"}


def test_without_an_extra_it_serves_and_mcp_says_what_to_install(tmp_path: Path) -> None:
    bridge = Plain(tmp_path).start()
    try:
        assert bridge.event(bridge.session()).status_code == 201
        for path in ("/mcp", "/mcp/"):
            answer = bridge.http.post(f"{bridge.url}{path}", json={"jsonrpc": "2.0"}, timeout=10)
            assert answer.status_code == 501
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json() == example(errors.MCP_NOT_INSTALLED)
    finally:
        assert bridge.stop() == 0
    assert "pip install 'otel-bridge[mcp]'" in bridge.output()


def test_with_the_extra_nothing_is_said(tmp_path: Path) -> None:
    done = Bridge(tmp_path).run("check")
    assert done.returncode == 0 and "otel-bridge[" not in done.stdout


@pytest.mark.parametrize(
    ("extra", "environ"),
    [
        ("oauth", {"OAUTH_ISSUER": "https://login.example", "PUBLIC_URL": "https://koomtai.com"}),
        ("redis", {"RATE_LIMIT_STORAGE": "redis://127.0.0.1:6379", "RATE_LIMIT": "10/minute"}),
        ("postgres", {"JOURNAL": "postgresql://otel_bridge@127.0.0.1:1/otel_bridge"}),
    ],
)
@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_setting_that_asks_for_one_stops_the_start(
    command: str, extra: str, environ: dict[str, str], tmp_path: Path
) -> None:
    bridge = Plain(tmp_path, **{f"OTEL_BRIDGE_{name}": value for name, value in environ.items()})
    done = bridge.run(command)
    assert done.returncode == 2
    assert f"pip install 'otel-bridge[{extra}]'" in done.stderr + done.stdout
    assert not (tmp_path / "data").exists()
