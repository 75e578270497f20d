"""What a command cannot do is one clear line and exit code 2, never a traceback; what is not ours stays as it is."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from otel_bridge.access.keys import hash_of
from tests.harness.bridge import Bridge, refusals

Make = Callable[..., Bridge]
NOBODY = 65534
COMMANDS: dict[str, list[str]] = {
    "serve": ["serve", "--port", "0", "--metrics-port", "0"],
    "status": ["journal", "status"],
    "parked": ["journal", "parked"],
    "replay": ["journal", "replay"],
}
commands = pytest.mark.parametrize("command", COMMANDS)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a refused command says."""
    assert done.returncode == 2, done
    assert done.stdout == "" and "Traceback" not in done.stderr, done
    lines = refusals(done.stderr)  # a warning may come before it
    assert len(lines) == 1, done
    return lines[0]


def around(path: Path) -> dict[str, bytes | None]:
    """What is in a file's folder, by name: the bytes of the files."""
    return {entry.name: entry.read_bytes() if entry.is_file() else None for entry in path.parent.iterdir()}


# --- on somebody else's file --------------------------------------------------------------------------------------


def _other_database(path: Path, version: int = 0, wal: bool = False) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(f"PRAGMA user_version = {version}; CREATE TABLE recipes (name TEXT)")
        db.execute("INSERT INTO recipes VALUES ('gazpacho')")
        if wal:
            db.execute("PRAGMA journal_mode = WAL")


FOREIGN: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("root:x:0:0:root:/root:/bin/bash\n"), "no es un diario de otel-bridge"),
    "bytes": (lambda path: path.write_bytes(b"\0" * 5000), "no es un diario de otel-bridge"),
    "a short file": (lambda path: path.write_bytes(b"SQLite"), "no es un diario de otel-bridge"),
    "another program's database": (_other_database, "no es un diario de otel-bridge"),
    "one of our version": (lambda path: _other_database(path, 1), "no es un diario de otel-bridge"),
    "one of a later version": (lambda path: _other_database(path, 7, wal=True), "no es un diario de otel-bridge"),
    "a folder": (lambda path: path.mkdir(), "carpeta"),
}


@commands
@pytest.mark.parametrize("kind", FOREIGN)
def test_somebody_elses_file_is_refused_and_left_alone(make_bridge: Make, command: str, kind: str) -> None:
    make, said = FOREIGN[kind]
    bridge = make_bridge()
    path = bridge.folder / "theirs" / "file.db"
    path.parent.mkdir()
    make(path)
    before = around(path)
    line = one_line(bridge.run(*COMMANDS[command], "--journal", f"sqlite:///{path}"))
    assert said in line and "file.db" in line
    assert around(path) == before, "something was written"


def test_check_tells_it_with_all_the_rest(make_bridge: Make) -> None:
    bridge = make_bridge(OTEL_BRIDGE_JOURNAL="sqlite:////etc/passwd", OTEL_BRIDGE_PORT="99999")
    for command in ("check", "serve"):
        done = bridge.run(command)
        lines = done.stderr.splitlines()
        assert done.returncode == 2 and len(lines) == 2, done
        assert (
            "OTEL_BRIDGE_PORT" in lines[0]
            and "diario /etc/passwd: el archivo no es un diario de otel-bridge" in lines[1]
        )
    assert not Path("/etc/passwd.lock").exists() and not Path("/etc/passwd.key").exists()
    bridge = make_bridge(OTEL_BRIDGE_JOURNAL="sqlite:////etc")
    assert "diario /etc: es una carpeta. Nombra un archivo" in one_line(bridge.run("check"))


def test_check_is_for_who_may_not_look_at_the_journal_too(nobody: AsNobody) -> None:
    nobody.bridge.journal.parent.mkdir(0o700)
    nobody.bridge.journal.write_text("secret")
    assert nobody.run("check").returncode == 0


@commands
def test_a_device_is_no_journal(make_bridge: Make, command: str) -> None:
    assert "es algo que no es un archivo" in one_line(
        make_bridge().run(*COMMANDS[command], "--journal", "sqlite:////dev/null")
    )


@pytest.mark.parametrize("command", ["status", "parked", "replay"])
@pytest.mark.parametrize("kind", ["nothing", "an empty file", "an empty database", "a name too long"])
def test_where_there_is_no_journal_yet_none_is_made(make_bridge: Make, command: str, kind: str) -> None:
    bridge = make_bridge()
    path = bridge.folder / "data" / ("x" * 300 if kind == "a name too long" else "journal.db")
    path.parent.mkdir()
    if kind == "an empty file":
        path.touch()
    elif kind == "an empty database":
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.executescript("CREATE TABLE x (y); DROP TABLE x;")
    before = around(path)
    line = one_line(bridge.run(*COMMANDS[command], "--journal", f"sqlite:///{path}"))
    assert "aún no existe" in line or "File name too long" in line
    assert around(path) == before


def test_an_empty_file_becomes_the_journal(make_bridge: Make) -> None:
    """A bridge that was killed in its first moment leaves one."""
    bridge = make_bridge()
    bridge.journal.parent.mkdir()
    bridge.journal.touch()
    bridge.start()
    assert bridge.event(bridge.session()).status_code == 201


# --- as another user ----------------------------------------------------------------------------------------------


class AsNobody:
    """A folder that everybody can enter, and commands of a user who owns nothing in it."""

    def __init__(self, folder: Path) -> None:
        self.bridge = Bridge(folder)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_nobody(), *self.bridge.command(*arguments)],
            cwd=self.bridge.folder,
            env=self.bridge.env(),
            capture_output=True,
            text=True,
            timeout=60,
        )


def _nobody() -> list[str]:
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


@pytest.fixture
def nobody() -> Iterator[AsNobody]:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can run a command as another user, with setpriv (util-linux)")
    folder = Path(tempfile.mkdtemp(prefix="otel-bridge-"))  # pytest's own folders are closed to other users
    folder.chmod(0o755)
    made = AsNobody(folder)
    try:
        if made.run("--version").returncode != 0:
            pytest.skip("another user cannot run this tree: it is in a folder that is closed to others")
        yield made
    finally:
        made.bridge.close()
        shutil.rmtree(folder)


@commands
def test_another_users_journal_is_refused_with_words(nobody: AsNobody, command: str) -> None:
    bridge = nobody.bridge.start()
    bridge.event(bridge.session())
    line = one_line(nobody.run(*COMMANDS[command]))
    assert "Permission denied" in line and "Ejecuta esto como un usuario que pueda leerlo" in line
    assert bridge.stop() == 0
    before = around(bridge.journal)
    assert "Permission denied" in one_line(nobody.run(*COMMANDS[command]))
    # Where the folder lets everybody look, the file still does not.
    bridge.journal.parent.chmod(0o755)
    assert "Permission denied" in one_line(nobody.run(*COMMANDS[command]))
    assert around(bridge.journal) == before


@commands
def test_a_journal_that_may_be_read_and_not_written(nobody: AsNobody, command: str) -> None:
    bridge = nobody.bridge.start()
    bridge.session()
    assert bridge.stop() == 0
    bridge.journal.parent.chmod(0o755)
    for path in bridge.journal.parent.iterdir():
        path.chmod(0o644)
    before = around(bridge.journal)
    assert "Permite" in one_line(nobody.run(*COMMANDS[command]))
    assert around(bridge.journal) == before


@pytest.mark.parametrize("made", [True, False], ids=["a folder that is there", "one that would have to be made"])
def test_a_folder_that_cannot_be_written_is_said(nobody: AsNobody, made: bool) -> None:
    if made:
        nobody.bridge.journal.parent.mkdir()
    line = one_line(nobody.run(*COMMANDS["serve"]))
    assert "Permission denied" in line and "data" in line
    nobody.bridge.environ["OTEL_BRIDGE_USER_HASH_KEY"] = "0123456789abcdef"
    assert "Permission denied" in one_line(nobody.run(*COMMANDS["serve"]))


@pytest.mark.parametrize(
    "arguments", [["check"], ["openapi"], ["keys", "new", "devops-expert"], *COMMANDS.values()], ids=lambda a: a[-1]
)
def test_a_configuration_that_may_not_be_read_is_said(nobody: AsNobody, arguments: list[str]) -> None:
    nobody.bridge.config.chmod(0o600)
    assert "otel-bridge.toml: no se puede leer: Permission denied" in one_line(nobody.run(*arguments))
    # Nor is the shipped one taken where this user may not even look for it.
    nobody.bridge.folder.chmod(0o700)
    assert "no se puede leer: Permission denied" in one_line(nobody.run(*arguments))


def test_a_key_for_a_file_that_may_not_be_written_is_said(nobody: AsNobody) -> None:
    before = around(nobody.bridge.config)
    done = nobody.run("keys", "new", "devops-expert", "--write")
    assert done.returncode == 2
    (line,) = refusals(done.stderr)
    assert "no se puede escribir: Permission denied. Pega la línea a mano" in line
    # What there is to paste, and the key that it is of.
    shown = re.search(r"^  (otb_\S+)$", done.stdout, re.M)
    assert shown is not None
    assert "pon esto en [gpts.devops-expert] de" in done.stdout and f'"{hash_of(shown[1].encode())}"]' in done.stdout
    assert around(nobody.bridge.config) == before
    assert "no se puede escribir: Permission denied" in one_line(nobody.run("init", "new.toml"))


# --- numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["99999999999999999999", "-1", "0", "1e3", "x", "9" * 5000])
@pytest.mark.parametrize(
    "arguments",
    [
        ["journal", "parked", "--limit={}"],
        ["journal", "replay", "{}"],
        ["demo", "--users={}"],
        ["demo", "--hour=-{}"],
        ["demo", "--rate=-{}"],
        ["doctor", "--wait=-{}"],
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_a_number_that_cannot_be_is_said(make_bridge: Make, arguments: list[str], number: str) -> None:
    if number.startswith("-") and "-{}" in arguments[-1]:
        number = "nan"
    if number == "0" and arguments[-1] == "--hour=-{}":
        number = "25"
    done = make_bridge().run(*(argument.format(number) for argument in arguments))
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
    assert "error: " in done.stderr.splitlines()[-1] and len(done.stderr) < 2000
