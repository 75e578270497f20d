"""The stack without Docker, on the shipped configuration files: `python -m deploy.native` tells an incident's story.

| module | one noun |
|---|---|
| `shorten` | configuration files whose waits and windows are some times shorter |
| `processes` | programs side by side: started, waited for, stopped; none outlives its parent |
| `files` | what Prometheus and Alertmanager read, `grafana`: what Grafana is given |
| `postgres` | a PostgreSQL of its own, for replicas |
| `places` | where everything listens |
| `stack` | which programs, with which files and ports |
| `pager` | a real receiver for Alertmanager's webhook |
| `__main__` | the story |
"""
