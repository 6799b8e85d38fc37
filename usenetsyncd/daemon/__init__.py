"""The daemon: assembled in one place, supervised, reloaded."""
