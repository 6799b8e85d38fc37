"""Whatever is given and taken back in whatever order: who is in reads the newest version, who is out does not."""

import contextlib
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.flows.workshop import workshop
from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.rows import ShareRow, UserRow
from usenetsyncd.errors import ShareClosed
from usenetsyncd.flows.envelopes import opened_envelope
from usenetsyncd.flows.share import segment_of
from usenetsyncd.model import ArticleKind
from usenetsyncd.wire.identity import Identity, read_card
from usenetsyncd.wire.keys import share_keys
from usenetsyncd.wire.membership import Argon2, decode_envelope, unwrap

QUICK = Argon2(1, 1, 64)
PHRASE = "phrase"
NAMES = ("bob", "carol", "dave")
PEOPLE = {name: Identity(name.encode().ljust(32)) for name in NAMES}


class Sharing(RuleBasedStateMachine):
    """One folder. The model: who is in which share, and which shares anybody with the string may open."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        place = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.shop = self.stack.enter_context(workshop(place, FakeClock(), connections=1))
        self.users: dict[str, UserRow] = {}
        self.members: dict[str, set[str]] = {}
        self.access: dict[str, str] = {}
        self.expires: dict[str, float] = {}
        self.written = 0
        self.settled = False

    def teardown(self) -> None:
        with self.stack:
            if self.users:
                self.publish()
                self.who_is_in_reads_the_newest_and_who_is_out_never_can()

    @initialize()
    def meet(self) -> None:
        for name, identity in PEOPLE.items():
            card = read_card(identity.card(name, 1))
            self.users[name] = self.shop.catalogue.users.add(name, card.fingerprint, card.text.encode())

    # -- what may happen -----------------------------------------------------------------------

    @rule(inside=st.sets(st.sampled_from(NAMES), min_size=1))
    def give_privately(self, inside: set[str]) -> None:
        self._made(self.shop.sharer().private([self.users[name] for name in sorted(inside)]), inside)

    @rule(protected=st.booleans())
    def give(self, protected: bool) -> None:
        sharer = self.shop.sharer()
        self._made(sharer.protected(PHRASE, argon2=QUICK) if protected else sharer.public())

    @rule()
    def give_for_a_day(self) -> None:
        over = int(self.shop.clock.now()) + 86_400
        made = self.shop.sharer().public(over)
        self._made(made)
        self.expires[made.id] = over

    @precondition(lambda self: self.members)
    @rule(data=st.data(), name=st.sampled_from(NAMES))
    def admit(self, data: st.DataObject, name: str) -> None:
        share = data.draw(st.sampled_from([*self.members]))
        self.shop.sharer().admit(share, [self.users[name]])
        self.members[share].add(name)
        self.settled = False

    @precondition(lambda self: any(self.members.values()))
    @rule(data=st.data())
    def dismiss(self, data: st.DataObject) -> None:
        inside = [(share, name) for share, names in self.members.items() for name in sorted(names)]
        share, name = data.draw(st.sampled_from(inside))
        self.shop.sharer().dismiss(share, self.users[name])
        self.members[share].discard(name)
        self.settled = False

    @precondition(lambda self: self.access)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        share = data.draw(st.sampled_from([*self.access]))
        del self.access[share]
        self.members.pop(share, None)
        self.shop.sharer().revoke(share, self.shop.clock.now())
        self.settled = False

    @rule()
    def let_two_days_pass(self) -> None:
        self.shop.clock.advance(2 * 86_400)
        self.shop.sharer().expire()
        self.settled = False

    @rule()
    def publish(self) -> None:
        """As the daemon does: a version in the folder's epoch, then the shares are told."""
        self.written += 1
        self.shop.follow_epoch()
        self.shop.write("file", b"x" * self.written)
        self.shop.commit()
        self.shop.sharer().renew()
        self.settled = True

    def _made(self, share: ShareRow, inside: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self.access[share.id] = share.access
        if share.access == "private":
            self.members[share.id] = set(inside)

    # -- what must hold ------------------------------------------------------------------------

    @invariant()
    def who_is_in_reads_the_newest_and_who_is_out_never_can(self) -> None:
        if not self.settled:
            return
        newest = self.shop.catalogue.versions.newest(self.shop.row)
        assert newest is not None
        now = self.shop.clock.now()
        for name, identity in PEOPLE.items():
            inside = [share for share, members in self.members.items() if name in members]
            for share in inside:
                assert newest.epoch in self._opened(share, identity=identity), (name, share)
            if not inside:
                assert newest.epoch not in self._ever(identity=identity), name
        for row in self.shop.catalogue.shares.list(limit=1_000).rows:
            if row.access == "private":
                continue
            over = self.expires.get(row.id, now + 1) <= now
            if row.id in self.access and not over:
                assert newest.epoch in self._opened(row.id, PHRASE)
            else:
                assert newest.epoch not in self._ever(PHRASE, only=row.id)

    def _ever(
        self, passphrase: str | None = None, identity: Identity | None = None, only: str | None = None
    ) -> set[int]:
        """The epochs that some envelope, of any serial there ever was, has opened for somebody."""
        rows = self.shop.catalogue.shares.list(limit=1_000).rows
        found: set[int] = set()
        for row in rows:
            if only in (None, row.id) and (only or row.access == "private"):
                for serial in range(1, row.serial + 1):
                    found |= self._open(row, serial, passphrase, identity)
        return found

    def _opened(
        self, share: str, passphrase: str | None = None, identity: Identity | None = None
    ) -> set[int]:
        row = self.shop.catalogue.shares.get(share)
        return self._open(row, row.serial, passphrase, identity)

    def _open(
        self, row: ShareRow, serial: int, passphrase: str | None, identity: Identity | None
    ) -> set[int]:
        content = self.shop.catalogue.segments.find_blob(
            self.shop.row, ArticleKind.ENVELOPE, segment_of(row.id, serial)
        )
        assert content is not None
        keys = share_keys(self.shop.vault.open_secret(row.secret), self.shop.signing.fingerprint)
        envelope = decode_envelope(opened_envelope(keys, content), self.shop.signing.fingerprint)
        try:
            secret = unwrap(envelope, self.shop.vault.open_secret(row.secret), passphrase, identity)
        except ShareClosed:
            return set()
        assert secret == self.shop.epochs.secret(envelope.epoch)
        return {envelope.epoch}


TestSharing = Sharing.TestCase
TestSharing.settings = settings(
    max_examples=15, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
