"""docker-compose.scale.yml over docker-compose.yml: three bridges that are one to everybody outside."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.native.postgres import binaries
from otel_bridge.commands.cli import build_parser
from tests.harness.compose import FILE, ROOT, SCALE, compose, render

BOTH = (FILE, SCALE)
SECRETS = {"GRAFANA_PASSWORD": "secreto", "POSTGRES_PASSWORD": "otro"}
REPLICAS = ("otel-bridge", "otel-bridge-2", "otel-bridge-3")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return render(tmp_path_factory.mktemp("compose"), BOTH, **SECRETS)


@pytest.fixture(scope="module")
def services(rendered: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = rendered["services"]
    return found


def test_it_adds_two_bridges_and_what_they_share(services: dict[str, Any], tmp_path: Path) -> None:
    plain = render(tmp_path, GRAFANA_PASSWORD="secreto")["services"]
    assert set(services) - set(plain) == {"otel-bridge-2", "otel-bridge-3", "postgres", "migrate", "redis"}
    assert not set(plain) - set(services)


def test_the_replicas_are_alike(services: dict[str, Any]) -> None:
    first, *others = (services[name] for name in REPLICAS)
    assert all(other == first for other in others)


def test_they_share_a_journal_and_the_counts_of_limits(services: dict[str, Any]) -> None:
    from otel_bridge import config

    environ = {name: str(value) for name, value in services["otel-bridge-2"]["environment"].items()}
    loaded = config.load(str(ROOT / "otel-bridge.toml"), environ)
    assert loaded.journal == "postgresql://otel_bridge:otro@postgres:5432/otel_bridge"
    assert loaded.rate_limit_storage == "redis://redis:6379"
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD"] == "otro"


def test_they_share_the_key_of_the_user_hash(services: dict[str, Any]) -> None:
    """It is in a file, below the folder that they start in: that is one volume."""
    from otel_bridge import config

    environ = {name: str(value) for name, value in services["otel-bridge-2"]["environment"].items()}
    loaded = config.load(str(ROOT / "otel-bridge.toml"), environ)
    assert loaded.user_hash_key is None and not loaded.key_path.is_absolute()
    (folder,) = re.findall(r"^WORKDIR (/var/\S+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    for name in REPLICAS:
        assert f"journal:{folder}:rw" in services[name]["volumes"]


def test_without_its_password_it_does_not_start_and_says_what_to_do(tmp_path: Path) -> None:
    done = compose("config", folder=tmp_path, files=BOTH, **{**SECRETS, "POSTGRES_PASSWORD": ""})
    assert done.returncode != 0
    assert "scripts/make-env --replicas 3" in done.stderr


def test_no_password_ships() -> None:
    assert not re.search(r"PASSWORD: (?!\$\{)\S", SCALE.read_text("utf-8"))
    assert not re.search(r"^(?:# ?)?POSTGRES_PASSWORD=\S", example(), re.MULTILINE)


def example() -> str:
    return (ROOT / ".env.example").read_text("utf-8")


def test_every_variable_that_it_reads_is_in_the_example_of_env() -> None:
    read = set(re.findall(r"(?<!\$)\$\{(\w+)", SCALE.read_text("utf-8")))
    assert read <= set(re.findall(r"^(?:# ?)?([A-Z_]+)=", example(), re.MULTILINE))


def test_one_command_writes_all_that_it_asks_for(tmp_path: Path) -> None:
    env = tmp_path / "env"
    command = [str(ROOT / "scripts" / "make-env"), "--replicas", "3"]
    subprocess.run(command, env={**os.environ, "ENV_FILE": str(env)}, check=True, capture_output=True)
    values = dict(line.split("=", 1) for line in env.read_text("utf-8").splitlines() if not line.startswith("#"))
    assert [ROOT / name for name in values.pop("COMPOSE_FILE").split(":")] == list(BOTH)
    render(tmp_path, BOTH, **values)


def test_the_tables_are_there_before_any_replica_starts(services: dict[str, Any]) -> None:
    assert services["migrate"]["command"] == ["journal", "migrate"]
    assert services["migrate"]["restart"] == "no"
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in REPLICAS:
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert (
            services[name]["environment"]["OTEL_BRIDGE_JOURNAL"]
            == (services["migrate"]["environment"]["OTEL_BRIDGE_JOURNAL"])
        )


def test_caddy_leads_to_every_replica_and_waits_for_all(services: dict[str, Any]) -> None:
    caddy = services["caddy"]
    assert caddy["environment"]["BRIDGE_UPSTREAM"].split() == [f"{name}:8000" for name in REPLICAS]
    assert caddy["environment"]["BRIDGE_BALANCING"] == "replicas"
    assert set(caddy["depends_on"]) == {*REPLICAS, "grafana"}
    address = caddy["networks"]["front"]["ipv4_address"]
    for name in REPLICAS:
        assert services[name]["environment"]["OTEL_BRIDGE_TRUSTED_PROXIES"] == address


def test_the_doctor_looks_at_every_replica(services: dict[str, Any]) -> None:
    command = services["doctor"]["command"]
    assert [flag for flag in command if flag.startswith("--metrics-url=")] == [
        f"--metrics-url=http://{name}:9464/metrics" for name in REPLICAS
    ]
    parsed = build_parser().parse_args(command)
    assert len(parsed.metrics_url) == 3


def test_caddys_address_is_none_of_those_that_docker_gives_away_before(rendered: dict[str, Any]) -> None:
    """They are given in order, from the first one on, to whoever starts."""
    front = [name for name, service in rendered["services"].items() if "front" in service.get("networks", ())]
    address = rendered["services"]["caddy"]["networks"]["front"]["ipv4_address"]
    assert int(address.rpartition(".")[2]) > 10 * len(front)


def test_prometheus_reads_every_replica_as_a_replica(services: dict[str, Any]) -> None:
    mounted = {volume.split(":")[1]: ROOT / volume.split(":")[0] for volume in services["prometheus"]["volumes"]}
    of_one = mounted["/etc/prometheus/targets/otel-bridge.yml"]
    of_many = mounted["/etc/prometheus/targets/otel-bridge-replicas.yml"]
    assert yaml.safe_load(of_one.read_text("utf-8")) == []
    (group,) = yaml.safe_load(of_many.read_text("utf-8"))
    assert group == {"targets": [f"{name}:9464" for name in REPLICAS]}
    compose_targets = ROOT / "prometheus" / "targets-compose"
    assert mounted["/etc/prometheus/targets"] == compose_targets
    for path in (of_one, of_many):
        assert (compose_targets / path.name).exists(), "a file is mounted over one that is there"


def test_what_is_added_is_pinned_bounded_and_reached_from_inside_only(services: dict[str, Any]) -> None:
    for name in ("postgres", "redis", "migrate"):
        service = services[name]
        assert re.search(r":\d+\.\d+(\.\d+)?(-[\w.]+)?$", service["image"]), service["image"]
        assert service["mem_limit"] and service["logging"]["options"]["max-size"], name
        assert set(service["networks"]) == {"back"}
        assert not service.get("ports")
        assert service["security_opt"] == ["no-new-privileges:true"]
    for name in ("postgres", "redis"):
        assert services[name]["healthcheck"]["test"] and services[name]["restart"] == "unless-stopped"


def test_every_volume_is_declared_and_every_file_that_is_mounted_exists(rendered: dict[str, Any]) -> None:
    for name, service in rendered["services"].items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith(("/", ".")):
                assert (ROOT / source).exists(), f"{name}: {source}"
            else:
                assert source in rendered["volumes"], f"{name}: {source}"


def test_postgres_knows_every_setting_that_it_is_given(services: dict[str, Any], tmp_path: Path) -> None:
    program, *arguments = services["postgres"]["command"]
    found = binaries()
    assert found, "PostgreSQL is not installed: apt-get install postgresql"
    assert program == "postgres" and arguments[::2] == ["-c"] * (len(arguments) // 2)
    settings = dict(argument.split("=") for argument in arguments[1::2])
    assert settings["autovacuum_freeze_max_age"] == "1500000000"
    (tmp_path / "postgresql.conf").touch()
    (tmp_path / "PG_VERSION").write_text(found.parts[-2])
    command = [str(found / "postgres"), "-C", "autovacuum_freeze_max_age", "-D", str(tmp_path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout.strip()) == (0, "1500000000"), done.stderr
