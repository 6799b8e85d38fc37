"""A file with one 32-byte key: purpose | key | checksum, so that a cut or altered one is noticed.

purpose   24 bytes   ASCII, filled up with spaces, ends in a newline
key       32 bytes
checksum   8 bytes   first bytes of SHA-256 over all before it
"""

import hashlib
import hmac
import secrets
from pathlib import Path

from usenetsyncd.errors import VaultError
from usenetsyncd.vault.files import create_once, read_private

KEY_BYTES = 32
_PURPOSE_BYTES = 24
_CHECKSUM_BYTES = 8
_FILE_BYTES = _PURPOSE_BYTES + KEY_BYTES + _CHECKSUM_BYTES


def new_key() -> bytes:
    """32 random bytes."""
    return secrets.token_bytes(KEY_BYTES)


def write_key(path: Path, purpose: str, key: bytes) -> None:
    """Make the file once, mode 0600, on disk before this returns. Raises FileExistsError."""
    if len(key) != KEY_BYTES:
        raise VaultError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
    body = _purpose(purpose) + key
    create_once(path, body + _checksum(body))


def read_key(path: Path, purpose: str) -> bytes:
    """The key. Raises FileNotFoundError, VaultError for a file that is cut, altered or for something else."""
    content = read_private(path, _FILE_BYTES)
    if len(content) != _FILE_BYTES:
        raise VaultError(
            f"{path} is damaged: {len(content)} bytes instead of {_FILE_BYTES}; restore it from a backup"
        )
    body, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    if not hmac.compare_digest(checksum, _checksum(body)):
        raise VaultError(f"{path} is damaged: its checksum does not fit; restore it from a backup")
    if body[:_PURPOSE_BYTES] != _purpose(purpose):
        raise VaultError(f"{path} is a key for something else")
    return body[_PURPOSE_BYTES:]


def _purpose(text: str) -> bytes:
    return text.encode("ascii").ljust(_PURPOSE_BYTES - 1)[: _PURPOSE_BYTES - 1] + b"\n"


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECKSUM_BYTES]
