"""The page on access tokens: each configuration on it is one that the bridge takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_bridge import config
from tests.docs.markdown import DOCS, blocks

PAGE = DOCS / "oauth.md"
EXAMPLES = [block for page in (PAGE, DOCS / "configuration.md") for block in blocks(page) if block.language == "toml"]


@pytest.mark.parametrize("text", [block.text for block in EXAMPLES if "oauth_" in block.text])
def test_an_example_is_a_configuration_without_a_doubt(tmp_path: Path, text: str) -> None:
    file = tmp_path / "otel-bridge.toml"
    public = "" if "public_url" in text else 'public_url = "https://koomtai.com"\n'
    file.write_text(public + text.replace("sha256:…", "sha256:" + "0" * 64), encoding="utf-8")
    loaded, diagnostics = config.read(str(file), {})
    assert diagnostics.lines == [] and diagnostics.warnings == []
    assert any(gpt.takes_tokens for gpt in loaded.gpts.values())


def test_the_page_says_what_was_tried() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for provider in ("Keycloak", "Auth0", "Microsoft Entra ID"):
        assert f"### {provider} (sin probar)" in text
