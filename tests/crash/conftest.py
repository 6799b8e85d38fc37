"""The world of tests/daemon, for daemons that are killed."""

from tests.daemon.conftest import here

__all__ = ["here"]
