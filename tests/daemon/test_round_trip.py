"""A folder goes out, and comes back on another machine."""

import json
import os
import random
from contextlib import closing

import pytest

from tests.daemon.harness import Refused, World, assert_restored
from tests.daemon.trees import write_files

SOMEBODY = 54_321


def test_a_folder_comes_back_from_the_string_alone(here: World) -> None:
    write_files(here.source, 300, random.Random(1))
    (here.source / "large").write_bytes(os.urandom(3_000_000))
    (here.source / "empty folder").mkdir()
    os.link(here.source / "large", here.source / "large too")
    os.symlink("large", here.source / "to large")
    one = here.daemon().start()
    one.wait_idle()
    string = one.share()
    one.wait_idle()
    assert one.folder()["state"] == "up_to_date"
    assert one.folder()["version"] == 1
    here.assert_posted_once()
    two = here.reader().start()
    assert_restored(two, string, here.source, here.place / "out")
    with closing(two.catalogue()) as catalogue:
        ((kept,),) = catalogue.execute("SELECT params FROM job").fetchall()
    assert json.loads(kept).keys() == {"asked", "paths", "target", "overwrite", "dry_run", "owner"}

    # The next question comes at once: nothing may be called idle while an event is still on its way.
    (here.source / "folder 000" / "late").write_bytes(b"written a moment ago")
    one.wait_idle()
    assert one.folder()["version"] == 2
    assert_restored(two, string, here.source, here.place / "out2")
    here.assert_posted_once()
    assert one.stop() == 0
    assert two.stop() == 0


def test_a_restore_goes_into_restored_below_the_state_and_nowhere_else_there(here: World) -> None:
    write_files(here.source, 3, random.Random(1))
    one = here.daemon().start()
    one.wait_idle()
    string = one.share()
    one.wait_idle()
    for place in ("", "restoredbut", "vault", "restored/../vault"):
        with pytest.raises(Refused) as refused:
            one.begin_restore(string, one.data_dir / place)
        assert "own state" in str(refused.value)
    (one.data_dir / "restored").mkdir()
    assert_restored(one, string, here.source, one.data_dir / "restored" / "src")
    assert one.stop() == 0


def test_the_plan_of_a_restore_that_failed_does_not_stay(here: World) -> None:
    write_files(here.source, 3, random.Random(1))
    one = here.daemon().start()
    one.wait_idle()
    wall = here.place / "wall"
    wall.write_text("a file where the target should be")
    failed = one.wait_job(one.begin_restore("src", wall / "out"))
    assert failed["state"] == "failed"
    plans = one.data_dir / "restores"
    assert [left.name for left in plans.iterdir()] == [f"restore-{failed['id']}.plan"]
    assert_restored(one, "src", here.source, here.place / "out")
    assert list(plans.iterdir()) == []
    assert one.stop() == 0


@pytest.mark.requires("root")
def test_owners_come_back_where_they_are_asked_for(here: World) -> None:
    write_files(here.source, 2, random.Random(1))
    file = here.source / "theirs"
    file.write_bytes(b"of somebody")
    os.chown(file, SOMEBODY, SOMEBODY)
    one = here.daemon()
    one.config["defaults"]["metadata"] = {"owner": True}
    one.write_config()
    one.start()
    one.wait_idle()
    for owner, uid in ((False, os.geteuid()), (True, SOMEBODY)):
        target = here.place / f"out {owner}"
        job = one.wait_job(one.begin_restore("src", target, owner=owner))
        assert (job["state"], job["result"]["failed"], job["result"]["warnings"]) == ("done", 0, [])
        assert (target / "theirs").stat().st_uid == uid
    assert one.stop() == 0
