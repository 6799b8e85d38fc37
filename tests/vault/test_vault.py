import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from usenetsyncd.errors import ExitCode, VaultError, Verdict
from usenetsyncd.telemetry.redaction import redact_text
from usenetsyncd.vault.vault import Vault


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def refusal(data_dir: Path) -> str:
    with pytest.raises(VaultError) as caught:
        Vault.open(data_dir, {})
    return str(caught.value)


def test_the_master_is_made_once_and_is_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        vault = Vault.open(tmp_path / "state" / "deep", {})
    finally:
        os.umask(before)
    assert len(vault.master()) == 32
    assert Vault.open(tmp_path / "state" / "deep", {}).master() == vault.master()
    assert mode(vault.directory) == 0o700
    assert {path.name: mode(path) for path in vault.directory.iterdir()} == {
        "master.key": 0o600,
        ".lock": 0o600,
    }


def test_two_installations_have_different_masters(tmp_path: Path) -> None:
    assert Vault.open(tmp_path / "a", {}).master() != Vault.open(tmp_path / "b", {}).master()


def test_many_that_open_a_new_vault_at_once_agree_on_one_master(tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(Vault.open(tmp_path, {}).master())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize("kept_bytes", [0, 1, 32, 63])
def test_a_master_that_was_cut_is_an_error_and_stays_as_it_is(tmp_path: Path, kept_bytes: int) -> None:
    path = Vault.open(tmp_path, {}).directory / "master.key"
    cut = path.read_bytes()[:kept_bytes]
    path.write_bytes(cut)
    assert "is damaged" in refusal(tmp_path)
    assert path.read_bytes() == cut


def test_a_master_with_a_flipped_bit_is_an_error(tmp_path: Path) -> None:
    path = Vault.open(tmp_path, {}).directory / "master.key"
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        refusal(tmp_path)
    path.write_bytes(whole + b"x")
    assert "longer than it can be" in refusal(tmp_path)


def test_a_missing_master_beside_credentials_is_never_replaced(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path, {})
    vault.credentials.set("main", "x")
    (vault.directory / "master.key").unlink()
    text = refusal(tmp_path)
    assert "master.key is missing although" in text
    assert "recover --kit" in text
    assert not (vault.directory / "master.key").exists()


@pytest.mark.parametrize("name", ["catalogue.sqlite", "catalogue", "state.db"])
def test_a_missing_master_beside_a_catalogue_is_never_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert f"although {tmp_path / name} is there" in refusal(tmp_path)


def test_a_lock_file_or_a_log_beside_it_does_not_look_like_a_lost_master(tmp_path: Path) -> None:
    (tmp_path / "usenetsyncd.lock").write_text("1")
    (tmp_path / "log").mkdir()
    assert len(Vault.open(tmp_path, {}).master()) == 32


def test_what_a_killed_process_left_half_written_is_swept(tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir(mode=0o700)
    (tmp_path / "vault" / ".new-1-abc").write_bytes(b"half")
    vault = Vault.open(tmp_path, {})
    assert sorted(path.name for path in vault.directory.iterdir()) == [".lock", "master.key"]


@pytest.mark.parametrize(("name", "open_mode", "right"), [("master.key", 0o644, "600"), ("", 0o755, "700")])
def test_keys_that_others_may_read_are_refused_with_what_to_run(
    tmp_path: Path, name: str, open_mode: int, right: str
) -> None:
    path = Vault.open(tmp_path, {}).directory / name
    path.chmod(open_mode)
    text = refusal(tmp_path)
    assert f"others may read it (mode 0{open_mode:o}); run: chmod {right} {path}".rstrip("/") in text
    path.chmod(int(right, 8))
    assert Vault.open(tmp_path, {})


def test_traps_in_the_place_of_the_key_are_refused(tmp_path: Path) -> None:
    path = Vault.open(tmp_path, {}).directory / "master.key"
    moved = path.rename(tmp_path / "elsewhere")
    path.symlink_to(moved)
    assert "cannot be used" in refusal(tmp_path)
    path.unlink()
    path.mkdir()
    refusal(tmp_path)
    path.rmdir()
    os.mkfifo(path, 0o600)
    assert "not a regular file" in refusal(tmp_path)


def test_a_vault_that_cannot_be_used_stops_the_daemon_for_good(tmp_path: Path) -> None:
    (tmp_path / "vault").write_text("")
    with pytest.raises(VaultError, match="is not a directory") as caught:
        Vault.open(tmp_path, {})
    assert caught.value.verdict is Verdict.STOP
    assert caught.value.exit_code is ExitCode.CONFIGURATION


def test_recovery_puts_a_known_master_into_a_new_vault_only(tmp_path: Path) -> None:
    master = bytes(range(32))
    assert Vault.create(tmp_path, master, {}).master() == master
    assert Vault.open(tmp_path, {}).master() == master
    with pytest.raises(VaultError, match="never overwritten"):
        Vault.create(tmp_path, bytes(32), {})
    with pytest.raises(VaultError, match="32 bytes"):
        Vault.create(tmp_path / "other", b"short", {})


def test_a_sealed_secret_opens_with_its_context_under_the_same_master_only(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path / "a", {})
    sealed = vault.seal_secret(b"share secret", b"share 1")
    assert b"share secret" not in sealed
    assert sealed != vault.seal_secret(b"share secret", b"share 1")
    assert Vault.open(tmp_path / "a", {}).open_secret(sealed, b"share 1") == b"share secret"
    with pytest.raises(VaultError):
        vault.open_secret(sealed, b"share 2")
    with pytest.raises(VaultError):
        Vault.open(tmp_path / "b", {}).open_secret(sealed, b"share 1")


def test_a_catalogue_restored_with_the_kit_opens_its_secrets(tmp_path: Path) -> None:
    old = Vault.open(tmp_path / "old", {})
    sealed = old.seal_secret(b"x", b"c")
    assert Vault.create(tmp_path / "new", old.master(), {}).open_secret(sealed, b"c") == b"x"


def test_a_sealed_secret_that_was_altered_does_not_open(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path, {})
    sealed = vault.seal_secret(b"x")
    for position in range(len(sealed)):
        with pytest.raises(VaultError):
            vault.open_secret(sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :])
    for length in range(len(sealed)):
        with pytest.raises(VaultError):
            vault.open_secret(sealed[:length])


def test_the_master_shows_neither_in_logs_nor_in_a_representation(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path, {})
    assert vault.master().hex() not in redact_text(f"key {vault.master().hex()}")
    assert repr(vault) == f"Vault('{tmp_path}/vault')"


KILLED = """
import os, sys
from pathlib import Path
from usenetsyncd.vault import files
step = int(sys.argv[2])
calls = 0
def dies(name):
    real = getattr(os, name)
    def call(*arguments, **named):
        global calls
        calls += 1
        if calls == step: os._exit(9)
        return real(*arguments, **named)
    return call
for name in ("fsync", "link", "replace", "unlink", "mkdir"): setattr(os, name, dies(name))
from usenetsyncd.vault.vault import Vault
vault = Vault.open(Path(sys.argv[1]), {})
vault.credentials.set("main", "new")
"""


@pytest.mark.parametrize("step", range(1, 9))
def test_a_kill_at_any_step_loses_neither_the_master_nor_a_credential(tmp_path: Path, step: int) -> None:
    before = Vault.open(tmp_path / "used", {})
    before.credentials.set("main", "old")
    for data_dir in (tmp_path / "used", tmp_path / "new"):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(data_dir), str(step)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode in (0, 9), done.stderr
        vault = Vault.open(data_dir, {})
        assert all(credential.name == "main" for credential in vault.credentials.list())
        vault.credentials.set("other", "x")
        assert vault.credentials.get("other") == "x"
    assert Vault.open(tmp_path / "used", {}).master() == before.master()
    assert before.credentials.get("main") in ("old", "new")
