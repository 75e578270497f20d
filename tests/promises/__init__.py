"""A model of what a client is promised, and the rules by which bridges are held to it: in one process and for real."""
