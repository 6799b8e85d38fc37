"""No secret is told: everything that can be done is done at log level debug, then everything that was written is searched.

A secret is looked for as it is, in hex and in base64 at each place it may begin in a longer text, in: log, events,
answers of the API, pages of the dashboard, what commands print, command lines and environments of processes, every
file that the daemon left (catalogue, backups, vault, staging), every value of the catalogue, and every article posted.
"""

import base64
import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.control.web.ports import free_port
from tests.daemon import harness
from tests.daemon.commands import ctl
from tests.daemon.harness import API, REPOSITORY, DaemonProcess, Refused, World, until, world
from tests.daemon.test_dashboard import asked
from tests.daemon.test_shares import befriend
from tests.daemon.trees import describe, differences
from usenetsyncd.vault.identities import FIRST
from usenetsyncd.vault.vault import Vault
from usenetsyncd.wire.access import decode_access
from usenetsyncd.wire.identity import identity_secret
from usenetsyncd.wire.keys import derive, folder_secret, read_keys, read_secret, signing_key

PASSWORD = "canary-Pa55word/of+the server ß"
WRONG = "canary-wr0ng-password-in-the-file"
PHRASE = "canary orbit velvet maple drift humble"
MISTYPED = "canary orbit velvet maple drift humbel"
WEB = "canary horse battery staple"
USER = "keeper"
MIN_CORE = 12
# Whoever asks for one share is given its string.
GIVES_OUT = {"/shares/{share_id}"}
PAGES = (
    "/",
    "/queue",
    "/jobs",
    "/jobs/1",
    "/servers",
    "/events",
    "/log",
    "/folders",
    "/folders/src",
    "/shares",
)


@dataclass
class Canaries:
    """What must not be found. name -> the secret, and what has been seen, by where it was seen."""

    secrets: dict[str, bytes] = field(default_factory=dict)
    seen: list[tuple[str, bytes]] = field(default_factory=list)

    def add(self, name: str, secret: str | bytes) -> None:
        self.secrets[name] = secret.encode() if isinstance(secret, str) else secret

    def see(self, where: str, content: str | bytes) -> None:
        self.seen.append(
            (where, content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
        )

    def hits(self) -> list[str]:
        """ "name in where (form)" for all that was found."""
        forms = {name: forms_of(secret) for name, secret in self.secrets.items()}
        return [
            f"{name} in {where} ({how})"
            for where, content in self.seen
            for name, known in forms.items()
            for how, form in known
            if form in content
        ]


def forms_of(secret: bytes) -> list[tuple[str, bytes]]:
    """(how, bytes) of everything that would give the secret away. Written apart from what masks it."""
    found = [("raw", secret), ("hex", secret.hex().encode()), ("HEX", secret.hex().upper().encode())]
    with contextlib.suppress(UnicodeDecodeError):
        text = secret.decode()
        found += [("json", json.dumps(text)[1:-1].encode()), ("url", quote(text, safe="").encode())]
        found += [("repr", repr(text)[1:-1].encode()), ("utf-16", text.encode("utf-16-le"))]
    for lead in range(3):
        # Letters at the borders depend on the neighbours: only those that the secret alone decides.
        encoded = base64.b64encode(bytes(lead) + secret)
        core = encoded[-(-lead * 8 // 6) : (lead + len(secret)) * 8 // 6]
        assert len(core) >= MIN_CORE
        found += [
            (f"base64 at {lead}", core),
            (f"base64url at {lead}", core.translate(bytes.maketrans(b"+/", b"-_"))),
        ]
    found.append(("base32", base64.b32encode(secret).rstrip(b"=")))
    return list(dict.fromkeys(found))


def test_the_search_finds_every_form_in_a_haystack() -> None:
    """A search that cannot find would always be content."""
    secret = os.urandom(24)
    for lead in (b"", b"x", b"yz"):
        canaries = Canaries({"it": secret, "other": os.urandom(24)})
        canaries.see("raw", b"..." + secret + b"...")
        canaries.see("hex", f"key={secret.hex()};")
        canaries.see("base64", base64.b64encode(lead + secret + b"tail"))
        canaries.see("base64url", base64.urlsafe_b64encode(lead + secret + b"tail"))
        canaries.see("nothing", os.urandom(1_000))
        places = {hit.split(" in ")[1].split(" (")[0] for hit in canaries.hits()}
        assert places == {"raw", "hex", "base64", "base64url"}
        assert not [hit for hit in canaries.hits() if hit.startswith("other")]


# -- what is done ------------------------------------------------------------------------------------


@dataclass
class Watched:
    """Daemons whose every word is kept."""

    here: World
    canaries: Canaries
    port: int
    strings: dict[str, str] = field(default_factory=dict)

    def daemon(self, name: str, **changes: Any) -> DaemonProcess:
        host, port = self.here.server.address
        server = {
            "name": "main",
            "host": host,
            "port": port,
            "tls": "none",
            "connections": 4,
            "username": USER,
        }
        config: dict[str, Any] = {
            "servers": [{**server, "password": "${credential:main}"}],
            "log": {"format": "json", "level": "debug"},
            **changes,
        }
        made = self.here.daemon(name, **config)
        self.store(made, "main", PASSWORD)
        return made

    def run(self, *command: str, stdin: str = "") -> int:
        """A command whose words, output and processes are kept."""
        done = subprocess.run(
            [sys.executable, "-m", *command],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
        )
        self.canaries.see(f"output of {' '.join(command[:3])}", done.stdout + done.stderr)
        self.processes()
        return done.returncode

    def store(self, daemon: DaemonProcess, name: str, value: str) -> None:
        """Without a daemon: into the vault directly, as before a first start."""
        vault = Vault.open(daemon.data_dir)
        vault.credentials.set(name, value)

    def ctl(self, daemon: DaemonProcess, *arguments: str, stdin: str = "") -> int:
        at = ("usenetsyncd.cli.usyncctl", "--socket", str(daemon.socket))
        return self.run(*at, *arguments, stdin=stdin)

    def processes(self) -> None:
        """Command lines and environments of the daemons and of all below them."""
        for daemon in self.here.daemons:
            if daemon.process is not None:
                for pid in family(daemon.process.pid):
                    for name in ("cmdline", "environ"):
                        with contextlib.suppress(OSError):
                            self.canaries.see(f"/proc/PID/{name}", Path(f"/proc/{pid}/{name}").read_bytes())


def family(pid: int) -> Iterator[int]:
    """A process and its children, and theirs."""
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from family(int(child))


@pytest.fixture
def watched(short_dir: Path) -> Iterator[Watched]:
    with world(short_dir, users={USER: PASSWORD}) as here:
        canaries = Canaries()
        for name, secret in (("password", PASSWORD), ("wrong password", WRONG), ("passphrase", PHRASE)):
            canaries.add(name, secret)
        canaries.add("mistyped passphrase", MISTYPED)
        canaries.add("web password", WEB)
        yield Watched(here, canaries, free_port())


def know_the_keys(watched: Watched, daemon: DaemonProcess) -> None:
    """The master secret, and all that is derived from it for folders, epochs and the identity."""
    master = Vault.open(daemon.data_dir).master()
    who = daemon.place.name
    add = watched.canaries.add
    add(f"master of {who}", master)
    add(f"identity of {who}", identity_secret(master, FIRST))
    with contextlib.closing(daemon.catalogue()) as database:
        folders = database.execute("SELECT name, uid FROM folder").fetchall()
    for name, uid in folders:
        secret = folder_secret(master, uid)
        add(f"folder secret {name}", secret)
        add(f"signing seed {name}", derive(secret, "sign"))
        fingerprint = signing_key(secret).fingerprint
        for epoch in (1, 2, 3):
            add(f"read secret {name} {epoch}", read_secret(secret, epoch))
            keys = read_keys(read_secret(secret, epoch), fingerprint)
            for kind in ("identity", "sealing", "location"):
                add(f"{kind} key {name} {epoch}", getattr(keys, kind))


def share_of_every_kind(watched: Watched, one: DaemonProcess, two: DaemonProcess) -> None:
    befriend(one, two, "bob")
    orders: dict[str, dict[str, Any]] = {
        "public": {},
        "private": {"to": ["bob"]},
        "protected": {"passphrase": PHRASE},
        "drawn": {"access": "protected"},
    }
    for access, more in orders.items():
        made = one.post("/shares", {"folder": "src", "access": access, **more})
        string = made["string"]
        watched.strings[access] = string
        watched.canaries.add(f"{access} string", string)
        watched.canaries.add(f"{access} string without its prefix", string.split("1", 1)[1])
        watched.canaries.add(f"{access} share secret", decode_access(string)[1])
        if access == "drawn":
            watched.canaries.add("drawn passphrase", made["passphrase"])
    one.wait_idle()


def use_the_shares(watched: Watched, two: DaemonProcess) -> None:
    """Restored and followed, rightly and wrongly; with the string on standard input."""
    place = watched.here.place
    (place / "phrase").write_text(PHRASE + "\n")
    (place / "mistyped").write_text(MISTYPED + "\n")
    phrase, mistyped = (
        ("--passphrase-file", str(place / "phrase")),
        ("--passphrase-file", str(place / "mistyped")),
    )
    strings = watched.strings
    restore = ("restore", "-", "--to")
    assert watched.ctl(two, *restore, str(place / "r1"), stdin=strings["public"]) == 0
    assert watched.ctl(two, *restore, str(place / "r2"), stdin=strings["private"]) == 0
    assert watched.ctl(two, *restore, str(place / "r3"), *phrase, stdin=strings["protected"]) == 0
    assert not differences(describe(watched.here.source), describe(place / "r3"))
    assert watched.ctl(two, *restore, str(place / "r4"), *mistyped, stdin=strings["protected"]) == 77
    assert watched.ctl(two, *restore, str(place / "r5"), stdin=strings["public"][:-1] + "q") != 0
    assert watched.ctl(two, *restore, "/proc/nowhere", stdin=strings["public"]) != 0
    watched.ctl(two, "follow", "add", "-", str(place / "f1"), stdin=strings["public"])
    watched.ctl(two, "follow", "add", "-", str(place / "f2"), *phrase, stdin=strings["protected"])
    watched.ctl(two, "follow", "add", "-", str(place / "f3"), *mistyped, stdin=strings["protected"])
    until(lambda: (place / "f1" / "file").exists() and (place / "f2" / "file").exists(), 60, two.tail)


def care_and_break(watched: Watched, one: DaemonProcess) -> None:
    """Checks, repairs, copies, wrong settings, a server that repeats what it was told, a password that is wrong."""
    here = watched.here
    for arguments in (
        *(
            ("verify", "src", "--full"),
            ("repair", "src"),
            ("scan", "src"),
            ("backup",),
            ("catalogue", "check"),
        ),
        *(("server", "list"), ("server", "test", "main"), ("config", "show"), ("config", "show", "--origin")),
        *(
            ("credential", "list"),
            ("share", "list"),
            ("events",),
            ("logs",),
            ("metrics",),
            ("status", "--json"),
        ),
        *(("server", "test", "none"), ("restore", "none", "--to", "relative"), ("kit", "show")),
    ):
        watched.ctl(one, *arguments)
    good = one.config_file.read_text()
    for bad in (
        good.replace('"password"', '"pasword"').replace("${credential:main}", WRONG),
        good.replace('"tls": "none"', '"tls": "sometimes"').replace("${credential:main}", WRONG),
        good.replace('"connections": 4', '"connections": "four"').replace("${credential:main}", WRONG),
        good[: good.index('"newsgroups"')] + f'"password: {WRONG}',
    ):
        one.config_file.write_text(bad)
        with pytest.raises(Refused) as refused:
            one.post("/config/reload")
        watched.canaries.see("problem", json.dumps(refused.value.problem))
        watched.ctl(one, "config", "reload")
        watched.ctl(one, "config", "validate", str(one.config_file))
        watched.ctl(one, "config", "diff")
    one.write_config()
    echo = {"code": 481, "text": f"no, AUTHINFO PASS {WRONG} is not the password of {USER}, nor is {WRONG}"}
    here.server.faults.set([{"match": {"command": "AUTHINFO PASS"}, "act": {"reply": echo}}])
    watched.ctl(one, "credential", "set", "main", stdin=WRONG)
    assert watched.ctl(one, "server", "test", "main") != 0
    for daemon in here.daemons:
        daemon.post("/config/reload")
    (here.source / "while it is broken").write_bytes(os.urandom(9_000))
    one.post("/scan", {"folder": "src"})
    watched.ctl(one, "status")
    watched.ctl(one, "health")
    look_at_answers(watched, one)
    here.server.faults.clear()
    watched.ctl(one, "credential", "set", "main", stdin=PASSWORD)
    one.post("/config/reload")
    watched.ctl(one, "server", "test", "main")
    # Ten minutes were to be waited for the account; the right password ends that.
    one.wait_idle()


def look_at_answers(watched: Watched, daemon: DaemonProcess) -> None:
    """Every GET that the API's own description names."""
    shares = daemon.get("/shares")["shares"]
    given = {
        "folder": "src",
        "name": "main",
        "job_id": "1",
        "follow": "1",
        "version": "1",
        "before": "1",
        "old": "1",
        "new": "1",
        "after_version": "1",
        "share_id": shares[0]["share_id"] if shares else "none",
        "path": str(watched.here.source / "file"),
        "user": "bob",
    }
    described = daemon.get("/openapi.json")
    for path, verbs in described["paths"].items():
        short = path.removeprefix(API)
        if "get" not in verbs or short in GIVES_OUT:
            continue
        needed = {
            one["name"]
            for one in verbs["get"].get("parameters", [])
            if one["in"] == "query" and one["required"]
        }
        words = {name: given.get(name, "1") for name in needed}
        filled = re.sub(r"{(\w+)}", lambda match: quote(given.get(match[1], "1"), safe=""), short)
        query = "&".join(f"{name}={quote(value)}" for name, value in words.items())
        if "job_id" in short and short.endswith("/stream"):
            continue
        watched.canaries.see(f"GET {short}", daemon.text(f"{filled}?{query}"))


def look_at_pages(watched: Watched, daemon: DaemonProcess) -> None:
    """The dashboard: its one-time word and its cookie are secrets, too."""
    port = watched.port
    word = daemon.post("/web/login")["url"].partition("#")[2]
    watched.canaries.add("login word", word)
    origin = {"Origin": f"http://127.0.0.1:{port}"}
    for form in (f"word={word}", f"word={word}", f"password={quote(MISTYPED)}", f"password={quote(WEB)}"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("POST", "/login", form, origin)
        answer = connection.getresponse()
        if set_cookie := answer.headers["set-cookie"]:
            cookie = str(set_cookie).partition(";")[0]
            watched.canaries.add("cookie", cookie.partition("=")[2])
        watched.canaries.see("page /login", answer.read())
        connection.close()
    assert asked(port, cookie) == 200
    for path in PAGES:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", path, headers={"Cookie": cookie, **origin})
        watched.canaries.see(f"page {path}", connection.getresponse().read())
        connection.close()


def look_at_what_is_left(watched: Watched) -> None:
    """Files of the daemons and of the server, values of the catalogues."""
    here = watched.here
    own = {here.place / "phrase", here.place / "mistyped"}
    for daemon in here.daemons:
        own |= {daemon.config_file, daemon.data_dir / "vault" / "master.key"}
        look_at_the_catalogue(watched, daemon)
    for path in here.place.rglob("*"):
        if path.is_file() and not path.is_symlink() and path not in own:
            watched.canaries.see(str(path.relative_to(here.place)), path.read_bytes())
            watched.canaries.see("names of files", os.fsencode(path))


def look_at_the_catalogue(watched: Watched, daemon: DaemonProcess) -> None:
    with contextlib.closing(daemon.catalogue()) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        values = 0
        for table in tables:
            for row in database.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - names from the schema itself
                content = b"\0".join(
                    value if isinstance(value, bytes) else str(value).encode() for value in row
                )
                watched.canaries.see(f"table {table}", content)
                values += 1
        assert values > 10


# -- the promises --------------------------------------------------------------------------------------


def test_no_secret_is_told_by_anything_that_can_be_done(watched: Watched) -> None:
    here, canaries = watched.here, watched.canaries
    here.source.mkdir()
    (here.source / "file").write_bytes(b"content " * 50_000)
    (here.source / "other").write_bytes(os.urandom(100_000))
    one = watched.daemon("one", web={"listen": f"127.0.0.1:{watched.port}", "password": "${credential:web}"})
    watched.store(one, "web", WEB)
    one.start()
    two = watched.daemon("two", folders=[]).start()
    one.wait_idle()
    share_of_every_kind(watched, one, two)
    use_the_shares(watched, two)
    until(lambda: bool(one.events("directory_published")), 60.0, one.tail)
    kit = ctl(one, "kit", "show", "--yes")
    canaries.add("kit", kit.out.strip())
    care_and_break(watched, one)
    look_at_answers(watched, one)
    look_at_answers(watched, two)
    look_at_pages(watched, one)
    for daemon in (one, two):
        know_the_keys(watched, daemon)
        for code in daemon.events():
            canaries.see("events", json.dumps(code))
        watched.processes()
    two.kill()
    two.start()
    for daemon in (one, two):
        assert daemon.stop() == 0
    wrong = watched.run(
        *("usenetsyncd.cli.usenetsyncd", "recover", "--kit", "-", "--config", str(one.config_file)),
        stdin=kit.out.strip() + "\n",
    )
    assert wrong == 2, "there is an installation already"
    assert {line["level"] for line in one.log()} >= {"info", "warning"}
    look_at_what_is_left(watched)
    assert len(canaries.secrets) > 30
    assert "\n".join(canaries.hits()) == ""


# Everything that goes wrong in it is a message with secrets in it, in several forms, at the places where the daemon
# catches what it does not know: a worker, a request, the thread of the process itself.
TALKATIVE = """import base64, sys
import usenetsyncd.daemon.main as main, usenetsyncd.daemon.operations as operations, usenetsyncd.flows.upload as upload
import usenetsyncd.daemon.daemon as daemon
from usenetsyncd.cli.usenetsyncd import main as run
vaults = []
class Kept(daemon.Vault):
    def __init__(self, *given):
        super().__init__(*given)
        vaults.append(self)
daemon.Vault = Kept
def blab(*ignored, **more):
    master, password = vaults[0].master(), vaults[0].credentials.get("main")
    forms = [master, master.hex(), base64.b64encode(master), password, {"password": password}, password.encode()]
    raise RuntimeError(f"{forms!r} {base64.b64encode(b'x' + password.encode()).decode()}")
upload.Uploader._article = blab
operations.DaemonOperations.idle = blab
def watch(daemon, notifier, ended):
    ended.wait()
    blab()
main._watch = watch
sys.exit(run())"""


def test_a_daemon_that_crashes_with_secrets_in_its_hands_tells_none(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "COMMAND", [sys.executable, "-c", TALKATIVE])
    here = watched.here
    here.source.mkdir()
    (here.source / "file").write_bytes(b"content")
    one = watched.daemon("one").start()
    until(lambda: bool(one.log("upload_failed_unexpectedly")), 30.0, one.tail)
    watched.canaries.see("answer", one.text("/idle"))
    look_at_answers(watched, one)
    know_the_keys(watched, one)
    assert one.stop() == 1
    assert "RuntimeError" in one.tail()
    look_at_what_is_left(watched)
    assert "\n".join(watched.canaries.hits()) == ""


@pytest.mark.requires("linux")
def test_a_running_daemon_leaves_no_core(watched: Watched) -> None:
    one = watched.daemon("one").start()
    assert one.process is not None
    limits = Path(f"/proc/{one.process.pid}/limits").read_text()
    found = re.search(r"^Max core file size +(\d+)", limits, re.MULTILINE)
    assert found, limits
    assert found[1] == "0"
    assert one.stop() == 0
