"""Messages and pings really sent, to a server that keeps what it gets."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.daemon.harness import World, until
from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.daemon.alarm import LASTS_S, OVER_S, Level, Reason
from usenetsyncd.daemon.checking import Scopes
from usenetsyncd.daemon.lane import Lane
from usenetsyncd.daemon.notifying import PING_EVERY_S, Notifying
from usenetsyncd.settings.layers import load_text
from usenetsyncd.vault.vault import Vault

HELD = Reason("held:docs", Level.ERROR, "docs: 31% of files deleted", "usyncctl folder review docs")


class Listener:
    """An HTTP server on loopback."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.pings = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.posted.append(json.loads(body))
                self._done()

            def do_GET(self) -> None:
                outer.pings += 1
                self._done()

            def _done(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def catalogue(tmp_path: Path, clock: FakeClock) -> Iterator[Catalogue]:
    with Catalogue.open(tmp_path / "catalogue.sqlite", clock) as opened:
        yield opened


class Told:
    """A notifier over a real catalogue; the test turns the clock and says what is wrong."""

    def __init__(
        self, catalogue: Catalogue, clock: FakeClock, place: Path, notify: list[dict[str, object]]
    ) -> None:
        settings = load_text(json.dumps({"version": 1, "notify": notify}), "test").settings
        (place / "v").mkdir(exist_ok=True)
        unused = cast("Any", None)
        scopes = Scopes(catalogue, Vault.open(place / "v"), unused, unused, clock, lambda: settings)
        self.reasons: list[Reason] = []
        self._clock = clock
        self._notifying = Notifying(scopes, Lane("unused", lambda: None))
        self._notifying.watch(lambda: self.reasons)

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds / 20)):
            self._clock.advance(20)
            self._notifying._round(threading.Event())


# Apprise imports a module that Python 3.13 has not any more, and says so.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.leaks_nothing(threads=False, files=True)  # Apprise keeps a pool until the process ends
def test_an_error_is_told_once_and_its_end_too(
    catalogue: Catalogue, clock: FakeClock, tmp_path: Path, listener: Listener
) -> None:
    url = {"url": f"json://127.0.0.1:{listener.port}/"}
    told = Told(catalogue, clock, tmp_path, [url])
    told.pass_time(120)
    assert listener.posted == []
    told.reasons = [HELD]
    told.pass_time(LASTS_S + 600)
    (message,) = listener.posted
    assert message["type"] == "failure"
    assert "usyncctl folder review docs" in message["message"]
    # A restart in between tells nothing anew.
    again = Told(catalogue, clock, tmp_path, [url])
    again.reasons = [HELD]
    again.pass_time(600)
    assert len(listener.posted) == 1
    again.reasons = []
    again.pass_time(OVER_S + 60)
    assert [message["type"] for message in listener.posted] == ["failure", "success"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_nobody_asked_for_is_not_sent(
    catalogue: Catalogue, clock: FakeClock, tmp_path: Path, listener: Listener
) -> None:
    told = Told(
        catalogue, clock, tmp_path, [{"url": f"json://127.0.0.1:{listener.port}/", "on": ["recovered"]}]
    )
    told.reasons = [HELD]
    told.pass_time(600)
    assert listener.posted == []


def test_the_ping_stops_while_something_does_not_work(
    catalogue: Catalogue, clock: FakeClock, tmp_path: Path, listener: Listener
) -> None:
    told = Told(
        catalogue, clock, tmp_path, [{"healthcheck": f"http://127.0.0.1:{listener.port}/ping/secret"}]
    )
    told.pass_time(5 * PING_EVERY_S)
    assert listener.pings == 5
    told.reasons = [HELD]
    told.pass_time(5 * PING_EVERY_S)
    assert listener.pings == 5


def test_a_target_that_fails_is_an_event_once_and_without_its_secret(
    catalogue: Catalogue, clock: FakeClock, tmp_path: Path
) -> None:
    told = Told(catalogue, clock, tmp_path, [{"healthcheck": "http://127.0.0.1:9/ping/very-secret"}])
    told.pass_time(5 * PING_EVERY_S)
    catalogue.writer.flush()
    (event,) = catalogue.events.latest()
    assert event.code == "not_notified"
    assert "secret" not in event.message


def test_a_real_daemon_pings(here: World, listener: Listener) -> None:
    one = here.daemon(notify=[{"healthcheck": f"http://127.0.0.1:{listener.port}/ping"}]).start()
    until(lambda: listener.pings > 0, 60.0, one.tail)
