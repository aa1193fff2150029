"""What `compose.yaml` mounts into Prometheus and Grafana."""
