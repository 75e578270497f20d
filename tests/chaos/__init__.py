"""Breaks the bridge on purpose and compares a ledger kept by the client with what the journal, /metrics and a real
OTLP receiver hold. `make test` runs it in a short form, `make chaos` (CHAOS=long) in a long one."""
