"""How often redaction is wrong: false finds in real DevOps text, and misses of planted personal data."""
