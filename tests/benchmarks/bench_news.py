"""The news service alone: posting into a discard sink, fetching over a distance, and what one article costs in Python.

    python tests/benchmarks/bench_news.py PATH/TO/nntpsink.c [--articles 2000] [--connections 8]

The sink is compiled into a temporary directory. Nothing is sealed here: rows P1, P9 and P10 of the targets measure the
whole way, these figures say how much of it is NNTP's.
"""

import argparse
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from usenetsyncd.model import MessageId, ServerAccount, TlsMode
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.article import ArticleName, OutgoingArticle, build_article

ARTICLE_BYTES = 800_000


def make_article(number: int, size_bytes: int = ARTICLE_BYTES) -> OutgoingArticle:
    name = f"{number:016x}"
    called = ArticleName(MessageId(f"<{name}@bench.invalid>"), name, "a <a@bench.invalid>", name)
    return build_article(called, ("alt.binaries.test",), bytes(range(256)) * (size_bytes // 256))


@contextmanager
def sink(binary: Path, *flags: str) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen([str(binary), str(port), *flags], stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(100):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        print("   ", (process.communicate()[1] or "").strip())


def service(port: int, connections: int) -> NewsService:
    return NewsService([ServerAccount("sink", "127.0.0.1", port, TlsMode.NONE, connections=connections)])


def measured(label: str, work: Callable[[], int], articles: int) -> None:
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    size_bytes = work()
    took_s = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{label:<34} {articles / took_s:9.0f} articles/s {size_bytes / took_s / 1e6:8.0f} MB/s "
        f"{cpu_s / articles * 1e6:7.0f} us CPU/article  peak {after.ru_maxrss // 1024} MB"
    )


def post_all(news: NewsService, articles: list[OutgoingArticle], threads: int) -> int:
    def run(mine: list[OutgoingArticle]) -> None:
        for article in mine:
            news.post(article)

    team = [threading.Thread(target=run, args=(articles[i::threads],)) for i in range(threads)]
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    return sum(article.size_bytes for article in articles)


def fetch_all(news: NewsService, ids: list[MessageId]) -> int:
    sizes: list[int] = []
    news.fetch(ids, lambda _id, block, _error: sizes.append(len(block or b"")))
    return sum(sizes)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sink", type=Path)
    parser.add_argument("--articles", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=8)
    options = parser.parse_args()
    many, width = options.articles, options.connections
    large = make_article(1)
    with tempfile.TemporaryDirectory() as place:
        binary = Path(place) / "nntpsink"
        subprocess.run(["cc", "-O2", "-o", str(binary), str(options.sink)], check=True)
        for threads in (1, width):
            with sink(binary) as port:
                news = service(port, threads)
                news.post(large)
                measured(
                    f"post 800 KB, {threads} connections",
                    lambda n=news, t=threads: post_all(n, [large] * many, t),
                    many,
                )  # type: ignore[misc]
                news.close(5)
        with sink(binary) as port:
            news = service(port, 1)
            tiny = make_article(1, 256)
            measured("post 256 B, 1 connection", lambda: post_all(news, [tiny] * many, 1), many)
            news.close(5)
        kept = [make_article(n) for n in range(200)]
        for delay_ms in ("0", "50"):
            with sink(binary, "-k", "-d", delay_ms) as port:
                news = service(port, width)
                post_all(news, kept, width)
                ids = [article.name.message_id for article in kept]
                fetch_all(news, ids[:width])
                measured(
                    f"fetch 800 KB, {delay_ms} ms, {width} connections",
                    lambda n=news, i=ids: fetch_all(n, i),
                    200,
                )  # type: ignore[misc]
                news.close(5)
        with sink(binary, "-k", "-d", "50") as port:
            news = service(port, 2)
            asked = [MessageId(f"<{n:016x}@bench.invalid>") for n in range(many * 2)]
            measured("stat, 50 ms, 2 connections", lambda: 0 * len(news.stat(asked)), len(asked))
            news.close(5)
    return 0


if __name__ == "__main__":
    sys.exit(main())
