"""The Helm chart: what it renders is what Kubernetes knows, what Prometheus takes, and what the bridge reads. Without a
cluster."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import kubernetes
from deploy.kubernetes import CHART
from otel_bridge import __version__
from otel_bridge.config import SETTINGS
from tests.deploy.conftest import Helm, Objects, objects
from tests.docs.markdown import blocks
from tests.harness.bridge import Bridge
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # Helm is built first

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "kubernetes.md"
RULES = sorted((ROOT / "prometheus" / "rules").glob("*.yml"))
RULE_TESTS = [
    ROOT / "prometheus" / "tests" / f"{alert}_test.yml"
    for alert in ("BridgeNoSteward", "BridgeRejectsHigh", "GPTLatencyHigh", "GPTErrorsHigh", "GPTTokenSpike")
]
"""Some that are quick: the rendered rules are the shipped ones, whose tests tests/prometheus runs in full."""
BOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))

MONITORING = {name: {"enabled": True} for name in ("serviceMonitor", "prometheusRule", "dashboards")}
POSTGRESQL = {
    "journal": {"kind": "postgresql", "postgresql": {"secret": {"name": "pg"}}},
    "userHashKey": {"secret": {"name": "hash"}},
}
EVERYTHING = {
    "image": {"repository": "registry.example:5000/otel-bridge", "tag": "1.2.3"},
    "imagePullSecrets": [{"name": "registry"}],
    "journal": {
        "kind": "postgresql",
        "postgresql": {
            "secret": {"name": "pg", "key": "dsn"},
            "port": 6432,
            "migrate": {"secret": {"name": "pg-owner"}, "grant": "otel_bridge"},
        },
    },
    "userHashKey": {"secret": {"name": "hash"}},
    "rateLimitStorage": {"secret": {"name": "redis"}},
    "otlp": {"endpoint": "https://otlp.example.com", "headers": {"secret": {"name": "otlp"}}},
    "config": "[gpts.a]\n# {{ .Values }} stays as it is\n",
    "allowKeyless": False,
    "publicUrl": "https://gpt.example.com",
    "trustedProxies": ["10.0.0.0/8", "fd00::/8"],
    "env": {"OTEL_BRIDGE_RETENTION_DAYS": 20, "OTEL_RESOURCE_ATTRIBUTES": "a=b"},
    "extraEnv": [{"name": "PGSSLROOTCERT", "value": "/etc/pg/ca.crt"}],
    "extraVolumes": [{"name": "pg-ca", "secret": {"secretName": "pg-ca"}}],
    "extraVolumeMounts": [{"name": "pg-ca", "mountPath": "/etc/pg", "readOnly": True}],
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "host": "gpt.example.com",
        "tlsSecret": "tls",
        "annotations": {"a/b": "c"},
    },
    "podAnnotations": {"a/b": "c"},
    "podLabels": {"team": "x"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "x", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "high",
    "service": {"annotations": {"a/b": "c"}},
    "networkPolicy": {
        name: [{"ipBlock": {"cidr": "10.0.0.0/8"}}] for name in ("apiFrom", "otlpTo", "postgresqlTo", "redisTo")
    }
    | {"extraEgress": [{"ports": [{"port": 443, "protocol": "TCP"}]}]},
    **{name: {"enabled": True, "labels": {"release": "prom"}} for name in ("serviceMonitor", "prometheusRule")},
    "dashboards": {"enabled": True},
}
SHAPES: dict[str, dict[str, Any]] = {
    "default": {},
    "sqlite with monitoring": MONITORING,
    "sqlite, a volume that is there, a key of its own": {
        "journal": {"sqlite": {"existingClaim": "old"}},
        "userHashKey": {"secret": {"name": "hash"}},
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
    },
    "sqlite, another storage": {"journal": {"sqlite": {"storageClass": "fast", "accessMode": "ReadWriteOncePod"}}},
    "postgresql": POSTGRESQL,
    "postgresql with monitoring": {**POSTGRESQL, **MONITORING},
    "postgresql, migrated by each pod": {
        **POSTGRESQL,
        "journal": {
            "kind": "postgresql",
            "postgresql": {
                "secret": {"name": "pg"},
                "migrate": {"how": "initContainer", "secret": {"name": "owner"}, "grant": "otel_bridge"},
            },
        },
    },
    "everything": EVERYTHING,
}


def workload(rendered: Objects) -> dict[str, Any]:
    (found,) = (one for (kind, _), one in rendered.items() if kind in ("StatefulSet", "Deployment"))
    return found


def container(rendered: Objects) -> dict[str, Any]:
    (only,) = workload(rendered)["spec"]["template"]["spec"]["containers"]
    return dict(only)


def variables(rendered: Objects) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(rendered)["env"]}


# --- what Helm and Kubernetes say ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_rendered_is_what_kubernetes_knows_and_runs_confined(
    helm: Helm, kinds: Callable[[str], str], shape: str
) -> None:
    assert kinds(helm.template(SHAPES[shape])) == ""


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("terminationGracePeriodSeconds:", "terminationGracePeriod:", "unknown field"),
        ("port: metrics", "prot: metrics", "unknown field"),
        ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "not confined"),
        ("runAsNonRoot: true", "runAsNonRoot: false", "root"),
        ("name: tmp, mountPath", "name: temp, mountPath", "which is not there"),
        ("/healthz, port: http", "/healthz, port: api", "does not have"),
        ("name: OTEL_BRIDGE_LOG_FORMAT", "name: OTEL_BRIDGE_HOST", "twice"),
        ("kind: StatefulSet", "kind: Statefulset", "does not know"),
    ],
)
def test_the_reader_finds_what_is_wrong(
    helm: Helm, kinds: Callable[[str], str], before: str, after: str, said: str
) -> None:
    text = helm.template(MONITORING)
    assert before in text
    assert said in kinds(text.replace(before, after))


@pytest.mark.parametrize("shape", SHAPES)
def test_helm_lint_has_no_remark(helm: Helm, tmp_path: Path, shape: str) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(SHAPES[shape]))
    done = helm("lint", "--strict", str(CHART), "--values", str(values))
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout and "[ERROR]" not in done.stdout


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["journal.kind=postgresql", "userHashKey.secret.name=k"], "journal.postgresql.secret.name"),
        (["journal.kind=postgresql", "journal.postgresql.secret.name=pg"], "userHashKey.secret.name"),
        (["journal.kind=mysql"], "journal/kind"),
        (["ingress.enabled=true"], "ingress.host"),
        (["preStopSeconds=30"], "terminationGracePeriodSeconds"),
        (["replica=2"], "replica"),
        (["journal.sqlite.sise=1Gi"], "sise"),
        (["otlp.endpoint=tempo:4318"], "otlp/endpoint"),
        (["userHashKey.secret=the-key-itself"], "userHashKey"),
    ],
)
def test_what_cannot_work_is_refused_with_its_name(helm: Helm, values: list[str], said: str) -> None:
    flags = [part for value in values for part in ("--set", value)]
    done = helm("template", "otel-bridge", str(CHART), *flags)
    assert done.returncode != 0 and done.stdout == ""
    assert said in done.stderr.replace(".secret'", "").replace("/secret'", "")


def test_a_package_of_it_renders_the_same(helm: Helm, tmp_path: Path) -> None:
    """With the rules, boards and configuration that the links in its folder lead to."""
    done = helm("package", str(CHART), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert helm.template(EVERYTHING, tmp_path / f"otel-bridge-{__version__}.tgz") == helm.template(EVERYTHING)


def test_its_version_is_the_programs() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


# --- one source ---------------------------------------------------------------------------------------------------


def test_rules_boards_and_configuration_stand_once() -> None:
    for name, source in {
        "rules": "prometheus/rules",
        "dashboards": "grafana/dashboards",
        "prometheus.yml": "prometheus/prometheus.yml",
        "otel-bridge.toml": "otel-bridge.toml",
    }.items():
        link = CHART / "files" / name
        assert link.is_symlink() and link.samefile(ROOT / source)
        assert not link.readlink().is_absolute()


def test_the_plain_manifests_are_what_the_chart_renders(helm: Helm, kinds: Callable[[str], str]) -> None:
    """If this fails: make manifests."""
    wanted = kubernetes.files(str(helm.path))
    assert {path.name for path in kubernetes.HERE.glob("*.yaml")} == {path.name for path in wanted}
    for path, text in wanted.items():
        assert path.read_text("utf-8") == text
        assert kinds(text) == ""


# --- what it is made of -------------------------------------------------------------------------------------------


def test_one_bridge_and_a_volume_by_default(helm: Helm) -> None:
    rendered = objects(helm.template({}))
    made = workload(rendered)
    assert made["kind"] == "StatefulSet" and made["spec"]["replicas"] == 1
    (claim,) = made["spec"]["volumeClaimTemplates"]
    mounts = {one["name"]: one["mountPath"] for one in container(rendered)["volumeMounts"]}
    folder = mounts[claim["metadata"]["name"]]
    assert variables(rendered)["OTEL_BRIDGE_JOURNAL"].startswith(f"sqlite:///{folder}/")
    limit = next(setting.default for setting in SETTINGS if setting.key == "journal_max_size")
    size = claim["spec"]["resources"]["requests"]["storage"]
    assert int(size.removesuffix("Gi")) << 30 > limit


def test_replicas_over_postgresql_share_journal_key_and_configuration(helm: Helm) -> None:
    rendered = objects(helm.template(POSTGRESQL))
    made = workload(rendered)
    assert made["kind"] == "Deployment" and made["spec"]["replicas"] == 3
    assert made["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    volumes = made["spec"]["template"]["spec"]["volumes"]
    assert {one["secret"]["secretName"] for one in volumes if "secret" in one} == {"pg", "hash"}
    mounts = {one["name"]: one["mountPath"] for one in container(rendered)["volumeMounts"]}
    (writable,) = (one["name"] for one in volumes if "emptyDir" in one and one["name"] != "tmp")
    assert mounts[writable] == "/var/lib/otel-bridge"  # where the image stands: the line of audit goes there
    assert {"OTEL_BRIDGE_JOURNAL_FILE", "OTEL_BRIDGE_USER_HASH_KEY_FILE"} <= variables(rendered).keys()
    assert variables(rendered)["OTEL_BRIDGE_JOURNAL"] == ""  # the image's own gives way


@pytest.mark.parametrize("how", ["job", "initContainer", "none"])
def test_tables_are_made_before_the_bridge_serves_and_by_the_owner_where_one_is_named(helm: Helm, how: str) -> None:
    place = {"how": how, "secret": {"name": "owner"}, "grant": "serving"}
    values = {
        **POSTGRESQL,
        "journal": {"kind": "postgresql", "postgresql": {"secret": {"name": "pg"}, "migrate": place}},
    }
    rendered = objects(helm.template(values))
    spec = workload(rendered)["spec"]["template"]["spec"]
    job = rendered.get(("Job", "otel-bridge-migrate"))
    if job is not None:
        assert "pre-upgrade" in job["metadata"]["annotations"]["helm.sh/hook"]
        spec = job["spec"]["template"]["spec"]
        found = spec["containers"]
    else:
        found = spec.get("initContainers", [])
    assert [one["args"] for one in found] == ([] if how == "none" else [["journal", "migrate", "--grant", "serving"]])
    assert (job is not None) == (how == "job")
    serving = workload(rendered)["spec"]["template"]["spec"]["containers"][0]
    assert all(one["name"] != "migrate" for one in serving["volumeMounts"])  # the owner's password stays out
    for one in found:
        volume = one["volumeMounts"][0]["name"]
        (secret,) = (two["secret"]["secretName"] for two in spec["volumes"] if two["name"] == volume)
        assert secret == "owner"


def test_a_stop_has_the_time_that_it_takes(helm: Helm) -> None:
    """docs/failure-modes.md: up to 40 seconds, where PostgreSQL stands still."""
    told = (ROOT / "docs" / "failure-modes.md").read_text("utf-8")
    longest = re.search(r"A stop while PostgreSQL stands still takes up to (\d+) seconds", told)
    assert longest is not None
    for values in ({}, POSTGRESQL):
        spec = workload(objects(helm.template(values)))["spec"]["template"]["spec"]
        before = int(spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
        assert spec["terminationGracePeriodSeconds"] >= before + int(longest[1]) + 10


def test_metrics_are_for_prometheus_alone(helm: Helm) -> None:
    rendered = objects(helm.template(EVERYTHING))
    policy = rendered["NetworkPolicy", "otel-bridge"]["spec"]
    from_where = {rule["ports"][0]["port"]: rule["from"] for rule in policy["ingress"]}
    assert from_where["metrics"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    ]
    ports = {rule["ports"][0]["port"] for rule in policy["egress"]}
    assert ports == {53, 443, 6432, 6379}
    assert [port["name"] for port in rendered["Service", "otel-bridge"]["spec"]["ports"]] == ["http"]
    paths = [one["path"] for one in rendered["Ingress", "otel-bridge"]["spec"]["rules"][0]["http"]["paths"]]
    caddy = (ROOT / "deploy" / "Caddyfile").read_text("utf-8")
    public = re.search(r"@bridge path (.+)", caddy)
    assert public is not None
    assert all(any(path == one or path.startswith(f"{one}/") for one in paths) for path in public[1].split())
    assert not any(path.startswith(("/metrics", "/healthz", "/readyz")) for path in paths)


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [("http://tempo.monitoring:4318", 4318), ("https://otlp.example.com/otlp", 443), ("http://[fd00::1]:4317", 4317)],
)
def test_traces_may_leave_to_the_port_of_their_endpoint(helm: Helm, endpoint: str, port: int) -> None:
    policy = objects(helm.template({"otlp": {"endpoint": endpoint}}))["NetworkPolicy", "otel-bridge"]["spec"]
    assert policy["egress"][1]["ports"] == [{"port": port, "protocol": "TCP"}]
    env = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://mimir:9009/otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    policy = objects(helm.template({"otlp": {"endpoint": endpoint}, "env": env}))["NetworkPolicy", "otel-bridge"]
    assert [one["port"] for one in policy["spec"]["egress"][1]["ports"]] == [port, 9009]


def test_a_variable_of_the_charts_own_may_be_another_and_stands_once(helm: Helm, kinds: Callable[[str], str]) -> None:
    address = {"name": "OTEL_BRIDGE_HOST", "value": "::"}
    text = helm.template({"env": {"OTEL_BRIDGE_LOG_FORMAT": "text"}, "extraEnv": [address]})
    assert kinds(text) == ""
    env = container(objects(text))["env"]
    assert len(env) == len(variables(objects(text)))
    assert address in env and {"name": "OTEL_BRIDGE_LOG_FORMAT", "value": "text"} in env


def test_no_secret_is_an_objects_or_a_variables(helm: Helm) -> None:
    text = helm.template(EVERYTHING)
    rendered = objects(text)
    assert "Secret" not in {kind for kind, _ in rendered}
    secret = {setting.env for setting in SETTINGS if setting.in_file} | {"OTEL_EXPORTER_OTLP_HEADERS"}
    given = variables(objects(helm.template({**EVERYTHING, "extraEnv": []})))
    assert {name for name in secret if given.get(name)} == set()
    assert {f"{name}_FILE" for name in secret} <= given.keys()
    assert "{{ .Values }} stays as it is" in rendered["ConfigMap", "otel-bridge"]["data"]["otel-bridge.toml"]


# --- what the bridge says -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["default", "sqlite, a volume that is there, a key of its own", "everything"])
def test_the_real_bridge_takes_the_environment_and_the_file(helm: Helm, tmp_path: Path, shape: str) -> None:
    """`otel-bridge check` with the pod's variables and files; only a PostgreSQL is not there."""
    values = {**SHAPES[shape], "extraEnv": []}
    rendered = objects(helm.template(values))
    contents = {
        "user-hash-key": "0123456789abcdef0123456789abcdef\n",
        "journal": "sqlite:////var/lib/otel-bridge/otel-bridge.db\n",
        "rate-limit-storage": "redis://127.0.0.1:6379",
        "otlp-headers": "authorization=Bearer%20x",
    }
    for name, text in contents.items():
        (tmp_path / "secrets" / name).mkdir(parents=True)
        (tmp_path / "secrets" / name / name).write_text(text)
    (tmp_path / "config").mkdir()
    toml = rendered["ConfigMap", "otel-bridge"]["data"]["otel-bridge.toml"]
    (tmp_path / "config" / "otel-bridge.toml").write_text(toml)
    if shape == "default":
        assert toml.strip() == (ROOT / "otel-bridge.toml").read_text("utf-8").strip()
    environ = {name: text.replace("/etc/otel-bridge", str(tmp_path)) for name, text in variables(rendered).items()}
    environ["OTEL_BRIDGE_ALLOW_KEYLESS"] = "true"
    done = subprocess.run(
        [sys.executable, "-m", "otel_bridge", "check"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_changed_configmap_is_taken_on_without_a_restart(tmp_path: Path) -> None:
    """A mounted ConfigMap is a link to a folder of the day, which the kubelet exchanges as a whole."""
    mount = tmp_path / "config"
    mount.mkdir()

    def project(day: str, gpt: str) -> None:
        (mount / day).mkdir()
        (mount / day / "otel-bridge.toml").write_text(f"[gpts.{gpt}]\n")
        (mount / "..data_tmp").symlink_to(day)
        (mount / "..data_tmp").rename(mount / "..data")

    project("..2026_01_01", "uno")
    (mount / "otel-bridge.toml").symlink_to("..data/otel-bridge.toml")
    bridge = Bridge(tmp_path, OTEL_BRIDGE_CONFIG=str(mount / "otel-bridge.toml")).start()
    try:

        def taken(gpt: str) -> bool:
            body = {"gpt_id": gpt, "usuario_id": "u", "timestamp_inicio": "2026-01-01T00:00:00Z"}
            return bool(bridge.http.post(f"{bridge.api}/sessions", json=body, timeout=10).status_code == 201)

        assert taken("uno") and not taken("dos")
        project("..2026_01_02", "dos")
        shutil.rmtree(mount / "..2026_01_01")
        wait_for(lambda: taken("dos"), "the changed ConfigMap")
        assert not taken("uno")
    finally:
        bridge.close()


# --- what Prometheus and Grafana say ------------------------------------------------------------------------------


def rules_of(rendered: Objects, folder: Path) -> list[Path]:
    """The groups of each PrometheusRule, as a file of the name of its source."""
    written = []
    for source in RULES:
        spec = rendered["PrometheusRule", f"otel-bridge-{source.stem.replace('.', '-')}"]["spec"]
        path = folder / source.name
        path.write_text(yaml.safe_dump(spec, allow_unicode=True), "utf-8")
        written.append(path)
    assert len([kind for kind, _ in rendered if kind == "PrometheusRule"]) == len(RULES)
    return written


def test_every_rule_comes_through_helm_as_it_is(helm: Helm, tmp_path: Path) -> None:
    """Templates of Prometheus, `{{ }}`, are none of Helm's."""
    rendered = objects(helm.template({"prometheusRule": {"enabled": True}}))
    for path, source in zip(rules_of(rendered, tmp_path), RULES, strict=True):
        wanted = yaml.safe_load(source.read_text("utf-8"))
        for group in wanted["groups"]:
            group.setdefault("interval", "10s")
        assert yaml.safe_load(path.read_text("utf-8")) == wanted


def test_promtool_takes_the_rendered_rules_and_they_pass_their_own_tests(helm: Helm, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool is not installed: apt-get install prometheus"
    (tmp_path / "rules").mkdir()
    shutil.copytree(ROOT / "prometheus" / "tests", tmp_path / "tests")
    rendered = objects(helm.template({"prometheusRule": {"enabled": True, "interval": ""}}))
    written = rules_of(rendered, tmp_path / "rules")
    for command in (
        [promtool, "check", "rules", "--lint=all", "--lint-fatal", *map(str, written)],
        [promtool, "test", "rules", *(str(tmp_path / "tests" / path.name) for path in RULE_TESTS)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_scrape_treats_replicas_as_the_shipped_one_does(helm: Helm) -> None:
    shipped = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text("utf-8"))
    jobs = {job["job_name"]: job for job in shipped["scrape_configs"]}
    (rule,) = jobs["otel-bridge-replicas"]["metric_relabel_configs"]
    (alone,) = objects(helm.template(MONITORING))["ServiceMonitor", "otel-bridge"]["spec"]["endpoints"]
    (shared,) = objects(helm.template({**POSTGRESQL, **MONITORING}))["ServiceMonitor", "otel-bridge"]["spec"][
        "endpoints"
    ]
    assert "metricRelabelings" not in alone and "metric_relabel_configs" not in jobs["otel-bridge"]
    for one in shared["metricRelabelings"]:
        assert (one["regex"], one["sourceLabels"]) == (rule["regex"], rule["source_labels"])
    # `pod` is the operator's own, and another on each replica.
    assert {(one["targetLabel"], one["replacement"]) for one in shared["metricRelabelings"]} == {
        (rule["target_label"], rule["replacement"]),
        ("pod", ""),
    }
    assert alone["interval"] == shipped["global"]["scrape_interval"]
    assert alone["relabelings"] == [{"targetLabel": "job", "replacement": "otel-bridge"}]


def test_boards_are_for_the_sidecar_letter_by_letter(helm: Helm) -> None:
    rendered = objects(helm.template(MONITORING))
    for path in BOARDS:
        board = rendered["ConfigMap", f"otel-bridge-board-{path.stem}"]
        assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert board["data"][path.name].rstrip("\n") == path.read_text("utf-8").rstrip("\n")
        assert len(board["data"][path.name].encode()) < 1 << 20
    assert len(BOARDS) == len([name for kind, name in rendered if "-board-" in name])


# --- the page -----------------------------------------------------------------------------------------------------

VALUES = [block for block in blocks(PAGE) if block.language == "yaml"]


@pytest.mark.parametrize("i", range(len(VALUES)))
def test_every_values_file_of_the_page_renders(helm: Helm, kinds: Callable[[str], str], i: int) -> None:
    assert kinds(helm.template(yaml.safe_load(VALUES[i].text))) == ""
