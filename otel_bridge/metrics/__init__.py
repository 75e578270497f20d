"""From records to what `/metrics` shows."""
