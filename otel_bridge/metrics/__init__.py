"""Metrics: the state that records add up to, and the page `/metrics`."""
