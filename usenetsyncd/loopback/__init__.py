"""The embedded news server, for trying and for tests; loopback only."""
