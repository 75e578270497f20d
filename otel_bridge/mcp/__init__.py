"""The same posts as tools of the Model Context Protocol, at `/mcp`."""
