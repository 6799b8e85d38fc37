"""Bare loops: what the machine and the libraries could do without any of our work around it. Limits, not peers.

python -m tests.benchmarks.table.loops post TREE PORT CA|-     read, AES-GCM, yEnc, send over 8 connections
python -m tests.benchmarks.table.loops stat PORT IDS USER|-    STAT, all in flight, over 2 connections; prints the rate
python -m tests.benchmarks.table.loops fetch PORT IDS USER|-   BODY, four in flight, yEnc decoded, over 8 connections
"""

import json
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

import sabctools
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SEGMENT_BYTES = 768_000
IN_FLIGHT = 4
STAT_WINDOW = 200


def connect(port: int, ca_file: str = "-", user: str = "-") -> tuple[socket.socket, Callable[[], bytes]]:
    """A connection that has been greeted and logged in, and its ``readline``."""
    sock: socket.socket = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if ca_file != "-":
        sock = ssl.create_default_context(cafile=ca_file).wrap_socket(sock, server_hostname="127.0.0.1")
    lines = sock.makefile("rb", buffering=1 << 18)
    lines.readline()
    if user != "-":
        name, password = user.split(":")
        for command in (f"AUTHINFO USER {name}", f"AUTHINFO PASS {password}"):
            sock.sendall(command.encode() + b"\r\n")
            lines.readline()
    return sock, lines.readline


def post(tree: Path, port: int, ca_file: str, user: str = "-") -> None:
    pieces: SimpleQueue[tuple[Path, int]] = SimpleQueue()
    for path in sorted(tree.iterdir()):
        for at in range(0, path.stat().st_size, SEGMENT_BYTES):
            pieces.put((path, at))

    def work(number: int) -> None:
        sock, readline = connect(port, ca_file, user)
        cipher, count = AESGCM(bytes(32)), 0
        while True:
            try:
                path, at = pieces.get_nowait()
            except Empty:
                break
            with path.open("rb", buffering=0) as opened:
                opened.seek(at)
                content = opened.read(SEGMENT_BYTES)
            sealed = cipher.encrypt(count.to_bytes(12, "big"), content, None)
            encoded, crc = sabctools.yenc_encode(sealed)
            count += 1
            head = (
                f"From: a@b.invalid\r\nNewsgroups: alt.binaries.test\r\nSubject: {os.urandom(8).hex()}\r\n"
                f"Message-ID: <{os.urandom(16).hex()}@bench.invalid>\r\n\r\n=ybegin line=128 size={len(sealed)} name=x\r\n"
            )
            sock.sendall(b"POST\r\n")
            readline()
            tail = b"\r\n=yend size=%d crc32=%08x\r\n.\r\n" % (len(sealed), crc)
            sock.sendall(b"".join((head.encode(), encoded, tail)))
            if not readline().startswith(b"240"):
                raise SystemExit("refused")
        sock.close()

    _together(work, 8)


def stat(port: int, ids: list[str], user: str) -> None:
    started = time.perf_counter()

    def work(number: int) -> None:
        sock, readline = connect(port, "-", user)
        mine = ids[number::2]
        for at in range(0, len(mine), STAT_WINDOW):
            window = mine[at : at + STAT_WINDOW]
            sock.sendall(b"".join(b"STAT %s\r\n" % one.encode() for one in window))
            for _ in window:
                readline()
        sock.close()

    _together(work, 2)
    print(json.dumps({"rate": len(ids) / (time.perf_counter() - started)}))


def fetch(port: int, ids: list[str], user: str) -> None:
    def work(number: int) -> None:
        sock, _ = connect(port, "-", user)
        mine = ids[number::8]
        commands = [b"BODY %s\r\n" % one.encode() for one in mine]
        sock.sendall(b"".join(commands[:IN_FLIGHT]))
        decoder, done = sabctools.Decoder(1 << 20), 0
        while done < len(mine):
            with memoryview(decoder) as room:
                got = sock.recv_into(room)
            if not got:
                raise SystemExit("the server has gone")
            decoder.process(got)
            for response in decoder:
                if response.status_code != 222 or response.crc is None:
                    raise SystemExit(f"no article: {response.status_code}")
                sock.sendall(b"".join(commands[done + IN_FLIGHT : done + IN_FLIGHT + 1]))
                done += 1
        sock.close()

    _together(work, 8)


def _together(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    what, rest = sys.argv[1], sys.argv[2:]
    if what == "post":
        post(Path(rest[0]), int(rest[1]), *rest[2:])
    else:
        ids = Path(rest[1]).read_text().split()
        (stat if what == "stat" else fetch)(int(rest[0]), ids, rest[2])


if __name__ == "__main__":
    main()
