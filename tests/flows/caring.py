"""Verifies, repairs and posts in a process of its own, which a test may kill: PLACE NAME=HOST:PORT...

PLACE is that of a workshop whose catalogue is closed. Ends with 0 when nothing is left to do.
"""

import os
import sys
import threading
from pathlib import Path

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.clock import SYSTEM_CLOCK
from usenetsyncd.flows.availability import CheckedServers
from usenetsyncd.flows.content import ContentFinder
from usenetsyncd.flows.making import FolderPosting
from usenetsyncd.flows.repair import Repair, RepairRequest
from usenetsyncd.flows.staging import Staging
from usenetsyncd.flows.upload import Uploader
from usenetsyncd.flows.verify import Scope, Verification, VerifyRequest
from usenetsyncd.model import Compression, ServerAccount, TlsMode
from usenetsyncd.news.service import NewsService
from usenetsyncd.telemetry.counters import RateWindow
from usenetsyncd.vault.vault import Vault
from usenetsyncd.wire.keys import folder_secret, read_keys, read_secret, signing_key


def main() -> None:
    place = Path(sys.argv[1])
    accounts = []
    for told in sys.argv[2:]:
        name, _, address = told.partition("=")
        host, _, port = address.partition(":")
        accounts.append(ServerAccount(name, host, int(port), TlsMode.NONE, connections=2))
    secret = folder_secret(Vault.open(place / "data", {}).master(), b"u" * 16)
    keys = read_keys(read_secret(secret, 1), signing_key(secret).fingerprint)
    news = NewsService(accounts)
    with Catalogue.open(place / "catalogue.sqlite") as catalogue:
        row = catalogue.folders.get("docs").id
        catalogue.queue.return_leases()
        posting = FolderPosting(
            os.fsencode(place / "folder"), ("alt.binaries.test",), Compression.ZSTD, lambda _: keys
        )
        posted = threading.Event()
        uploader = Uploader(
            catalogue,
            news,
            lambda _: posting,
            SYSTEM_CLOCK,
            RateWindow(),
            on_recorded=lambda _: posted.set(),
            on_changed=lambda _: None,
            finder=ContentFinder(catalogue, news, Staging(place / "staging"), lambda _: None),
        )
        uploader.start()
        scope = Scope(catalogue, news, lambda _: keys, CheckedServers.of(accounts), threading.Event())
        Verification(scope, VerifyRequest(row, full=True)).run()
        Repair(scope, RepairRequest(row), wake=uploader.wake).run()
        while catalogue.queue.counts(row).pending:
            posted.wait(0.05)
            posted.clear()
        uploader.stop(5.0)
    news.close(1.0)


if __name__ == "__main__":
    main()
