"""otel-bridge: documented GPT session/event JSON in, durable traces and Prometheus metrics out."""

__version__ = "0.1.0"
