"""Bytes, pure: formats and protocol without a socket, file, thread, clock or database."""
