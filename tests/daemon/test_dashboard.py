"""The dashboard's listener follows the settings while the daemon runs; a dashboard that cannot be is a warning."""

import http.client
import socket

import pytest

from tests.control.web.ports import free_port
from tests.daemon.harness import DaemonProcess, Refused, World
from tests.plugins.clock import FakeClock
from usenetsyncd.daemon.dashboard import DAY_SPAN_S, DAY_SPANS, HOUR_SPAN_S, HOUR_SPANS, TrafficHistory
from usenetsyncd.telemetry.counters import RateWindow


def served(port: int) -> int | None:
    """The status of the login page; None where nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/login")
        return connection.getresponse().status
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()


def change(daemon: DaemonProcess, **web: object) -> None:
    daemon.config["web"] = web
    daemon.write_config()
    daemon.post("/config/reload")


def enter(daemon: DaemonProcess, port: int) -> str:
    """A cookie."""
    word = daemon.post("/web/login")["url"].partition("#")[2]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/login", f"word={word}", {"Origin": f"http://127.0.0.1:{port}"})
    answer = connection.getresponse()
    assert answer.status == 303
    connection.close()
    return str(answer.headers["set-cookie"]).partition(";")[0]


def asked(port: int, cookie: str, verb: str = "GET", path: str = "/api/v1/status") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(verb, path, headers={"Cookie": cookie, "Origin": f"http://127.0.0.1:{port}"})
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_reload_starts_moves_and_ends_the_listener(here: World) -> None:
    daemon = here.daemon().start()
    with pytest.raises(Refused, match="the dashboard is off"):
        daemon.post("/web/login")
    one, two = free_port(), free_port()
    change(daemon, listen=f"127.0.0.1:{one}")
    assert served(one) == 200
    cookie = enter(daemon, one)
    assert asked(one, cookie) == 200
    change(daemon, listen=f"127.0.0.1:{one}", metrics=False)
    assert asked(one, cookie) == 200, "another key, the same listener and session"
    assert asked(one, cookie, path="/metrics") == 404
    change(daemon, listen=f"127.0.0.1:{two}")
    assert (served(one), served(two)) == (None, 200)
    change(daemon, listen=None)
    assert served(two) is None
    assert daemon.stop() == 0


def test_the_dashboard_can_move_itself(here: World) -> None:
    """The request that asks for the reload is served by the listener that ends because of it."""
    one, two = free_port(), free_port()
    daemon = here.daemon(web={"listen": f"127.0.0.1:{one}"}).start()
    cookie = enter(daemon, one)
    daemon.config["web"] = {"listen": f"127.0.0.1:{two}"}
    daemon.write_config()
    assert asked(one, cookie, "POST", "/api/v1/config/reload") == 200
    assert (served(one), served(two)) == (None, 200)
    assert daemon.stop() == 0


def test_another_password_ends_every_session(here: World) -> None:
    port = free_port()
    daemon = here.daemon(web={"listen": f"127.0.0.1:{port}"}).start()
    cookie = enter(daemon, port)
    daemon.ask("PUT", "/credentials/web", {"value": "correct horse battery"})
    change(daemon, listen=f"127.0.0.1:{port}", password="${credential:web}")
    assert asked(port, cookie) == 401
    cookie = enter(daemon, port)
    daemon.ask("PUT", "/credentials/other", {"value": "another horse"})
    assert asked(port, cookie) == 200
    daemon.ask("PUT", "/credentials/web", {"value": "another horse"})
    assert asked(port, cookie) == 401
    assert daemon.stop() == 0


def test_a_port_that_is_taken_is_a_warning_and_the_daemon_goes_on(here: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        daemon = here.daemon(web={"listen": f"127.0.0.1:{port}"}).start()
        (warning,) = [w for w in daemon.status()["warnings"] if w["code"] == "web"]
        assert str(port) in warning["message"]
        with pytest.raises(Refused, match="does not run"):
            daemon.post("/web/login")
        daemon.wait_idle()
    daemon.post("/config/reload")
    assert served(port) == 200, "a reload tries again"
    assert not [w for w in daemon.status()["warnings"] if w["code"] == "web"]
    assert daemon.stop() == 0


def test_an_open_progress_does_not_hold_up_the_stop(here: World) -> None:
    port = free_port()
    daemon = here.daemon(web={"listen": f"127.0.0.1:{port}"}).start()
    cookie = enter(daemon, port)
    head = (
        f"GET /api/v1/progress HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
        f"Cookie: {cookie}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head.encode())
        assert connection.recv(12) == b"HTTP/1.1 101"
        assert daemon.stop() == 0
    assert not daemon.log("web_failed")


def test_an_address_of_others_needs_a_password(here: World) -> None:
    daemon = here.daemon().start()
    with pytest.raises(Refused, match="must be a password"):
        change(daemon, listen="0.0.0.0:8734")
    assert daemon.stop() == 0


def test_traffic_is_kept_for_an_hour_and_a_day(clock: FakeClock) -> None:
    up, down = RateWindow(clock), RateWindow(clock)
    history = TrafficHistory(up, down, clock)
    rounds = int(DAY_SPAN_S / HOUR_SPAN_S) * (DAY_SPANS + 1)
    for number in range(rounds):
        up.add(1_000)
        clock.advance(HOUR_SPAN_S)
        history.sample()
        if number == 0:
            assert list(history.hour) == [(100.0, 0.0)]
    assert len(history.hour) == HOUR_SPANS
    assert list(history.day) == [(100.0, 0.0)] * DAY_SPANS
