"""HTTP: from a connection's bytes to an exchange and back, and the application around the posts."""
