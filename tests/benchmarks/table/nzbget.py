"""NZBGet as a peer for restores: plain yEnc articles, their NZB, and a server process that fetches it."""

import json
import os
import socket
import subprocess
import time
import urllib.request
import uuid
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from xml.sax.saxutils import quoteattr

import sabctools

from tests.benchmarks.table.harness import Meter, Ran, fresh
from tests.benchmarks.table.loops import SEGMENT_BYTES, connect
from tests.benchmarks.table.peers import need

IN_FLIGHT = 20


@dataclass(frozen=True, slots=True)
class Posted:
    """Files as plain multi-part yEnc on a server."""

    ids: list[str]
    nzb: bytes

    @classmethod
    def of(cls, tree: Path, port: int, user: str) -> Self:
        sock, readline = connect(port, "-", user)
        ids, files, waiting = [], [], 0
        with sock:
            for path in sorted(tree.iterdir()):
                size, segments = path.stat().st_size, []
                total = -(-size // SEGMENT_BYTES)
                for part in range(1, total + 1):
                    one = f"{uuid.uuid4().hex}@bench.invalid"
                    article = _article(path, one, part, total, size)
                    sock.sendall(b"POST\r\n" + article)
                    waiting += 2
                    while waiting > 2 * IN_FLIGHT:
                        _taken(readline())
                        waiting -= 1
                    ids.append(f"<{one}>")
                    segments.append(f'<segment bytes="{len(article)}" number="{part}">{one}</segment>')
                subject = quoteattr(f'"{path.name}" yEnc (1/{total})')
                files.append(
                    f'<file poster="a@b.invalid" date="{int(time.time())}" subject={subject}><groups>'
                    f"<group>alt.binaries.test</group></groups><segments>{''.join(segments)}</segments></file>"
                )
            for _ in range(waiting):
                _taken(readline())
        head = '<?xml version="1.0" encoding="UTF-8"?>\n<nzb xmlns="http://www.newzbin.com/DTD/2003/nzb">'
        return cls(ids, f"{head}{''.join(files)}</nzb>".encode())


def _taken(reply: bytes) -> None:
    if not reply.startswith((b"340", b"240")):
        raise RuntimeError(f"plain articles: {reply!r}")


def _article(path: Path, message_id: str, part: int, total: int, size: int) -> bytes:
    begin = (part - 1) * SEGMENT_BYTES
    with path.open("rb") as opened:
        opened.seek(begin)
        content = opened.read(SEGMENT_BYTES)
    encoded, crc = sabctools.yenc_encode(content)
    head = (
        f'From: a@b.invalid\r\nNewsgroups: alt.binaries.test\r\nSubject: "{path.name}" yEnc ({part}/{total})\r\n'
        f"Message-ID: <{message_id}>\r\n\r\n=ybegin part={part} total={total} line=128 size={size} name={path.name}\r\n"
        f"=ypart begin={begin + 1} end={begin + len(content)}\r\n"
    )
    tail = f"\r\n=yend size={len(content)} part={part} pcrc32={crc:08x}\r\n.\r\n"
    return b"".join((head.encode(), encoded, tail.encode()))


class NzbGet:
    """A fresh NZBGet server for each fetch."""

    def __init__(self) -> None:
        self._nzbget = need("nzbget")

    def fetch(self, place: Path, port: int, login: bool, posted: Posted) -> Ran:
        """From adding the NZB to its appearance in the history with success."""
        home = fresh(place / "nzbget")
        with socket.create_server(("127.0.0.1", 0)) as free:
            control = free.getsockname()[1]
        options = {
            "MainDir": home,
            "DestDir": home / "out",
            "InterDir": home / "inter",
            "TempDir": home / "tmp",
            "QueueDir": home / "queue",
            "NzbDir": home / "nzb",
            "LockFile": home / "lock",
            "LogFile": home / "log",
            "ControlIP": "127.0.0.1",
            "ControlPort": control,
            "ControlUsername": "u",
            "ControlPassword": "p",
            "Server1.Active": "yes",
            "Server1.Host": "127.0.0.1",
            "Server1.Port": port,
            "Server1.Connections": 8,
            "Server1.Username": "test" if login else "",
            "Server1.Password": "secret" if login else "",
            "Server1.Encryption": "no",
            "ArticleCache": 500,
            "WriteBuffer": 1024,
            "DirectWrite": "yes",
            "ParCheck": "manual",
            "Unpack": "no",
            "WebDir": "",
            "OutputMode": "log",
            "DiskSpace": 0,
        }
        config = home / "nzbget.conf"
        config.write_text("".join(f"{key}={value}\n" for key, value in options.items()))
        process = subprocess.Popen(
            [self._nzbget, "-c", str(config), "-s"],
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(home)},
        )
        meter = Meter(process.pid)
        try:
            return _fetched(control, meter, posted)
        finally:
            meter.close()
            process.kill()
            process.wait()


def _fetched(control: int, meter: Meter, posted: Posted) -> Ran:
    _until(lambda: _ask(control, "version"), 20)
    cpu_s, started = meter.cpu_s(), time.perf_counter()
    nzb = b64encode(posted.nzb).decode()
    _ask(control, "append", ["bench.nzb", nzb, "", 0, False, False, "", 0, "SCORE", []])
    done = _until(lambda: _ask(control, "history", [False]), 600)[0]
    seconds = time.perf_counter() - started
    if not done["Status"].startswith("SUCCESS"):
        raise RuntimeError(f"NZBGet: {done['Status']}")
    meter.sample()
    return Ran(seconds, meter.cpu_s() - cpu_s, meter.peak_bytes, "")


def _until(come: Any, timeout_s: float) -> Any:
    ends = time.monotonic() + timeout_s
    while not (found := come()):
        if time.monotonic() > ends:
            raise RuntimeError("NZBGet does not get there")
        time.sleep(0.02)
    return found


def _ask(control: int, method: str, parameters: list[Any] | None = None) -> Any:
    body = json.dumps({"method": method, "params": parameters or []}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{control}/jsonrpc", body)
    request.add_header("Authorization", "Basic " + b64encode(b"u:p").decode())
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own loopback address
            return json.loads(answer.read())["result"]
    except OSError:
        return None
