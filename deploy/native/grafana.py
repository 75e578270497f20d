"""What Grafana is given in its environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

GRAFANA = Path(__file__).resolve().parents[2] / "grafana"


def grafana_places(data: Path, port: int) -> Mapping[str, str]:
    """Where it listens, keeps what is its, and finds what is ours."""
    return {
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(port),
        "GF_PATHS_DATA": str(data),
        "GF_PATHS_LOGS": str(data),
        "GF_PATHS_PLUGINS": str(data / "plugins"),
        "GF_PATHS_PROVISIONING": str(GRAFANA / "provisioning"),
        "GF_LOG_LEVEL": "warn",
        "GRAFANA_BOARDS_DIR": str(GRAFANA / "dashboards"),
    }


def grafana_settings() -> Mapping[str, str]:
    """Grafana's settings that are the same in docker-compose.yml, where they stand once more."""
    return {
        "GF_AUTH_ANONYMOUS_ENABLED": "false",
        "GF_USERS_ALLOW_SIGN_UP": "false",
        "GF_USERS_DEFAULT_LANGUAGE": "es-ES",
        "GF_USERS_DEFAULT_THEME": "dark",
        "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": str(GRAFANA / "dashboards" / "gpt-resumen.json"),
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_NEWS_NEWS_FEED_ENABLED": "false",
        "GF_PLUGINS_PREINSTALL_DISABLED": "true",
        "GF_PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED": "true",
    }
