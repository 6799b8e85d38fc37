"""``inn_server``: one private INN for the whole run. Tests that use it carry ``@pytest.mark.requires("inn")``.

tests/conftest.py names this module as a plugin, so that there is one fixture for all: do not import it.
"""

from collections.abc import Iterator

import pytest

from tests.inn.instance import InnServer, Instance


@pytest.fixture(scope="session")
def inn_server() -> Iterator[InnServer]:
    instance = Instance({"test": "secret"})
    try:
        yield instance.start()
    finally:
        instance.stop()
