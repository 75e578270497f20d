"""What each command takes and what its help says, a file a family. `commands/cli.py` puts them together."""
