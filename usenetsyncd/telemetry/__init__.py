"""What the daemon says of itself: logs, redaction, counters."""
