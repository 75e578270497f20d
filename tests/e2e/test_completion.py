"""`otel-bridge completion`: a real bash completes commands and options by it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness.bridge import Bridge

COMPLETE = """
source "$1"; shift
words=("$@")
COMP_WORDS=("${words[@]}"); COMP_CWORD=$((${#words[@]} - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
function=$(complete -p otel-bridge | sed -E 's/.*-F ([^ ]+).*/\\1/')
"$function" otel-bridge "${words[-1]}" "${words[-2]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("completion")
    done = Bridge(folder).run("completion", "bash")
    assert done.returncode == 0, done.stderr
    (folder / "completion.bash").write_text(done.stdout, encoding="utf-8")
    return folder / "completion.bash"


def complete(script: Path, *words: str) -> set[str]:
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "--norc", "-c", COMPLETE, "bash", script, *words],
        cwd=script.parent, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return {line.strip() for line in done.stdout.splitlines() if line.strip()}


def test_commands_subcommands_and_options_are_completed(script: Path) -> None:
    assert {"serve", "check", "journal", "files", "completion"} <= complete(script, "otel-bridge", "")
    assert complete(script, "otel-bridge", "jou") == {"journal"}
    assert complete(script, "otel-bridge", "journal", "st") == {"status"}
    assert complete(script, "otel-bridge", "serve", "--metrics-p") == {"--metrics-port"}
    assert complete(script, "otel-bridge", "completion", "z") == {"zsh"}
    assert complete(script, "otel-bridge", "nothing-like-it") == set()


def test_a_file_is_completed_where_one_is_named(script: Path) -> None:
    assert "otel-bridge.toml" in complete(script, "otel-bridge", "check", "--config", "otel-br")


@pytest.mark.parametrize(("shell", "mark"), [("zsh", "#compdef otel-bridge"), ("fish", "complete -c otel-bridge")])
def test_the_others_get_a_script_that_they_can_read(shell: str, mark: str, tmp_path: Path) -> None:
    done = Bridge(tmp_path).run("completion", shell)
    assert done.returncode == 0 and mark in done.stdout
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "-n", "/dev/stdin"], input=done.stdout, text=True, check=True, timeout=30)


def test_a_shell_that_is_not_known_is_refused(tmp_path: Path) -> None:
    assert Bridge(tmp_path).run("completion", "csh").returncode == 2
