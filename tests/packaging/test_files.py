"""`otel-bridge files`: what an installation carries beside the bridge, written without harm to what is there."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from otel_bridge import __version__
from otel_bridge.commands.files import for_a_wheel
from tests.packaging.conftest import ROOT, clean_environ

SHIPPED = [name.as_posix() for name in runpy.run_path(str(ROOT / "setup.py"))["shipped"]()]
CHANGED = "prometheus/alertmanager/alertmanager.yml"


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as pip installs it, without what it asks for: that is here."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target"]
    subprocess.run([*command, folder, wheel], check=True, timeout=120)
    return folder


def run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "otel_bridge", "files", *arguments],
        cwd=site.parent,
        env={**clean_environ(), "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_everything_is_written_and_what_was_written_is_said(site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "stack"
    done = run(site, "--to", str(folder))
    assert done.returncode == 0, done.stderr
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    made = f"otel_bridge-{__version__}-py3-none-any.whl"
    assert written == {*SHIPPED, made, ".otel-bridge-files.json"}
    for name in SHIPPED:
        if name != "Dockerfile":
            assert (folder / name).read_bytes() == (ROOT / name).read_bytes(), name
        assert os.access(folder / name, os.X_OK) == os.access(ROOT / name, os.X_OK), name
    assert f"{folder}: {len(written) - 1} archivos escritos, 0 ya estaban igual, 0 conservados" in done.stdout
    for place in ("grafana/dashboards/", "prometheus/rules/", "docker-compose.yml", made):
        assert f"  escrito     {place}" in done.stdout


def test_all_that_the_issue_of_it_names_is_shipped() -> None:
    kinds = ("grafana/dashboards/*.json", "grafana/provisioning/*", "prometheus/rules/*.yml", "docker-compose*.yml")
    for kind in (*kinds, "deploy/Caddyfile", "deploy/tempo.yaml", "docs/runbooks/*.md"):
        assert fnmatch.filter(SHIPPED, kind), kind
    chart = "deploy/helm/otel-bridge/files"  # links to folders
    for kind in ("dashboards/*.json", "rules/*.yml", "otel-bridge.toml", "prometheus.yml"):
        assert fnmatch.filter(SHIPPED, f"{chart}/{kind}"), kind
    for folder in ("deploy/helm", "deploy/systemd", "deploy/kubernetes", "deploy/recipes"):
        there = [path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
        assert {path.relative_to(ROOT).as_posix() for path in there} <= {*SHIPPED}


def test_what_was_written_links_to_nothing_that_was_not(site: Path, tmp_path: Path) -> None:
    assert run(site, "--to", str(tmp_path)).returncode == 0
    dead = []
    for page in tmp_path.rglob("*.md"):
        text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.M | re.S)
        links = [link for link in re.findall(r"\]\(([^)\s#]+)", text) if not re.match(r"[a-z]+:", link)]
        dead += [f"{page.relative_to(tmp_path)}: {link}" for link in links if not (page.parent / link).exists()]
    assert (tmp_path / "docs/decisions").is_dir() and dead == []


@pytest.mark.parametrize("nowhere", ["", " "])
def test_no_name_is_not_the_current_folder(site: Path, nowhere: str) -> None:
    before = set(site.parent.iterdir())
    refused = run(site, "--to", nowhere)
    assert refused.returncode == 2 and "--to: se encontró" in refused.stderr
    assert set(site.parent.iterdir()) == before


def test_what_its_owner_changed_is_kept_and_the_rest_is_brought_up_to_date(site: Path, tmp_path: Path) -> None:
    assert run(site, "--to", str(tmp_path)).returncode == 0
    mine, gone, older = tmp_path / CHANGED, tmp_path / "docker-compose.yml", tmp_path / "prometheus/prometheus.yml"
    mine.write_text("mine", encoding="utf-8")
    gone.unlink()
    # As a release before this one wrote it.
    notes = tmp_path / ".otel-bridge-files.json"
    older.write_text("of the release before\n", encoding="utf-8")
    before = hashlib.sha256(older.read_bytes()).hexdigest()
    notes.write_text(
        re.sub(r'("prometheus/prometheus.yml": )"\w+"', rf'\1"{before}"', notes.read_text("utf-8")), encoding="utf-8"
    )
    done = run(site, "--to", str(tmp_path))
    assert done.returncode == 0
    assert "2 archivos escritos" in done.stdout and "1 conservados" in done.stdout
    assert f"  conservado  {CHANGED} (lo cambiaste tú; --force lo reemplaza)" in done.stdout
    assert mine.read_text("utf-8") == "mine"
    for path in (gone, older):
        assert path.read_bytes() == (ROOT / path.relative_to(tmp_path)).read_bytes()
    assert run(site, "--to", str(tmp_path)).stdout.count("1 conservados") == 1, "it is still not ours"
    forced = run(site, "--to", str(tmp_path), "--force")
    assert forced.returncode == 0 and "1 archivos escritos" in forced.stdout
    assert mine.read_bytes() == (ROOT / CHANGED).read_bytes()


def test_a_file_of_somebody_else_is_kept_and_a_folder_in_its_place_is_refused(site: Path, tmp_path: Path) -> None:
    (tmp_path / "otel-bridge.toml").write_text("mine", encoding="utf-8")
    done = run(site, "--to", str(tmp_path))
    assert done.returncode == 0 and "conservado  otel-bridge.toml" in done.stdout
    assert (tmp_path / "otel-bridge.toml").read_text("utf-8") == "mine"
    for place in (tmp_path / "otel-bridge.toml", tmp_path / "otel-bridge.toml" / "below"):
        refused = run(site, "--to", str(place))
        assert refused.returncode == 2 and str(place) in refused.stderr, refused.stderr


def test_the_image_is_built_of_the_same_package(site: Path, wheel: Path, tmp_path: Path) -> None:
    assert run(site, "--to", str(tmp_path)).returncode == 0
    (made,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(made) as ours, zipfile.ZipFile(wheel) as built:
        record = next(name for name in built.namelist() if name.endswith("/RECORD"))
        assert sorted(ours.namelist()) == sorted(built.namelist())
        for name in {*built.namelist()} - {record}:
            assert ours.read(name) == built.read(name), name
        assert sorted(ours.read(record).split()) == sorted(built.read(record).split())
    dockerfile = (tmp_path / "Dockerfile").read_text("utf-8")
    rules = (tmp_path / ".dockerignore").read_text("utf-8").split()
    for line in re.findall(r"^COPY (?!--)(.*)$", dockerfile, re.M):
        for name in line.split()[:-1]:
            assert list(tmp_path.glob(name)), f"COPY {name}"
            assert f"!{name}" in rules, name
    compose = yaml.safe_load((tmp_path / "docker-compose.yml").read_text("utf-8"))
    assert compose["services"]["otel-bridge"]["build"] == "."
    # The instruction's own pip line, here.
    arguments = re.search(r"pip install (--no-deps --no-index) \./otel_bridge-\*\.whl", dockerfile)
    assert arguments is not None
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        *arguments[1].split(),
        "--target",
        str(tmp_path / "image"),
    ]
    subprocess.run([*pip, str(made)], check=True, timeout=120)
    again = run(tmp_path / "image", "--to", str(tmp_path))
    assert "0 archivos escritos" in again.stdout, "an image carries them on, to the byte"


def test_what_compose_reads_is_written(site: Path, tmp_path: Path) -> None:
    assert run(site, "--to", str(tmp_path)).returncode == 0
    for name in ("docker-compose.yml", "docker-compose.scale.yml"):
        for mount in re.findall(r"^ +- (\./[^:]+):", (tmp_path / name).read_text("utf-8"), re.M):
            assert (tmp_path / mount).exists(), f"{name}: {mount}"
    made = subprocess.run([tmp_path / "scripts/make-env"], capture_output=True, text=True, timeout=30)
    assert made.returncode == 0 and "GRAFANA_PASSWORD=" in (tmp_path / ".env").read_text("utf-8")


def test_from_the_repository_it_writes_them_too(tmp_path: Path) -> None:
    done = run(ROOT, "--to", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert f"docker build -t otel-bridge:{__version__} {ROOT}" in done.stdout
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {*SHIPPED} - written == {"Dockerfile", ".dockerignore", "requirements/run.txt"}


def test_the_repositorys_dockerfile_can_be_made_one_of_a_wheel() -> None:
    made = for_a_wheel((ROOT / "Dockerfile").read_text("utf-8"))
    installing = "RUN /opt/otel-bridge/bin/pip install --no-deps --no-index ./otel_bridge-*.whl"
    assert f"COPY otel_bridge-*.whl ./\n{installing}" in made
    assert "COPY otel_bridge otel_bridge" not in made and "pyproject.toml" not in made


def test_an_installation_without_them_says_so(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(
            tmp_path / "site", [name for name in archive.namelist() if not name.startswith("otel_bridge/files/")]
        )
    done = run(tmp_path / "site", "--to", str(tmp_path / "out"))
    assert done.returncode == 2 and "sin los archivos que acompañan al puente" in done.stderr
    assert not (tmp_path / "out").exists()
