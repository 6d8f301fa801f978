"""Monitoring of a running app: request log, Prometheus metrics, health."""
