"""Logging is one per process: every test here starts without it and leaves it so."""

from collections.abc import Iterator

import pytest

from usenetsyncd.telemetry import logs, redaction


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    redaction.forget_secrets()
    yield
    logs.shutdown()
    redaction.forget_secrets()
