"""The provisioning files against the keys that Grafana documents, and against what the boards and Prometheus say."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.boards import datasources
from grafana.boards.names import names
from otel_bridge import catalog

ROOT = Path(__file__).resolve().parents[2]
PROVISIONING = ROOT / "grafana" / "provisioning"
ENVIRONMENT = {"PROMETHEUS_URL", "TEMPO_URL", "ALERTMANAGER_URL", "GRAFANA_BOARDS_DIR"}

DATASOURCE_KEYS = {
    "name", "uid", "type", "access", "orgId", "url", "user", "database", "basicAuth", "basicAuthUser",
    "withCredentials", "isDefault", "version", "editable", "jsonData", "secureJsonData",
}  # fmt: skip
JSON_DATA_KEYS = {
    "prometheus": {
        "httpMethod", "prometheusType", "prometheusVersion", "timeInterval", "queryTimeout", "cacheLevel",
        "incrementalQuerying", "incrementalQueryOverlapWindow", "disableRecordingRules", "customQueryParameters",
        "manageAlerts", "alertmanagerUid", "allowAsRecordingRulesTarget", "exemplarTraceIdDestinations",
        "disableMetricsLookup", "defaultEditor", "seriesEndpoint",
    },
    "tempo": {
        "httpMethod", "tracesToLogsV2", "tracesToMetrics", "tracesToProfiles", "serviceMap", "nodeGraph", "search",
        "traceQuery", "spanBar", "streamingEnabled", "timeRangeForTags", "tagLimit",
    },
    "alertmanager": {"implementation", "handleGrafanaManagedAlerts"},
}  # fmt: skip
NESTED_KEYS = {
    "exemplarTraceIdDestinations": {"name", "datasourceUid", "url", "urlDisplayLabel"},
    "tracesToMetrics": {"datasourceUid", "spanStartTimeShift", "spanEndTimeShift", "tags", "queries"},
    "traceQuery": {"timeShiftEnabled", "spanStartTimeShift", "spanEndTimeShift"},
    "spanBar": {"type", "tag"},
    "nodeGraph": {"enabled"},
    "search": {"hide", "filters"},
}
PROVIDER_KEYS = {
    "name", "orgId", "type", "folder", "folderUid", "disableDeletion", "allowUiUpdates", "updateIntervalSeconds",
    "editable", "options",
}  # fmt: skip


def load(kind: str) -> dict[str, Any]:
    (path,) = (PROVISIONING / kind).glob("*.yml")
    document: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    assert document["apiVersion"] == 1
    return document


@pytest.fixture
def sources() -> dict[str, dict[str, Any]]:
    return {source["uid"]: source for source in load("datasources")["datasources"]}


def test_the_sources_are_those_that_the_boards_ask(sources: dict[str, Any]) -> None:
    assert {uid: source["type"] for uid, source in sources.items()} == {
        datasources.PROMETHEUS_UID: "prometheus",
        datasources.TEMPO_UID: "tempo",
        datasources.ALERTMANAGER_UID: "alertmanager",
    }
    assert [uid for uid, source in sources.items() if source["isDefault"]] == [datasources.PROMETHEUS_UID]


def test_every_key_is_one_that_grafana_documents(sources: dict[str, Any]) -> None:
    for source in sources.values():
        assert set(source) <= DATASOURCE_KEYS
        assert set(source["jsonData"]) <= JSON_DATA_KEYS[source["type"]]
        for key, allowed in NESTED_KEYS.items():
            value = source["jsonData"].get(key, {})
            for one in value if isinstance(value, list) else [value]:
                assert set(one) <= allowed, key
    for provider in load("dashboards")["providers"]:
        assert set(provider) <= PROVIDER_KEYS
        assert set(provider["options"]) <= {"path", "foldersFromFilesStructure"}
        assert provider["type"] == "file"


def test_an_exemplar_opens_its_trace(sources: dict[str, Any]) -> None:
    (link,) = sources[datasources.PROMETHEUS_UID]["jsonData"]["exemplarTraceIdDestinations"]
    assert (link["name"], link["datasourceUid"]) == ("trace_id", datasources.TEMPO_UID)
    # Its link has no time range, and Grafana subtracts the shift from Explore's: «-24h» looks in tomorrow.
    assert sources[datasources.TEMPO_UID]["jsonData"]["traceQuery"] == {"timeShiftEnabled": False}


def test_the_step_is_prometheus_scrape_interval(sources: dict[str, Any]) -> None:
    scraped = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text("utf-8"))
    interval = scraped["global"]["scrape_interval"]
    assert sources[datasources.PROMETHEUS_UID]["jsonData"]["timeInterval"] == interval


def test_a_trace_leads_to_metrics_of_the_catalog(sources: dict[str, Any]) -> None:
    link = sources[datasources.TEMPO_UID]["jsonData"]["tracesToMetrics"]
    assert link["datasourceUid"] == datasources.PROMETHEUS_UID
    by_series = {series: metric for metric in catalog.METRICS for series in metric.series}
    tags = {tag["key"]: tag["value"] for tag in link["tags"]}
    assert set(tags) <= set(catalog.SPAN_ATTRIBUTES)
    for query in link["queries"]:
        expr = query["query"]
        assert "{$$__tags}" in expr, "`$__tags` alone would be taken for an environment variable"
        found = names(expr.replace("$$__tags", ""))
        for series in found.metrics:
            matched = found.matched.get(series, set())
            assert {*matched, *tags.values()} <= {*by_series[series].labels, "le"}


def test_every_variable_of_the_environment_is_known() -> None:
    used = set()
    for path in PROVISIONING.rglob("*.yml"):
        text = "\n".join(line.split(" #")[0] for line in path.read_text("utf-8").splitlines() if line[:1] != "#")
        assert not re.search(r"(?<!\$)\$(?![{$])", text), f"{path}: a bare $ would be expanded"
        used |= set(re.findall(r"(?<!\$)\$\{(\w+)\}", text))
    assert used == ENVIRONMENT
