"""A running embedded news server, and a certificate for it."""

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback.client import Client
from usenetsyncd.loopback.server import LoopbackServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LoopbackServer]:
    with LoopbackServer(tmp_path / "spool") as running:
        yield running


@pytest.fixture
def client(server: LoopbackServer) -> Iterator[Client]:
    with Client(server.address) as connected:
        yield connected


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key for localhost and 127.0.0.1, signed by itself."""
    directory = tmp_path_factory.mktemp("certificate")
    cert, key = directory / "cert.pem", directory / "key.pem"
    made = (
        "openssl req -new -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=localhost"
        " -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    )
    subprocess.run([*made.split(), "-out", str(cert), "-keyout", str(key)], check=True, capture_output=True)
    return cert, key


@pytest.fixture
def trusting(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """A client's context that trusts that certificate and nothing else."""
    return ssl.create_default_context(cafile=str(certificate[0]))
