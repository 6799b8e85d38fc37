"""Who this installation is when private shares are made for it.

The identity comes from the master secret and is stored nowhere: it is there from the first start, the same for good, and
the recovery kit brings it back together with everything else.
"""

from usenetsyncd.vault.vault import Vault
from usenetsyncd.wire.identity import Identity, identity_secret

FIRST = 1


def own_identity(vault: Vault) -> Identity:
    """The identity of this installation. Its private half never leaves the object."""
    return Identity(identity_secret(vault.master(), FIRST))
