"""Make a share: a secret that finds and opens an envelope, and an envelope that gives the read secret."""

import secrets

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import LeasedArticle, ShareRow
from usenetsyncd.model import ArticleKind, Fingerprint, Priority, SegmentId
from usenetsyncd.vault.vault import Vault
from usenetsyncd.wire.access import AccessKind, encode_access, new_share_secret
from usenetsyncd.wire.keys import ReadKeys, SigningKey, share_keys
from usenetsyncd.wire.membership import Envelope, ShareKind, encode_envelope

TAG_BYTES = 8


def create_public_share(
    catalogue: Catalogue,
    vault: Vault,
    folder_row: int,
    signing: SigningKey,
    read_secret: bytes,
    expires_s: int = 0,
    copies: int = 1,
) -> ShareRow:
    """Draw a secret, queue the first envelope; the string is complete when this returns.

    expires_s: seconds since 1970, 0 for never. The envelope is on a server a moment later.
    """
    folder = catalogue.folders.by_id(folder_row)
    share_id = secrets.token_hex(TAG_BYTES)
    secret = new_share_secret()
    envelope = Envelope(
        ShareKind.PUBLIC,
        signing.public,
        signing.fingerprint,
        1,
        expires_s,
        folder.epoch,
        folder.version,
        read_secret,
    )
    # The share first: an envelope in the queue must find its keys.
    sealed = vault.seal_secret(secret)
    share = catalogue.shares.add(
        share_id, folder_row, "public", sealed, float(expires_s) if expires_s else None
    )
    catalogue.shares.update(share_id, serial=envelope.serial).result()
    catalogue.segments.add_blob(
        folder_row,
        ArticleKind.ENVELOPE,
        _segment_id(share_id, envelope.serial),
        encode_envelope(envelope, signing),
        folder.epoch,
        copies,
        Priority.CRITICAL,
    ).result()
    return catalogue.shares.get(share.id)


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


def _segment_id(share_id: str, serial: int) -> SegmentId:
    """In the catalogue an envelope's id ends in its share's tag; on the wire the tag is zeros."""
    return SegmentId(serial.to_bytes(8, "big") + bytes.fromhex(share_id))
