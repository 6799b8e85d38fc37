import base64
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from usenetsyncd.errors import NotFound, UsageError, VaultError
from usenetsyncd.telemetry.redaction import redact_text
from usenetsyncd.vault.credentials import CredentialName, CredentialStore
from usenetsyncd.vault.vault import Vault


@pytest.fixture
def store(tmp_path: Path) -> CredentialStore:
    return Vault.open(tmp_path, {}).credentials


def everything(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


def test_a_credential_is_kept_encrypted_and_private(tmp_path: Path, store: CredentialStore) -> None:
    store.set("main", "c4n4ry-password")
    store.set("ntfy", "x")
    assert Vault.open(tmp_path, {}).credentials.get("main") == "c4n4ry-password"
    kept = everything(tmp_path)
    for form in (b"c4n4ry", base64.b64encode(b"c4n4ry-password")[:16], b"c4n4ry-password".hex().encode()):
        assert form not in kept
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (tmp_path / "vault").iterdir())


def test_names_are_listed_without_values(store: CredentialStore) -> None:
    store.set("ntfy", "b")
    store.set("main", "a")
    assert store.list() == [CredentialName("main", "store"), CredentialName("ntfy", "store")]


def test_a_credential_can_be_replaced_and_removed(store: CredentialStore) -> None:
    store.set("main", "old")
    store.set("main", "new")
    assert store.get("main") == "new"
    store.remove("main")
    assert store.list() == []
    for call in (store.get, store.remove):
        with pytest.raises(NotFound):
            call("main")
    with pytest.raises(NotFound, match="usyncctl credential set main"):
        store.get("main")


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "a b", "é", "x" * 65, "a\n"])
def test_a_name_that_could_be_a_path_is_refused(store: CredentialStore, name: str) -> None:
    for call in (store.get, store.remove, lambda name: store.set(name, "x")):
        with pytest.raises(UsageError):
            call(name)


def test_an_empty_or_huge_value_is_refused(store: CredentialStore) -> None:
    with pytest.raises(UsageError, match="empty"):
        store.set("main", "")
    with pytest.raises(UsageError, match="64 KiB"):
        store.set("main", "x" * 65_537)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=100))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_any_text_comes_back_as_it_was(store: CredentialStore, value: str) -> None:
    store.set("main", value)
    assert store.get("main") == value


def test_a_value_cannot_be_put_under_another_name(tmp_path: Path, store: CredentialStore) -> None:
    store.set("a", "1")
    store.set("b", "2")
    path = tmp_path / "vault" / "credentials.json"
    document = json.loads(path.read_text())
    kept = document["credentials"]
    kept["a"], kept["b"] = kept["b"], kept["a"]
    path.write_text(json.dumps(document))
    with pytest.raises(VaultError, match="does not open"):
        store.get("a")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is damaged"),
        ("[]", "is damaged"),
        ('{"version": 1, "credentials": {"main": 3}}', "is damaged"),
        ('{"version": 2, "credentials": {}}', "newer version"),
        ('{"version": 1, "credentials": {"main": "%%"}}', "set it again"),
        ('{"version": 1, "credentials": {"main": "AQ=="}}', "cut short"),
    ],
)
def test_a_damaged_store_is_told_and_not_overwritten(
    tmp_path: Path, store: CredentialStore, content: str, reason: str
) -> None:
    store.set("main", "x")
    path = tmp_path / "vault" / "credentials.json"
    path.write_text(content)
    with pytest.raises(VaultError, match=reason):
        store.get("main")
    assert path.read_text() == content


def test_a_lost_key_is_told_and_never_made_anew(tmp_path: Path, store: CredentialStore) -> None:
    store.set("main", "x")
    key = tmp_path / "vault" / "credentials.key"
    key.unlink()
    for call in (lambda: store.get("main"), lambda: store.set("other", "y")):
        with pytest.raises(VaultError, match=r"credentials\.key is missing"):
            call()
    assert not key.exists()


def test_a_world_readable_store_is_refused_with_what_to_run(tmp_path: Path, store: CredentialStore) -> None:
    store.set("main", "x")
    for name in ("credentials.key", "credentials.json"):
        path = tmp_path / "vault" / name
        path.chmod(0o640)
        with pytest.raises(VaultError, match=f"run: chmod 600 {path}"):
            store.get("main")
        path.chmod(0o600)


def test_what_systemd_hands_over_goes_before_the_store_and_is_read_only(tmp_path: Path) -> None:
    given_by_systemd = tmp_path / "credentials"
    given_by_systemd.mkdir()
    (given_by_systemd / "main").write_text("from systemd\n")
    (given_by_systemd / "bad").write_bytes(b"\xff")
    state = tmp_path / "state"
    Vault.open(state, {}).credentials.set("main", "from the store")
    store = Vault.open(state, {"CREDENTIALS_DIRECTORY": str(given_by_systemd)}).credentials
    store.set("other", "x")
    assert store.get("main") == "from systemd"
    assert store.list() == [
        CredentialName("bad", "systemd"),
        CredentialName("main", "systemd"),
        CredentialName("other", "store"),
    ]
    with pytest.raises(UsageError, match="LoadCredential"):
        store.set("main", "y")
    with pytest.raises(VaultError, match="not UTF-8"):
        store.get("bad")


def test_a_credential_that_was_read_is_masked_in_logs(store: CredentialStore) -> None:
    store.set("main", "c4n4ry-password")
    assert store.get("main") not in redact_text("lost: c4n4ry-password")


def test_two_stores_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    def write(number: int) -> None:
        own = Vault.open(tmp_path, {}).credentials
        for step in range(5):
            own.set(f"c{number}-{step}", "x")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Vault.open(tmp_path, {}).credentials.list()) == 30


@pytest.mark.requires("root")
def test_what_root_stores_for_the_daemon_s_user_belongs_to_that_user(tmp_path: Path) -> None:
    Vault.open(tmp_path, {})
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, 12345, 12345)
    Vault.open(tmp_path, {}).credentials.set("main", "x")
    assert {path.stat().st_uid for path in tmp_path.rglob("*")} == {12345}


@pytest.mark.requires("root")
def test_a_vault_of_another_user_is_refused(short_dir: Path) -> None:
    Vault.open(short_dir, {})
    short_dir.chmod(0o755)
    program = (
        "import os, sys\nfrom pathlib import Path\n"
        "from usenetsyncd.errors import VaultError\nfrom usenetsyncd.vault.vault import Vault\n"
        "os.setgid(12345); os.setuid(12345)\n"
        "try: Vault.open(Path(sys.argv[1]), {})\nexcept VaultError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(short_dir)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "belongs to another user (uid 0)" in done.stdout
