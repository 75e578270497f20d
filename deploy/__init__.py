"""What carries the bridge: Caddy's and Tempo's configuration, and the stack run natively (`make demo`)."""
