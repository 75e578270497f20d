"""The command line: the parser (`cli`), and a module for each command."""
