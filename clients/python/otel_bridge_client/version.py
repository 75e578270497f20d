"""The package's version, once; pyproject.toml reads it here."""

VERSION = "0.2.0"
