"""The news servers that the contract is held against: the embedded one and INN, each in clear and with TLS."""

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.inn.configuration import make_certificate
from tests.inn.instance import InnServer
from tests.loopback.client import Client
from usenetsyncd.loopback.server import LoopbackServer


@dataclass(frozen=True, slots=True)
class NewsServer:
    """A news server under contract; test/secret may log in. What is posted at one port need not be at the other."""

    address: tuple[str, int]
    tls_address: tuple[str, int]
    ca_file: Path
    lose: Callable[[str], None]

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))


def _inn(server: InnServer) -> NewsServer:
    return NewsServer(server.address, server.tls_address, server.ca_file, server.cancel)


def _embedded(directory: Path) -> Iterator[NewsServer]:
    certificate = (directory / "cert.pem", directory / "key.pem")
    make_certificate(*certificate)
    users = {"test": "secret"}
    clear = LoopbackServer(directory / "clear", users=users, tls=certificate, implicit_tls=False)
    encrypted = LoopbackServer(directory / "encrypted", users=users, tls=certificate, implicit_tls=True)
    with clear, encrypted:
        yield NewsServer(clear.address, encrypted.address, certificate[0], clear.remove)


@pytest.fixture(
    scope="session",
    params=["embedded", pytest.param("inn", marks=pytest.mark.requires("inn"))],
)
def news_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NewsServer]:
    if request.param == "inn":
        yield _inn(request.getfixturevalue("inn_server"))
    else:
        yield from _embedded(tmp_path_factory.mktemp("embedded"))


@pytest.fixture
def visitor(news_server: NewsServer) -> Iterator[Client]:
    """Connected, not logged in."""
    with Client(news_server.address) as connected:
        yield connected


@pytest.fixture
def reader(visitor: Client) -> Client:
    """Connected and logged in."""
    assert visitor.login().code == 281
    return visitor
