"""What keeps a running bridge running: supervision, and a configuration that changes."""
