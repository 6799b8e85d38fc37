"""Temporary directories for which tmp_path will not do."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A fresh directory whose path leaves room for a Unix socket's 107 bytes; tmp_path may not."""
    system = tempfile.gettempdir()
    made = Path(tempfile.mkdtemp(prefix="us", dir=system if len(system) < 40 else "/tmp"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
