"""What heads and envelopes share: a version, whose they are, and a signature over all of it.

Source: docs/format.md 7 (signed structures).
"""

import hmac
import struct

from usenetsyncd.errors import BadSignature, FormatError, LimitExceeded, NewerFormat
from usenetsyncd.model import SEGMENT_SIZE_BYTES, Fingerprint
from usenetsyncd.wire.keys import SIGNATURE_BYTES, SigningKey, fingerprint_of, verify_signature

# version (1), three bytes of the structure's own, fingerprint (16), public key (32)
_OWNER = struct.Struct(">B3x16s32s")


def sign(message: bytes, key: SigningKey, domain: bytes) -> bytes:
    """``message`` followed by the signature (64) of label | message. Raises LimitExceeded, BadSignature."""
    _, fingerprint, public = _OWNER.unpack_from(message)
    if public != key.public or fingerprint != key.fingerprint:
        raise BadSignature("a folder's head or envelope can only be signed with that folder's own key")
    if len(message) + SIGNATURE_BYTES > SEGMENT_SIZE_BYTES:
        raise LimitExceeded(f"a head or envelope of {len(message)} bytes does not fit into an article")
    return message + key.sign(domain + message)


def check_signed(content: bytes, newest: int, domain: bytes, fingerprint: Fingerprint, fixed: int) -> bytes:
    """The message in ``content``, once its version, owner and signature are right; at least ``fixed`` bytes.

    newest: the newest version of this structure that the caller knows.
    Raises FormatError, NewerFormat, BadSignature.
    """
    if not content:
        raise FormatError("a head or envelope is empty")
    newer = content[0] > newest
    least = (_OWNER.size if newer else fixed) + SIGNATURE_BYTES
    if not (newer or content[0] == newest) or not least <= len(content) <= SEGMENT_SIZE_BYTES:
        raise FormatError("a head or envelope is cut short or not one")
    message, signature = content[:-SIGNATURE_BYTES], content[-SIGNATURE_BYTES:]
    _, its_fingerprint, public = _OWNER.unpack_from(message)
    if not (hmac.compare_digest(its_fingerprint, fingerprint) and fingerprint_of(public) == fingerprint):
        raise BadSignature("a head or envelope is of another folder than its access string")
    verify_signature(public, signature, domain + message)
    # Not before: whoever may read could stop all others with a first byte of his own.
    if newer:
        raise NewerFormat("a head or envelope was made by a newer version of UsenetSync")
    return message
