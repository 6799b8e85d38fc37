"""A process of its own that asks for articles as the verifier does: ``python -m tests.benchmarks.table.asking stat PORT IDS
USER|-``. Prints the rate as JSON."""

import json
import sys
import time
from pathlib import Path

from usenetsyncd.model import MessageId, Presence, ServerAccount, TlsMode
from usenetsyncd.news.service import NewsService


def main() -> None:
    _, _, port, listed, user = sys.argv
    name, _, password = user.partition(":")
    account = ServerAccount(
        "main",
        "127.0.0.1",
        int(port),
        TlsMode.NONE,
        name if password else None,
        password or None,
        connections=2,
    )
    ids = [MessageId(line) for line in Path(listed).read_text().split()]
    news = NewsService([account])
    try:
        started = time.perf_counter()
        told = news.stat(ids)
        seconds = time.perf_counter() - started
    finally:
        news.close(5)
    if any(presence is not Presence.PRESENT for presence in told.values()):
        raise SystemExit("not all were there")
    print(json.dumps({"rate": len(ids) / seconds}))


if __name__ == "__main__":
    main()
