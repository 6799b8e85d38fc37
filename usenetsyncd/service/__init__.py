"""Being a service: readiness, watchdog, lock file."""
