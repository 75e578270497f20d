"""scripts/make-env: one command to a password of one's own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def make_env(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts" / "make-env"), *arguments]
    return subprocess.run(
        command, env={**os.environ, "ENV_FILE": str(file)}, capture_output=True, text=True, timeout=20
    )


def values(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text("utf-8").splitlines() if not line.startswith("#"))


def test_each_one_has_a_password_of_its_own_that_only_its_owner_reads(tmp_path: Path) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    for file in files:
        assert make_env(file).returncode == 0
        assert file.stat().st_mode & 0o077 == 0
    passwords = {values(file)["GRAFANA_PASSWORD"] for file in files}
    assert len(passwords) == 2
    assert min(map(len, passwords)) >= 32


def test_without_a_domain_it_is_plain_http_on_this_machine(tmp_path: Path) -> None:
    make_env(tmp_path / "env")
    assert set(values(tmp_path / "env")) == {"GRAFANA_PASSWORD"}, "compose's own defaults are that"


def test_one_that_is_there_is_never_touched(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("GRAFANA_PASSWORD=mía\n", "utf-8")
    done = make_env(file, "koomtai.com")
    assert done.returncode == 0
    assert "no se cambió nada" in done.stderr
    assert file.read_text("utf-8") == "GRAFANA_PASSWORD=mía\n"


@pytest.mark.parametrize("domain", ["https://koomtai.com", "koomtai", "a b.com", "-x.com", "a..b", "$(id).com"])
def test_what_is_no_domain_name_is_refused(tmp_path: Path, domain: str) -> None:
    done = make_env(tmp_path / "env", domain)
    assert done.returncode == 2
    assert domain in done.stderr
    assert not (tmp_path / "env").exists()


# --- replicas ---------------------------------------------------------------------------------------------------------

OF_REPLICAS = {"POSTGRES_PASSWORD", "COMPOSE_FILE"}


def test_replicas_get_a_password_of_their_own_with_or_without_a_domain(tmp_path: Path) -> None:
    assert make_env(tmp_path / "one", "--replicas", "3").returncode == 0
    assert make_env(tmp_path / "two", "koomtai.com", "--replicas", "3").returncode == 0
    one, two = values(tmp_path / "one"), values(tmp_path / "two")
    assert set(one) == {"GRAFANA_PASSWORD", *OF_REPLICAS} and two["DOMAIN"] == "koomtai.com"
    secrets = [each[name] for each in (one, two) for name in ("GRAFANA_PASSWORD", "POSTGRES_PASSWORD")]
    assert len(set(secrets)) == 4 and min(map(len, secrets)) >= 32


def test_what_replicas_need_is_added_to_a_file_that_is_there_once(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("GRAFANA_PASSWORD=mía", "utf-8")
    assert "docs/stack.md" in make_env(file, "--replicas", "3").stdout
    added = file.read_text("utf-8")
    assert added.startswith("GRAFANA_PASSWORD=mía\nPOSTGRES_PASSWORD=") and set(values(file)) >= OF_REPLICAS
    assert make_env(file, "--replicas", "3").returncode == 0
    assert file.read_text("utf-8") == added


def test_a_compose_file_that_somebody_else_chose_is_not_overruled(tmp_path: Path) -> None:
    file = tmp_path / "env"
    mine = "GRAFANA_PASSWORD=mía\nCOMPOSE_FILE=docker-compose.yml:mine.yml\n"
    file.write_text(mine, "utf-8")
    done = make_env(file, "--replicas", "3")
    assert done.returncode == 1 and "docker-compose.scale.yml" in done.stderr
    assert file.read_text("utf-8") == mine


@pytest.mark.parametrize("count", ["", "5", "tres"])
def test_as_many_replicas_as_there_are_in_the_file(tmp_path: Path, count: str) -> None:
    done = make_env(tmp_path / "env", "--replicas", count)
    assert done.returncode == 2 and "docker-compose.scale.yml tiene 3" in done.stderr
    assert not (tmp_path / "env").exists()
