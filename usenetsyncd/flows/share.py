"""Give a folder to somebody, and take it back.

A share is a secret that finds an envelope, and an envelope that gives the read secret of an epoch: to whoever has the
string, to whoever knows a passphrase as well, or to listed people. Taking back begins a new epoch (flows/epochs.py): what
comes next is out of reach; what could be read before was given away, and nothing recalls it.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import LeasedArticle, ShareRow, UserRow
from usenetsyncd.catalogue.shares import IssuedEnvelope
from usenetsyncd.errors import NotFound, UsageError
from usenetsyncd.flows.envelopes import kept_envelope
from usenetsyncd.flows.epochs import Epochs, next_epoch, shared_epoch
from usenetsyncd.model import Fingerprint, SegmentId
from usenetsyncd.vault.vault import Vault
from usenetsyncd.wire.access import AccessKind, encode_access, new_share_secret
from usenetsyncd.wire.identity import read_card
from usenetsyncd.wire.keys import ReadKeys, SigningKey, share_keys
from usenetsyncd.wire.membership import (
    Argon2,
    Envelope,
    ShareKind,
    Stretched,
    encode_envelope,
    stanzas_for,
    stretch,
    wrap_private,
    wrap_protected,
)

log = structlog.get_logger("share")

TAG_BYTES = 8
_MATERIAL = b"share passphrase "


@dataclass(frozen=True, slots=True)
class Sharer:
    """What it takes to share one folder. Never printed: it holds secrets."""

    catalogue: Catalogue
    vault: Vault
    folder_row: int
    signing: SigningKey
    epochs: Epochs
    copies: int = 1

    # -- making ----------------------------------------------------------------------------

    def public(self, expires_s: int = 0) -> ShareRow:
        """For whoever has the string. expires_s: seconds since 1970, 0 for never.

        The string is complete when this returns; its envelope is on a server a moment later.
        """
        return self._create(ShareKind.PUBLIC, expires_s)

    def protected(self, passphrase: str, expires_s: int = 0, argon2: Argon2 | None = None) -> ShareRow:
        """For whoever has the string and knows the passphrase. Raises UsageError for an impossible one."""
        return self._create(ShareKind.PROTECTED, expires_s, stretched=stretch(passphrase, argon2))

    def private(self, users: Sequence[UserRow], expires_s: int = 0) -> ShareRow:
        """For these people and nobody else; with nobody it waits for its first member."""
        return self._create(ShareKind.PRIVATE, expires_s, users=users)

    def _create(
        self,
        kind: ShareKind,
        expires_s: int,
        stretched: Stretched | None = None,
        users: Sequence[UserRow] = (),
    ) -> ShareRow:
        stanzas_for(len(users))
        share_id = secrets.token_hex(TAG_BYTES)
        share = self.catalogue.shares.add(
            share_id,
            self.folder_row,
            kind.name.lower(),
            self.vault.seal_secret(new_share_secret()),
            float(expires_s) if expires_s else None,
            material=None if stretched is None else self._sealed(share_id, stretched),
            members=[user.id for user in users],
        )
        # The share first: an envelope in the queue must find its keys.
        self.catalogue.shares.issue(share.id, self._envelope(share, kind, users)).result()
        return self.catalogue.shares.get(share.id)

    # -- changing --------------------------------------------------------------------------

    def admit(self, share_id: str, users: Sequence[UserRow]) -> ShareRow:
        """More people for a private share; they can read everything that its members can. Raises UsageError."""
        share = self._private(share_id)
        known = set(self.catalogue.shares.members(share_id))
        new = [user for user in users if user.id not in known]
        if new:
            members = [*self.catalogue.users.by_ids(known), *new]
            envelope = self._envelope(share, ShareKind.PRIVATE, members)
            self.catalogue.shares.issue(share_id, envelope, add=[user.id for user in new]).result()
        return self.catalogue.shares.get(share_id)

    def dismiss(self, share_id: str, user: UserRow) -> int | None:
        """Take somebody out of a private share. Returns the epoch that begins, None if one is beginning anyway.

        Raises NotFound for one who is not in it, UsageError.
        """
        share = self._private(share_id)
        members = set(self.catalogue.shares.members(share_id))
        if user.id not in members:
            raise NotFound(f"{user.name} is not a member of share {share_id}")
        epoch = next_epoch(self.catalogue, share)
        left = self.catalogue.users.by_ids(members - {user.id})
        envelope = self._envelope(share, ShareKind.PRIVATE, left)
        self.catalogue.shares.issue(share_id, envelope, drop=[user.id], next_epoch=epoch).result()
        log.info("member_removed", share=share_id, epoch=epoch)
        return epoch

    def revoke(self, share_id: str, now_s: float) -> int | None:
        """Take a whole share back. Returns the epoch that begins, None if one is beginning anyway."""
        share = self._in_force(share_id)
        epoch = next_epoch(self.catalogue, share)
        envelope = self._envelope(share, ShareKind.REVOKED, ())
        self.catalogue.shares.issue(share_id, envelope, next_epoch=epoch, revoked_at=now_s).result()
        log.info("share_revoked", share=share_id, epoch=epoch)
        return epoch

    # -- keeping up ------------------------------------------------------------------------

    def renew(self) -> int:
        """Tell every share in force of the epoch that the newest version stands in; returns how many were told."""
        epoch, _ = shared_epoch(self.catalogue, self.folder_row)
        behind = self.catalogue.shares.behind(self.folder_row, epoch)
        for share in behind:
            kind = ShareKind[share.access.upper()]
            members = self.catalogue.users.by_ids(set(self.catalogue.shares.members(share.id)))
            self.catalogue.shares.issue(share.id, self._envelope(share, kind, members)).result()
        if behind:
            log.info("shares_renewed", folder=self.folder_row, shares=len(behind), epoch=epoch)
        return len(behind)

    def expire(self) -> int | None:
        """Begin an epoch if a share that is over opens the present one: a date alone stops only the honest."""
        epoch = self.catalogue.folders.by_id(self.folder_row).epoch
        if not self.catalogue.shares.expired_in(self.folder_row, epoch):
            return None
        self.catalogue.folders.set_epoch(self.folder_row, epoch + 1).result()
        log.info("epoch_begun", folder=self.folder_row, epoch=epoch + 1, reason="a share expired")
        return epoch + 1

    # -- envelopes -------------------------------------------------------------------------

    def _envelope(self, share: ShareRow, kind: ShareKind, members: Sequence[UserRow]) -> IssuedEnvelope:
        """The next envelope of a share."""
        epoch, version = shared_epoch(self.catalogue, self.folder_row)
        serial = share.serial + 1
        envelope = Envelope(
            kind,
            self.signing.public,
            self.signing.fingerprint,
            serial,
            int(share.expires_at or 0),
            epoch,
            version,
            self._wrapped(share, kind, members, (self.signing.fingerprint, serial, epoch)),
        )
        content = encode_envelope(envelope, self.signing)
        keys = share_keys(self.vault.open_secret(share.secret), self.signing.fingerprint)
        kept = kept_envelope(keys, content)
        return IssuedEnvelope(segment_of(share.id, serial), serial, epoch, kept, self.copies)

    def _wrapped(
        self,
        share: ShareRow,
        kind: ShareKind,
        members: Sequence[UserRow],
        place: tuple[Fingerprint, int, int],
    ) -> bytes:
        secret = self.epochs.secret(place[2])
        if kind is ShareKind.PUBLIC:
            return secret
        if kind is ShareKind.PROTECTED:
            return wrap_protected(secret, self.vault.open_secret(share.secret), self._stretched(share), place)
        if kind is ShareKind.PRIVATE:
            keys = [read_card(user.card.decode("ascii")).encryption_public for user in members]
            return wrap_private(secret, keys, place)
        return b""

    def _sealed(self, share_id: str, stretched: Stretched) -> bytes:
        return self.vault.seal_secret(stretched.pack(), _MATERIAL + share_id.encode("ascii"))

    def _stretched(self, share: ShareRow) -> Stretched:
        if share.material is None:
            raise NotFound(f"what share {share.id} is protected with is not kept here")
        return Stretched.unpack(self.vault.open_secret(share.material, _MATERIAL + share.id.encode("ascii")))

    def _in_force(self, share_id: str) -> ShareRow:
        share = self.catalogue.shares.get(share_id)
        if share.revoked_at is not None:
            raise UsageError(f"share {share_id} was revoked before")
        return share

    def _private(self, share_id: str) -> ShareRow:
        share = self._in_force(share_id)
        if share.access != ShareKind.PRIVATE.name.lower():
            raise UsageError(f"share {share_id} is {share.access}: only a private one has members")
        return share


def access_string(vault: Vault, share: ShareRow, fingerprint: Fingerprint) -> str:
    """The string that a person hands on. Secret: never logged."""
    return encode_access(AccessKind.READ, vault.open_secret(share.secret), fingerprint)


def share_of_envelope(
    catalogue: Catalogue, vault: Vault, leased: LeasedArticle, fingerprint: Fingerprint
) -> ReadKeys:
    """The keys under which a queued envelope is sealed and named."""
    tag = leased.seg_id[TAG_BYTES:].hex()
    share = catalogue.shares.get(tag)
    return share_keys(vault.open_secret(share.secret), fingerprint)


def segment_of(share_id: str, serial: int) -> SegmentId:
    """In the catalogue an envelope's id ends in its share's tag; on the wire the tag is zeros."""
    return SegmentId(serial.to_bytes(8, "big") + bytes.fromhex(share_id))
