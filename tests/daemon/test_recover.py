"""The house has burnt down: what is left is the recovery kit, a news server, and perhaps the folder itself."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.daemon.commands import ctl
from tests.daemon.harness import REPOSITORY, DaemonProcess, World, assert_restored, until

# Stripes by what they are made of, not by the numbers of rows.
PROTECTED = (
    "SELECT s.data, s.parity, s.length, hex(g.seg_id) FROM stripe s JOIN stripe_member m ON m.stripe_id = s.id "
    "JOIN segment g ON g.id = m.segment_id WHERE s.state = 2 ORDER BY s.id, m.position"
)
DATA = "SELECT hex(seg_id), epoch FROM segment WHERE kind = 1"


def kit_of(daemon: DaemonProcess) -> str:
    until(lambda: bool(daemon.events("directory_published")), 60.0, daemon.tail)
    called = ctl(daemon, "kit", "show", "--yes")
    assert called.code == 0, called
    return called.out.strip()


def recover(daemon: DaemonProcess, kit: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "usenetsyncd.cli.usenetsyncd", "recover", "--kit", "-"]
    return subprocess.run(
        [*command, "--config", str(daemon.config_file)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "HOME": str(daemon.place)},
        input=kit + "\n",
        capture_output=True,
        text=True,
        timeout=60,
    )


def fill(source: Path) -> None:
    (source / "sub" / "deep").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "large").write_bytes(os.urandom(2_000_000))
    for number in range(60):
        (source / "sub" / f"small {number}").write_bytes(b"small %d " % number * 40)
    (source / "sub" / "deep" / "nothing").write_bytes(b"")
    (source / "link").symlink_to("large")
    (source / os.fsdecode(b"caf\xe9")).write_bytes(b"not utf-8")


def test_the_kit_brings_catalogue_versions_and_the_right_to_publish_back(here: World) -> None:
    fill(here.source)
    one = here.daemon().start()
    one.wait_idle()
    (here.source / "second").write_bytes(b"of version 2" * 9_000)
    one.wait_idle()
    string = one.share()
    one.wait_idle()
    kit = kit_of(one)
    assert kit.startswith("usyncrcvr1")
    assert kit not in one.log_file.read_text()
    one.stop()
    shutil.rmtree(one.data_dir)
    posts = here.posts()

    done = recover(one, kit)
    assert done.returncode == 0, done
    assert "src: version 2 of 2, 64 files" in done.stdout
    assert "the strings of shares" in done.stderr
    assert kit not in done.stdout + done.stderr
    # A second time there is an installation, and it stays as it is.
    again = recover(one, kit)
    assert again.returncode == 2, again
    assert "there already" in again.stderr

    one.start()
    one.wait_idle()
    assert (one.folder()["version"], one.folder()["files"], one.folder()["state"]) == (2, 64, "up_to_date")
    assert one.get("/catalogue/check?full=true")["problems"] == []
    # The directory may be posted once more; of the folder nothing is.
    assert here.posts() <= posts + 2
    (here.source / "third").write_bytes(b"of version 3" * 9_000)
    one.wait_idle()
    assert one.folder()["version"] == 3
    assert here.posts() <= posts + 2 + 4, "the new file, pages, head"
    here.assert_posted_once()
    # Whoever had a string before goes on reading, and a new share reads as well.
    reader = here.reader().start()
    assert_restored(reader, string, here.source, here.place / "out")
    renewed = one.share()
    one.wait_idle()
    assert_restored(reader, renewed, here.source, here.place / "out2")
    assert [version["version"] for version in one.get("/folders/src/versions")["versions"]] == [3, 2, 1]


def test_without_the_folder_on_disk_nothing_is_published_and_all_can_be_restored(here: World) -> None:
    fill(here.source)
    one = here.daemon().start()
    one.wait_idle()
    kit = kit_of(one)
    one.stop()
    shutil.rmtree(one.data_dir)
    here.source.rename(here.place / "kept")
    here.source.mkdir()
    assert recover(one, kit).returncode == 0
    one.start()
    until(lambda: one.folder()["state"] == "held", 30.0, one.tail)
    job = one.wait_job(one.begin_restore("src", here.place / "out"))
    assert job["state"] == "done", job
    assert job["result"]["failed"] == 0


def test_a_mistyped_kit_or_an_unknown_one_is_told_apart(here: World) -> None:
    one = here.daemon()
    other = here.daemon("other")
    wrong = recover(one, "usyncrcvr1" + "q" * 59)
    assert wrong.returncode == 2
    assert "checksum" in wrong.stderr
    assert not (one.data_dir / "vault").exists()
    other.config["folders"] = []
    other.write_config()
    other.start()
    called = ctl(other, "kit", "show", "--yes")
    assert called.code == 3, "nothing is on the servers that it would find"
    unknown = recover(one, called.out.strip())
    assert unknown.returncode == 5, unknown
    assert "no server has a list of folders" in unknown.stderr


def test_epochs_and_parity_come_back_too(here: World) -> None:
    fill(here.source)
    redundancy = {"copies": 1, "parity": "50%", "parity_after": "1s"}
    one = here.daemon(defaults={"settle": "0.3s", "redundancy": redundancy}).start()
    one.wait_idle()
    share = one.post("/shares", {"folder": "src", "access": "public"})
    one.wait_idle()
    one.post(f"/shares/{share['share_id']}/revoke")
    one.wait_idle()
    (here.source / "of epoch 2").write_bytes(os.urandom(900_000))
    one.wait_idle()
    kit = kit_of(one)
    one.wait_idle()
    one.stop()
    with contextlib.closing(one.catalogue()) as known:
        before = known.execute(PROTECTED).fetchall()
    assert before, "there are stripes"
    shutil.rmtree(one.data_dir)

    assert recover(one, kit).returncode == 0
    with contextlib.closing(one.catalogue()) as known:
        assert known.execute(PROTECTED).fetchall() == before
        data = set(known.execute(DATA))
        assert {epoch for _, epoch in data} == {1, 2}
    one.start()
    one.wait_idle()
    with contextlib.closing(one.catalogue()) as known:
        # A stripe that no head had told of may be made anew; of the files nothing is.
        assert set(known.execute(DATA)) == data
    here.assert_posted_once()
    job = one.wait_job(int(one.post("/verify", {"folder": "src", "full": True})["id"]))
    assert (job["result"]["missing"], job["result"]["corrupt"]) == (0, 0), job
    (here.source / "later").write_bytes(b"later" * 30_000)
    one.wait_idle()
    string = one.share()
    one.wait_idle()
    assert_restored(here.reader().start(), string, here.source, here.place / "out")
