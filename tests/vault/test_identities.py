"""Who an installation is: from its first start, for good, and back with its master secret."""

from pathlib import Path

from usenetsyncd.vault.identities import own_identity
from usenetsyncd.vault.vault import Vault


def test_an_installation_is_the_same_after_every_start_and_after_recovery(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path / "one", {})
    first = own_identity(vault).fingerprint
    assert own_identity(Vault.open(tmp_path / "one", {})).fingerprint == first
    recovered = Vault.create(tmp_path / "two", vault.master(), {})
    assert own_identity(recovered).fingerprint == first
    assert own_identity(Vault.open(tmp_path / "three", {})).fingerprint != first


def test_nothing_of_it_is_stored(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path, {})
    before = sorted(path.name for path in vault.directory.iterdir())
    identity = own_identity(vault)
    assert sorted(path.name for path in vault.directory.iterdir()) == before
    assert identity.fingerprint.hex() not in repr(identity)
