"""Envelopes as the catalogue keeps them: sealed, for one that is public holds the read secret of its epoch in clear.

A catalogue is copied and mailed more easily than a vault, and must not be worth more than the files it names.
"""

from usenetsyncd.vault.box import Box
from usenetsyncd.wire.keys import ReadKeys


def kept_envelope(keys: ReadKeys, content: bytes) -> bytes:
    """What is put into the catalogue. keys: those of the share."""
    return _box(keys).seal(content)


def opened_envelope(keys: ReadKeys, kept: bytes) -> bytes:
    """The inverse. Raises VaultError."""
    return _box(keys).open(kept)


def _box(keys: ReadKeys) -> Box:
    return Box(keys.sealing, "stored envelope")
