"""Writes stanzas.txt: HPKE encrypts anew each time, so what the vectors of private shares are made of is kept.

``python -m tests.vectors.make_stanzas``, and then make_vectors. Rows: for nobody, the first member, nobody, the second.
"""

import base64
from pathlib import Path

from tests.vectors.samples import READ_SECRET, SIGNER
from usenetsyncd.wire import identity
from usenetsyncd.wire.keys import label

FILE = Path(__file__).with_name("stanzas.txt")
SERIAL, EPOCH = 3, 1
MEMBERS = (bytes(range(0xA0, 0xC0)), bytes(range(0xC0, 0xE0)))
"""I of the two members."""


def stanzas() -> list[bytes]:
    """The four that are kept."""
    return [base64.b64decode(line) for line in FILE.read_text("ascii").split()]


def main() -> None:
    """Make others."""
    place = SIGNER.fingerprint + SERIAL.to_bytes(8, "big") + EPOCH.to_bytes(4, "big")
    info = label("stanza") + place
    one, two = (
        identity.wrap(identity.Identity(secret).encryption_public, READ_SECRET, info) for secret in MEMBERS
    )
    rows = (identity.wrap_for_nobody(info), one, identity.wrap_for_nobody(info), two)
    FILE.write_text("".join(base64.b64encode(row).decode("ascii") + "\n" for row in rows), encoding="ascii")


if __name__ == "__main__":
    main()
