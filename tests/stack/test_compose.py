"""docker-compose.yml: valid for compose, exact, closed to the outside but for Caddy, and true to the other files."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.native.grafana import grafana_settings
from tests.harness.compose import FILE, ROOT, compose, render


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """With nothing but a password in the environment."""
    return render(tmp_path_factory.mktemp("compose"), GRAFANA_PASSWORD="secreto")


@pytest.fixture(scope="module")
def services(rendered: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = rendered["services"]
    return found


LONG_RUNNING = {"otel-bridge", "prometheus", "alertmanager", "tempo", "grafana", "caddy"}


def test_it_has_the_whole_stack_and_two_profiles(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if not service.get("profiles")} == LONG_RUNNING
    assert {name: service["profiles"] for name, service in services.items() if service.get("profiles")} == {
        "demo": ["demo"],
        "doctor": ["doctor"],
    }


def test_without_a_password_it_does_not_start_and_says_what_to_do(tmp_path: Path) -> None:
    for environ in ({}, {"GRAFANA_PASSWORD": ""}):
        done = compose("config", folder=tmp_path, **environ)
        assert done.returncode != 0
        assert "scripts/make-env" in done.stderr


def test_no_password_ships() -> None:
    assert not re.search(r"\w*PASSWORD: (?!\$\{)\S", FILE.read_text("utf-8"))
    assert re.search(r"^GRAFANA_PASSWORD=$", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE)


def test_every_image_is_pinned_to_an_exact_version(services: dict[str, Any]) -> None:
    for name, service in services.items():
        _, _, tag = service["image"].rpartition(":")
        assert re.fullmatch(r"v?\d+\.\d+\.\d+(-[\w.]+)?", tag), f"{name}: {service['image']}"


def test_only_caddy_is_reached_from_outside_and_only_from_this_machine_unless_told(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if service.get("ports")}
    assert set(published) == {"caddy"}
    assert published["caddy"] and all(port.startswith("127.0.0.1:") for port in published["caddy"])
    for name in ("prometheus", "tempo"):
        assert set(services[name]["networks"]) == {"back"}
    assert set(services["caddy"]["networks"]) == {"front"}


def test_the_inner_network_has_no_way_out(rendered: dict[str, Any]) -> None:
    assert rendered["networks"]["back"]["internal"] is True


def test_the_bridge_believes_the_address_that_caddy_has(services: dict[str, Any]) -> None:
    address = services["caddy"]["networks"]["front"]["ipv4_address"]
    assert services["otel-bridge"]["environment"]["OTEL_BRIDGE_TRUSTED_PROXIES"] == address


def test_everything_has_limits_a_health_check_and_small_logs(services: dict[str, Any]) -> None:
    for name in LONG_RUNNING:
        service = services[name]
        assert service["mem_limit"] and service["cpus"], name
        assert service["logging"]["options"]["max-size"], name
        assert service["restart"] == "unless-stopped", name
        # The bridge's own is in its image.
        assert name == "otel-bridge" or service["healthcheck"]["test"], name


def test_the_start_is_ordered_by_health(services: dict[str, Any]) -> None:
    def before(name: str) -> set[str]:
        waits = services[name].get("depends_on", {})
        assert all(how == {"condition": "service_healthy"} for how in waits.values())
        return set(waits)

    assert before("otel-bridge") == set(), "it needs nobody: what cannot be delivered waits in the journal"
    assert before("prometheus") == {"otel-bridge", "alertmanager"}
    assert before("grafana") == {"prometheus", "tempo"}
    assert before("caddy") == {"otel-bridge", "grafana"}


def test_the_bridge_runs_with_a_read_only_root_and_no_privileges(services: dict[str, Any]) -> None:
    for name in ("otel-bridge", "demo", "doctor"):
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]


def test_every_file_that_is_mounted_exists_and_every_volume_is_declared(rendered: dict[str, Any]) -> None:
    for name, service in rendered["services"].items():
        for volume in service.get("volumes", ()):
            source, target, *_ = volume.split(":") if isinstance(volume, str) else (volume["source"], volume["target"])
            if source.startswith(("/", ".")):
                assert (ROOT / source).exists(), f"{name}: {source}"
            else:
                assert source in rendered["volumes"], f"{name}: {source}"
            assert target.startswith("/")


def test_every_setting_of_the_bridge_is_one_that_it_knows(services: dict[str, Any]) -> None:
    from otel_bridge import config

    environ = {k: str(v) for k, v in services["otel-bridge"]["environment"].items()}
    loaded = config.load(str(ROOT / "otel-bridge.toml"), environ)
    assert loaded.host == loaded.metrics_host == "0.0.0.0"
    assert loaded.allow_keyless is True
    assert loaded.otlp is not None and loaded.otlp.endpoint == "http://tempo:4318/v1/traces"


def test_prometheus_scrapes_services_that_are_there(services: dict[str, Any]) -> None:
    for path in (ROOT / "prometheus" / "targets-compose").glob("*.yml"):
        for group in yaml.safe_load(path.read_text("utf-8")):
            for target in group["targets"]:
                assert target.split(":")[0] in services, f"{path.name}: {target}"


def test_prometheus_keeps_a_year_and_what_exemplars_and_links_need(services: dict[str, Any]) -> None:
    command = services["prometheus"]["command"]
    assert "--storage.tsdb.retention.time=400d" in command
    assert "--enable-feature=exemplar-storage,expand-external-labels" in command
    assert {"GRAFANA_URL", "DOCS_URL"} <= set(services["prometheus"]["environment"])


def test_grafana_asks_for_a_login_and_gets_all_that_its_provisioning_asks_for(services: dict[str, Any]) -> None:
    environ = services["grafana"]["environment"]
    assert environ["GF_AUTH_ANONYMOUS_ENABLED"] == environ["GF_USERS_ALLOW_SIGN_UP"] == "false"
    asked: set[str] = set()
    for path in (ROOT / "grafana" / "provisioning").rglob("*.yml"):
        lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
        asked |= set(re.findall(r"(?<!\$)\$\{(\w+)\}", "\n".join(lines)))
    assert asked <= set(environ)
    boards = "/etc/grafana/boards"
    assert environ["GRAFANA_BOARDS_DIR"] == boards
    home = Path(environ["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert home.is_relative_to(boards)
    assert (ROOT / "grafana" / "dashboards" / home.name).exists()


def test_make_demo_runs_grafana_with_the_same_settings(services: dict[str, Any]) -> None:
    environ = services["grafana"]["environment"]
    for name, value in grafana_settings().items():
        assert Path(environ[name]).name == Path(value).name, name


def test_a_public_domain_reaches_everyone_who_has_to_know_it(tmp_path: Path) -> None:
    env = tmp_path / "env"
    made = subprocess.run(
        [ROOT / "scripts" / "make-env", "koomtai.com"], env={**os.environ, "ENV_FILE": str(env)}, check=True
    )
    assert made.returncode == 0
    values = dict(line.split("=", 1) for line in env.read_text("utf-8").splitlines() if "=" in line)
    services = render(tmp_path, **values)["services"]
    assert services["caddy"]["environment"]["DOMAIN"] == "koomtai.com"
    ports = services["caddy"]["ports"]
    assert ports and all(port.startswith("0.0.0.0:") for port in ports)
    assert services["grafana"]["environment"]["GF_SERVER_ROOT_URL"] == "https://koomtai.com/"
    assert services["grafana"]["environment"]["GF_SECURITY_COOKIE_SECURE"] == "true"
    assert services["prometheus"]["environment"]["GRAFANA_URL"] == "https://koomtai.com"
    assert services["otel-bridge"]["environment"]["OTEL_BRIDGE_PUBLIC_URL"] == "https://koomtai.com"


def test_every_variable_that_compose_reads_is_in_the_example_of_env() -> None:
    read = set(re.findall(r"(?<!\$)\$\{(\w+)", FILE.read_text("utf-8")))
    example = (ROOT / ".env.example").read_text("utf-8")
    shown = set(re.findall(r"^(?:# ?)?([A-Z_]+)=", example, re.MULTILINE))
    standard = {"OTEL_RESOURCE_ATTRIBUTES", "PROMETHEUS_URL", "ALERTMANAGER_URL"}
    assert read - standard <= shown


def test_the_doctor_posts_with_the_key_of_who_runs_it(tmp_path: Path) -> None:
    for key in ("", "otb_key"):
        services = render(tmp_path, GRAFANA_PASSWORD="x", **({"GPT_API_KEY": key} if key else {}))["services"]
        assert services["doctor"]["environment"]["GPT_API_KEY"] == key
        assert "GPT_API_KEY" not in services["otel-bridge"]["environment"]
