"""The control channel: the API, its Unix socket listener, and the client."""
