"""Small secrets sealed for storage on this machine; nothing of this goes over the wire.

A sealed secret is version (1) | nonce (12, random) | AES-256-GCM ciphertext | tag (16). The context is
authenticated with it, so that one cannot be put in the place of another. Random nonces are safe here:
a key seals far fewer than 2**32 secrets.
"""

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from usenetsyncd.errors import VaultError

_VERSION = b"\x01"
_NONCE_BYTES = 12
_TAG_BYTES = 16
OVERHEAD_BYTES = len(_VERSION) + _NONCE_BYTES + _TAG_BYTES


class Box:
    """Seals and opens under one key, derived from a root key (32 bytes) for one purpose."""

    def __init__(self, root_key: bytes, purpose: str) -> None:
        label = b"usenetsync vault 1: " + purpose.encode("ascii")
        self._label = label
        self._cipher = AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=label).derive(root_key))

    def seal(self, content: bytes, context: bytes = b"") -> bytes:
        """OVERHEAD_BYTES longer than the content, different each time."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, content, self._bound(context))

    def open(self, sealed: bytes, context: bytes = b"") -> bytes:
        """The content. Raises VaultError when it was altered, or sealed under another key or context."""
        if len(sealed) < OVERHEAD_BYTES:
            raise VaultError("a sealed secret is cut short")
        if sealed[:1] != _VERSION:
            raise VaultError("a sealed secret was made by a newer version of UsenetSync")
        nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, body, self._bound(context))
        except InvalidTag:
            raise VaultError(
                "a sealed secret does not open: it was altered, or made with another key"
            ) from None

    def _bound(self, context: bytes) -> bytes:
        return self._label + b"\0" + context
