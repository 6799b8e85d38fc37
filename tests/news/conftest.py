"""Certificates are made once; services are closed whatever the test does."""

from collections.abc import Callable, Iterator

import pytest

from tests.news.peers import Authority
from usenetsyncd.clock import SYSTEM_CLOCK, Clock
from usenetsyncd.model import ServerAccount
from usenetsyncd.news.replies import Overrides
from usenetsyncd.news.service import NewsService

# Waits of seconds in the table become waits of hundredths.
QUICK: Overrides = {
    name: {"base_s": 0.01, "max_s": 0.02}
    for name in (
        "article_refused",
        "article_later",
        "not_understood",
        "lost",
        "unreachable",
        "lost_at_start",
        "403",
        "idle_ended",
    )
}

Serve = Callable[..., NewsService]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Makes services; closes them all at the end."""
    made: list[NewsService] = []

    def make(
        *accounts: ServerAccount, overrides: Overrides | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> NewsService:
        made.append(NewsService(accounts, clock, QUICK if overrides is None else overrides))
        return made[-1]

    yield make
    for service in made:
        service.close(1)
