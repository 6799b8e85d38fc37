"""The door over real HTTP: host names, origins, cookies, tokens, headers, WebSockets."""

import base64
import hashlib
import http.client
import json
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.control.web.ports import free_port
from tests.control.web.small_dashboard import SmallDashboard
from usenetsyncd.control.web.access import Rules
from usenetsyncd.control.web.listener import WebListener
from usenetsyncd.control.web.logins import Logins


@dataclass
class House:
    """A listener in front of the small daemon, and what the configuration would say."""

    port: int
    logins: Logins = field(default_factory=Logins)
    hosts: tuple[str, ...] = ()
    password: str | None = None
    metrics: bool = True
    token: str | None = None

    @property
    def own(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cookie(self) -> dict[str, str]:
        return {"Cookie": f"usenetsyncd_{self.port}={self.logins.enter(self.logins.new_link())}"}

    def ask(
        self, verb: str, path: str, headers: dict[str, str] | None = None, body: str | None = None
    ) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(verb, path, body, headers or {})
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, answer.read().decode(), told
        finally:
            connection.close()

    def status(self, verb: str, path: str, headers: dict[str, str] | None = None) -> int:
        return self.ask(verb, path, headers)[0]


@pytest.fixture
def house() -> Iterator[House]:
    made = House(free_port())
    rules = Rules(
        host="127.0.0.1",
        port=made.port,
        hosts=lambda: made.hosts,
        password=lambda: made.password,
        metrics=lambda: made.metrics,
        metrics_token=lambda: made.token,
    )
    listener = WebListener(SmallDashboard(), made.logins, rules)
    listener.start()
    yield made
    listener.tell_to_stop()
    listener.join()


def test_nothing_is_shown_without_a_login_even_on_loopback(house: House) -> None:
    for path in ("/", "/folders", "/queue", "/nothing/there", "/folders/docs"):
        status, _, headers = house.ask("GET", path)
        assert (status, headers["location"]) == (303, "/login"), path
    for verb, path in (
        ("GET", "/api/v1/status"),
        ("GET", "/api/v1/openapi.json"),
        ("GET", "/api/v1/credentials"),
    ):
        assert house.status(verb, path) == 401
    for cookie in ("x", "usenetsyncd_1=x", f"usenetsyncd_{house.port}=x", f"usenetsyncd_{house.port}="):
        assert house.status("GET", "/api/v1/status", {"Cookie": cookie}) == 401
    assert house.status("POST", "/pause", {"Origin": f"http://{house.own}"}) == 303


def test_a_login_opens_pages_and_the_api(house: House) -> None:
    cookie = house.cookie()
    assert "All is well" in house.ask("GET", "/", cookie)[1]
    assert json.loads(house.ask("GET", "/api/v1/status", cookie)[1])["name"] == "nas01"


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1", True),
        ("localhost:9999", True),
        ("[::1]:8734", True),
        ("backup.example", True),
        ("BACKUP.example:443", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("192.0.2.1", False),
        ("", False),
        ("[", False),
    ],
)
def test_only_names_of_its_own_are_answered(house: House, host: str, known: bool) -> None:
    house.hosts = ("backup.example",)
    assert (house.status("GET", "/login", {"Host": host}) == 200) == known


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ({"Origin": "http://{own}"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://127.0.0.1:1"}, False),
        ({"Origin": "http://["}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, False),
    ],
)
def test_only_its_own_pages_may_change_something(house: House, headers: dict[str, str], taken: bool) -> None:
    sent = {name: value.format(own=house.own) for name, value in headers.items()} | house.cookie()
    assert (house.status("POST", "/pause", sent) == 303) == taken
    assert (house.status("POST", "/api/v1/stop", sent) == 200) == taken


def test_other_sites_may_link_here_and_nothing_else(house: House) -> None:
    cookie = house.cookie()
    assert (
        house.status("GET", "/", cookie | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
        == 200
    )
    assert (
        house.status(
            "GET", "/api/v1/status", cookie | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
        )
        == 403
    )
    assert house.status("GET", "/", cookie | {"Origin": "http://evil.example"}) == 403


def test_every_answer_is_shielded(house: House) -> None:
    for path, headers in (
        ("/login", {}),
        ("/", house.cookie()),
        ("/static/app.js", {}),
        ("/nothing", house.cookie()),
    ):
        told = house.ask("GET", path, headers)[2]
        assert "default-src 'none'" in told["content-security-policy"]
        assert "unsafe" not in told["content-security-policy"]
        assert told["x-content-type-options"] == "nosniff"
        assert told["x-frame-options"] == "DENY"
    assert house.ask("GET", "/", house.cookie())[2]["cache-control"] == "no-store"
    assert house.status("GET", "/static/../app.py") == 404
    assert house.status("GET", "/static/%2e%2e/app.py") == 404


def test_a_password_opens_where_one_is_set(house: House) -> None:
    origin = {"Origin": f"http://{house.own}"}
    assert house.ask("POST", "/login", origin, "password=")[0] == 403
    assert 'type="password"' not in house.ask("GET", "/login")[1]
    house.password = "correct horse"
    assert 'type="password"' in house.ask("GET", "/login")[1]
    assert house.ask("POST", "/login", origin, "password=battery")[0] == 403
    status, _, headers = house.ask("POST", "/login", origin, "password=correct+horse")
    assert status == 303
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(headers["set-cookie"].split("; "))
    assert house.status("GET", "/", {"Cookie": headers["set-cookie"].split(";")[0]}) == 200


def test_metrics_are_open_to_this_machine_and_to_who_has_the_token(house: House) -> None:
    assert house.status("GET", "/metrics") == 200
    assert house.status("GET", "/metrics", {"X-Forwarded-For": "192.0.2.9"}) == 401, "a proxy stands between"
    assert house.status("GET", "/metrics", {"Host": "evil.example"}) == 421
    house.token = "0123456789"
    assert house.status("GET", "/metrics") == 401
    assert house.status("GET", "/metrics", {"Authorization": "Bearer 012345678"}) == 401
    assert house.status("GET", "/metrics", {"Authorization": "bearer 0123456789"}) == 200
    assert house.status("GET", "/metrics", house.cookie()) == 200
    house.token = ""
    assert house.status("GET", "/metrics", {"Authorization": "Bearer "}) == 401, (
        "one that is missing opens nothing"
    )
    house.metrics = False
    assert house.status("GET", "/metrics", house.cookie()) == 404


def test_a_form_without_end_is_not_taken(house: House) -> None:
    sent = house.cookie() | {"Origin": f"http://{house.own}"}
    status, text, _ = house.ask("POST", "/pause", sent, "folder=" + "x" * 1_100_000)
    assert status == 400
    assert "at most" in text


def test_names_that_would_deceive_are_made_visible(house: House) -> None:
    for path in ("/folders/docs/errors", "/folders/docs"):
        text = house.ask("GET", path, house.cookie())[1]
        assert "\\x1b]0;owned\\x07/café\\xff" in text
        assert "\x1b" not in text
    text = house.ask("GET", "/folders/docs/files", house.cookie())[1]
    assert "&lt;b&gt;\\xff" in text
    assert "<b>" not in text
    assert "<script>" not in house.ask("GET", "/folders/%3Cscript%3E", house.cookie())[1]


def test_no_form_leads_away(house: House) -> None:
    sent = house.cookie() | {"Origin": f"http://{house.own}"}
    for back in ("//evil.example", "https://evil.example", "/\\evil.example", "/%0d%0aX: y", ""):
        headers = house.ask("POST", "/scan", sent, f"back={back}")[2]
        assert headers["location"] == "/", back
    assert house.ask("POST", "/scan", sent, "back=/folders/docs")[2]["location"] == "/folders/docs"


# -- progress ----------------------------------------------------------------------------------


def opened(house: House, headers: dict[str, str]) -> tuple[socket.socket, bytes]:
    """A WebSocket's connection and the first line of the answer."""
    connection = socket.create_connection(("127.0.0.1", house.port), timeout=20)
    key = base64.b64encode(os.urandom(16)).decode()
    sent = {
        "Host": house.own,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": "13",
        **headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    connection.sendall(f"GET /api/v1/progress HTTP/1.1\r\n{lines}\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(1)
        if not part:
            break
        head += part
    if b" 101 " in head:
        guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1((key + guid).encode(), usedforsecurity=False).digest())
        assert accept in head
    return connection, head.splitlines()[0]


def frame(connection: socket.socket) -> tuple[int, bytes]:
    """Opcode and content of the next frame."""

    def exactly(count: int) -> bytes:
        got = b""
        while len(got) < count:
            part = connection.recv(count - len(got))
            assert part, "it was cut off"
            got += part
        return got

    first, second = exactly(2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack(">H", exactly(2))
    return first & 0x0F, exactly(length)


def test_progress_is_told_to_who_is_logged_in(house: House) -> None:
    connection, answer = opened(house, house.cookie() | {"Origin": f"http://{house.own}"})
    with connection:
        assert answer.split()[1] == b"101"
        opcode, content = frame(connection)
        told = json.loads(content)
    assert opcode == 1
    assert (told["schema"], told["type"], told["state"]) == (1, "progress", "running")
    assert told["transfer"]["up_bytes_per_s"] == 7.6e6


def test_progress_ends_with_the_session(house: House) -> None:
    connection, _ = opened(house, house.cookie() | {"Origin": f"http://{house.own}"})
    with connection:
        assert frame(connection)[0] == 1
        house.logins.end_all()
        assert frame(connection)[0] == 8, "closed, and not a word more"


def test_progress_is_told_to_nobody_else(house: House) -> None:
    for headers in (
        {"Origin": f"http://{house.own}"},
        house.cookie() | {"Origin": "http://evil.example"},
        house.cookie(),
        house.cookie() | {"Origin": f"http://{house.own}", "Host": "evil.example"},
    ):
        connection, answer = opened(house, headers)
        connection.close()
        assert answer.split()[1] == b"403", headers
