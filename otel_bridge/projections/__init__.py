"""Pure projections of the journal's records: to OTLP spans, to the state of metrics. No I/O, no clock."""
