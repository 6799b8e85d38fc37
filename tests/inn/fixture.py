"""``inn_server``: one private INN for the whole run. Tests that use it carry ``@pytest.mark.requires("inn")``.

A conftest that wants it says ``from tests.inn.fixture import inn_server``; importing it in several places
starts several servers.
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
