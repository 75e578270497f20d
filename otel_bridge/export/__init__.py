"""From records to an OTLP endpoint, in a process of its own."""
