"""The data sources that the boards ask, by the uids that `provisioning/datasources` gives them."""

from __future__ import annotations

from grafana_foundation_sdk.models.common import DataSourceRef

PROMETHEUS_UID = "prometheus"
TEMPO_UID = "tempo"
ALERTMANAGER_UID = "alertmanager"

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${datasource}")
"""By variable, so that a board can look at another Prometheus; it starts on PROMETHEUS_UID."""

TEMPO = DataSourceRef(type_val="tempo", uid="${trazas}")
"""By variable too; it starts on TEMPO_UID. An exemplar's link leads where the provisioned Prometheus says."""

GRAFANA = DataSourceRef(type_val="grafana", uid="-- Grafana --")
