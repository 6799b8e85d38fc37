"""Restores in a process of its own, which a test may kill: STRING HOST PORT TARGET PLAN."""

import sys
import threading
from pathlib import Path

from usenetsyncd.clock import SYSTEM_CLOCK
from usenetsyncd.flows.locate import locate
from usenetsyncd.flows.restore import Restore, RestoreRequest
from usenetsyncd.model import ServerAccount, TlsMode
from usenetsyncd.news.service import NewsService


def main() -> None:
    access, host, port, target, plan = sys.argv[1:]
    news = NewsService([ServerAccount("main", host, int(port), TlsMode.NONE, connections=2)])
    located = locate(news, access, SYSTEM_CLOCK, lambda _: None)
    request = RestoreRequest(Path(target))
    Restore(news, located, request, Path(plan), threading.Event(), lambda _: None).run()
    news.close(1.0)


if __name__ == "__main__":
    main()
