"""Personal data stays inside: user ids become hashes, contents are redacted."""
