"""What Grafana shows: the boards' code, their JSON, and the provisioning that loads both."""
