"""What keeps personal data in: user ids become hashes, contents are redacted."""
