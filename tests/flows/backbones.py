"""A workshop with several news servers that know nothing of each other, and what can befall their articles."""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from tests.flows.workshop import QUICK, Witness, Workshop
from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.findings import Damage, StoredArticle
from usenetsyncd.flows.availability import CheckedServers, message_id
from usenetsyncd.flows.content import ContentFinder
from usenetsyncd.flows.health import FolderHealth, assess
from usenetsyncd.flows.rebuild import CatalogueStripes, Rebuilder
from usenetsyncd.flows.reindex import ReindexOptions
from usenetsyncd.flows.repair import Repair, RepairRequest, RepairSummary
from usenetsyncd.flows.staging import Staging
from usenetsyncd.flows.upload import Uploader
from usenetsyncd.flows.verify import PropagationCheck, Scope, Verification, VerifyRequest, VerifySummary
from usenetsyncd.loopback.faults import Damage as Spoiling
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import ArticleKind, ServerAccount, ServerRole, TlsMode
from usenetsyncd.news.service import NewsService
from usenetsyncd.telemetry.counters import RateWindow
from usenetsyncd.vault.vault import Vault
from usenetsyncd.wire.keys import ReadKeys, folder_secret, read_keys, read_secret, signing_key

BOTH = frozenset({ServerRole.POST, ServerRole.READ})
JUDGE = frozenset({ServerRole.VERIFY})

Lost = set[tuple[str, int, int]]
"""(server, segment row, copy)"""


@dataclass
class Backbones(Workshop):
    servers: dict[str, LoopbackServer] = field(default_factory=dict)
    witnesses: dict[str, Witness] = field(default_factory=dict)
    accounts: list[ServerAccount] = field(default_factory=list)
    share_keys: ReadKeys | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    # -- checking ----------------------------------------------------------------------------

    def checked_servers(self) -> CheckedServers:
        return CheckedServers.of(self.accounts)

    def keys_of(self, article: StoredArticle) -> ReadKeys:
        if article.kind is ArticleKind.ENVELOPE and self.share_keys is not None:
            return self.share_keys
        return self.keys

    def scope(self) -> Scope:
        return Scope(
            self.catalogue,
            self.news,
            self.keys_of,
            self.checked_servers(),
            self.stop,
            self.clock,
            pace_per_s=0,
        )

    def verify(
        self, full: bool = False, sample: float = 0.0, server: str | None = None, seed: int = 1
    ) -> VerifySummary:
        request = VerifyRequest(self.row, full, sample, server)
        return Verification(self.scope(), request, dice=Random(seed)).run()

    def check_propagation(self, after_s: float = 600.0) -> VerifySummary:
        return PropagationCheck(self.scope(), self.row, after_s).run()

    def repair(self, dry_run: bool = False) -> RepairSummary:
        return Repair(self.scope(), RepairRequest(self.row, dry_run)).run()

    def finder(self) -> ContentFinder:
        def rebuilder_of(row: int) -> Rebuilder:
            return Rebuilder(self.news, self.epochs.rings(1), CatalogueStripes(self.catalogue, row))

        return ContentFinder(self.catalogue, self.news, Staging(self.place / "staging"), rebuilder_of)

    @contextmanager
    def uploader(self) -> Iterator[Uploader]:
        made = Uploader(
            self.catalogue,
            self.news,
            self.posting_of,
            self.clock,
            RateWindow(self.clock),
            on_recorded=self.recorded.append,
            on_changed=self.changed.append,
            finder=self.finder(),
        )
        made.start()
        try:
            yield made
        finally:
            made.stop(5.0)

    def health(self) -> FolderHealth:
        return assess(self.catalogue, self.row, self.checked_servers())

    def stored(self) -> list[StoredArticle]:
        return self.catalogue.verifications.articles(self.row, limit=1_000_000)

    def found(self, *damages: Damage) -> Lost:
        """What the catalogue says is wrong, by server."""
        found = self.catalogue.findings.between(self.row, 0, 2**60)
        return {
            (one.server, one.segment_row, one.copy)
            for ones in found.values()
            for one in ones
            if one.damage in (damages or tuple(Damage))
        }

    # -- mishaps -----------------------------------------------------------------------------

    def id_of(self, article: StoredArticle) -> str:
        return message_id(article, self.keys_of(article))

    def on(self, server: str) -> list[StoredArticle]:
        return [article for article in self.stored() if article.server == server]

    def lose(self, articles: Sequence[StoredArticle], server: str | None = None) -> Lost:
        """Remove articles from a server, or each from where it was posted."""
        for article in articles:
            self.servers[server or article.server].remove(self.id_of(article))
        return {(server or one.server, one.segment_row, one.copy) for one in articles}

    def spoil(self, articles: Sequence[StoredArticle], how: Spoiling = Spoiling.FLIP) -> Lost:
        for article in articles:
            self.servers[article.server].corrupt(self.id_of(article), how)
        return {(one.server, one.segment_row, one.copy) for one in articles}

    def hide(self, articles: Sequence[StoredArticle]) -> None:
        """The servers say 430 of these, until ``show``: disks that are away for a while."""
        for name, witness in self.witnesses.items():
            witness.set(
                [
                    {
                        "match": {"command": ["STAT", "BODY"], "message_id": self.id_of(one)},
                        "act": {"reply": {"code": 430}},
                    }
                    for one in articles
                    if one.server == name
                ]
            )

    def show(self) -> None:
        for witness in self.witnesses.values():
            witness.clear()

    def mirror(self, of: str, to: str) -> None:
        """What one server has, another has as well: two ends of one network, or a second backbone."""
        source, target = self.servers[of].spool, self.servers[to].spool
        for name in source.message_ids():
            stored = source.find(name)
            wire = source.read(name)
            if stored is not None and wire is not None and target.claim(name):
                target.add(stored.overview, [*stored.numbers], [wire])

    def replace_account(self, name: str, account: ServerAccount) -> None:
        self.accounts = [account if one.name == name else one for one in self.accounts]
        self.news.replace_accounts(self.accounts)

    @contextmanager
    def time_passes(self) -> Iterator[None]:
        """The clock runs, a hundred times as fast as ours, for those who wait for a server to come back."""
        over = threading.Event()

        def turn() -> None:
            while not over.wait(0.01):
                self.clock.advance(1.0)

        thread = threading.Thread(target=turn)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def post_on_each(self, count: int, copies: int = 1) -> None:
        """So many segments on each server, every copy of one on the same."""
        options = replace(ReindexOptions(), copies=copies)
        for number, account in enumerate(self.accounts):
            self.news.replace_accounts([account])
            self.segments(count, seed=number + 1)
            self.scan(options=options)
            self.post_all()
        self.news.replace_accounts(self.accounts)

    # -- files -------------------------------------------------------------------------------

    def segments(self, count: int, seed: int = 1, size: int = 60_000) -> None:
        """Files of which each is a segment of its own."""
        dice = Random(seed)
        for number in range(count):
            self.write(f"large{seed}/{number:05}", dice.randbytes(size))

    def hide_source(self) -> None:
        self.root.rename(self.root.with_name("moved away"))


@contextmanager
def backbones(
    place: Path,
    clock: FakeClock,
    roles: Mapping[str, frozenset[ServerRole]],
    connections: int = 2,
    others: Sequence[ServerAccount] = (),
) -> Iterator[Backbones]:
    """roles: name of each server -> what it is used for. All have the same priority. others: servers that run already."""
    root = place / "folder"
    root.mkdir()
    vault = Vault.open(place / "data", {})
    secret = folder_secret(vault.master(), b"u" * 16)
    signing = signing_key(secret)
    keys = read_keys(read_secret(secret, 1), signing.fingerprint)
    with ExitStack() as stack:
        witnesses = {name: Witness() for name in roles}
        servers = {
            name: stack.enter_context(LoopbackServer(place / f"spool-{name}", faults=witnesses[name]))
            for name in roles
        }
        accounts = [
            ServerAccount(
                name,
                *servers[name].address,
                TlsMode.NONE,
                connections=connections,
                roles=role,
                timeout_s=5.0,
            )
            for name, role in roles.items()
        ]
        accounts += others
        catalogue = stack.enter_context(Catalogue.open(place / "catalogue.sqlite", clock))
        news = NewsService(accounts, clock, QUICK)
        stack.callback(news.close, 1.0)
        row = catalogue.folders.ensure("docs", os.fsencode(root), b"u" * 16)
        first = next(iter(roles))
        yield Backbones(
            place, root, clock, catalogue, vault, servers[first], witnesses[first], news, row.id, secret, signing,
            keys, connections=connections, servers=servers, witnesses=witnesses,
            accounts=accounts,
        )  # fmt: skip
