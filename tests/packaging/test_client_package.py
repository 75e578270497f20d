"""clients/python as a package: built, checked, installed into a bare environment, imported and type-checked there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "clients" / "python"
SAMPLE = """
from collections.abc import Iterator

from otel_bridge_client import BridgeClient, Measure, ToolCall, current, instrument, medir, medir_respuesta

client = BridgeClient(None, "devops-expert")


class Server: ...


server: Server = instrument(Server(), client, event_type={"a": "b"}, content=lambda call: call.name)


def user_of(call: ToolCall) -> str:
    return str(call.arguments["user"])


instrument(server, client, user=user_of)


@medir(client, "consulta", session="s", content=lambda number: str(number))
def double(number: int) -> int:
    found: Measure | None = current()
    assert found is not None
    found.tokens(1, 2)
    return 2 * number


@medir(client, "consulta")
async def later(number: int) -> int:
    return number


@medir_respuesta(client, "consulta", count=lambda text, number: (1, len(text)))
def stream(number: int) -> Iterator[str]:
    yield "a"


total: int = double(2)
event: str = client.log_event("s", "consulta", "", 1.5, 1, 2, tools=[{"name": "a", "ms": 1}])
client.rate(event, -1, "no")
client.end_session("s")
sent: int = client.stats()["sent"]
double("2")  # error: arg-type
client.rate(event)  # error: call-arg
"""


def make(source: Path, what: str, folder: Path) -> None:
    call = "import sys; from setuptools import build_meta as b; getattr(b, 'build_' + sys.argv[1])(sys.argv[2])"
    command = [sys.executable, "-c", call, what, folder]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Sdist and wheel, made of a copy, so that the checkout stays clean; the wheel from the sdist, as installers do."""
    made, copy = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("copy") / "python"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist"))
    make(copy, "sdist", made)
    (sdist,) = made.glob("*.tar.gz")
    subprocess.run(["tar", "xzf", sdist, "-C", made], check=True, timeout=60)
    make(made / sdist.name.removesuffix(".tar.gz"), "wheel", made)
    (wheel,) = made.glob("*.whl")
    return sdist, wheel


def test_both_hold_every_module_and_the_mark_of_types(built: tuple[Path, Path]) -> None:
    there = {path.name for path in (SOURCE / "otel_bridge_client").iterdir() if path.is_file()}
    assert "py.typed" in there
    inside = {name.partition("/")[2] for name in zipfile.ZipFile(built[1]).namelist() if "dist-info" not in name}
    with tarfile.open(built[0]) as archive:
        packed = {Path(name).name for name in archive.getnames() if "/otel_bridge_client/" in name}
    assert inside == packed == there


def test_twine_finds_nothing_to_say(built: tuple[Path, Path]) -> None:
    pytest.importorskip("twine")
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *built], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_a_bare_environment_imports_it_and_mypy_reads_its_types(built: tuple[Path, Path], tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    python = venv / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=120)
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet"]
    # Neither index nor links: it has no dependency.
    subprocess.run([*pip, "--no-index", built[1]], check=True, timeout=120)
    sample = tmp_path / "sample.py"
    sample.write_text(SAMPLE, encoding="utf-8")
    say = "import otel_bridge_client as o; print(o.__version__, o.__file__)"
    said = subprocess.run([python, "-I", "-c", say], check=True, capture_output=True, text=True, timeout=60).stdout
    assert said.split()[0] == built[1].name.split("-")[1] and said.split()[1].startswith(str(venv))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--python-executable", python, sample.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    wrong = [number for number, line in enumerate(SAMPLE.splitlines(), 1) if "# error: " in line]
    assert [int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error: " in line] == wrong, done.stdout


def test_it_depends_on_nothing(built: tuple[Path, Path]) -> None:
    archive = zipfile.ZipFile(built[1])
    (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
    said = message_from_bytes(archive.read(metadata))
    asked = [Requirement(line) for line in said.get_all("Requires-Dist", [])]
    bare = {"extra": ""}
    assert not [one for one in asked if one.marker is None or one.marker.evaluate(bare)], asked
    assert said["Requires-Python"] == ">=3.9"
    # The packages that the callbacks are for are extras.
    assert set(said.get_all("Provides-Extra", [])) == {"langchain", "litellm"}
