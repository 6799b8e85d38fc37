"""Real folders: watch, settle, ignore, scan, read, place."""
