"""What is neither personal nor secret stays as it is: the lines of clean.txt, written for this project."""

from __future__ import annotations

from pathlib import Path

from otel_bridge.privacy.redaction import Redactor

CLEAN = Path(__file__).with_name("clean.txt")


def test_no_line_of_the_clean_corpus_is_changed() -> None:
    lines = [line for line in CLEAN.read_text(encoding="utf-8").splitlines() if line and not line.startswith("# ")]
    assert len(lines) >= 250 and len(set(lines)) == len(lines)
    redactor = Redactor("on")
    outs = {line: redactor.redact(line, {}) for line in lines}
    changed = [f"{line}\n    {out}" for line, out in outs.items() if out != line]
    assert not changed, f"{len(changed)} of {len(lines)} lines changed:\n" + "\n".join(changed)
