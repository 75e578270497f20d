"""The face: the command line, and the programs it runs that are clients of a bridge."""
