"""Editing the list of folders in a file that belongs to a person."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.errors import ConfigurationError, NotFound, UsageError
from usenetsyncd.settings import packaged
from usenetsyncd.settings.edit import add_folder, file_of_folders, remove_folder
from usenetsyncd.settings.layers import load_settings

ROOT = Path(__file__).parents[2]

BLOCK = """\
# mine
version: 1
folders:            # what is kept
  - {id: docs, path: /srv/docs}   # the id stays
  - id: photos
    path: /srv/photos
    ignore:
      - "*.tmp"     # scratch
  # the next one is for later
  # - {id: later, path: /srv/later}

limits:
  upload: 8 MB/s    # slow line
"""
FORMS = {
    "block": BLOCK,
    "without a line break at the end": "folders:\n- id: docs\n  path: /srv/docs",
    "dash under the key": "version: 1\nfolders:\n- {id: docs, path: /srv/docs}\nlimits: {upload: 0}\n",
    "flow": "folders: [{id: docs, path: /srv/docs}] # all\nversion: 1\n",
    "flow over lines": "folders: [\n  {id: docs, path: /srv/docs}, # first\n]\nversion: 1\n",
    "empty list": "version: 1\nfolders: []   # none yet\nlimits: {upload: 0}\n",
    "null": "version: 1\nfolders:\nlimits: {upload: 0}\n",
    "null with a comment": "version: 1\nfolders:   # none\n\nlimits: {upload: 0}\n",
    "no key": "version: 1\nlimits:\n  upload: 0 # fast\n# the end\n",
    "nothing": "",
    "only a comment": "# nothing yet",
    "end of document": "version: 1\n...\n",
    "CRLF": BLOCK.replace("\n", "\r\n"),
    "empty path at the end": "version: 1\nfolders:\n  - id: docs\n    path: /srv/docs\n    ignore:\n      []\n",
}


@pytest.fixture(params=FORMS.values(), ids=FORMS.keys())
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    file = tmp_path / "usenetsyncd.yaml"
    file.write_bytes(request.param.encode())
    return file


def folders_of(file: Path) -> list[tuple[str, str]]:
    return [(folder.id, folder.path) for folder in load_settings(file, environ={}).settings.folders]


def test_an_added_folder_is_there_and_every_line_that_was_there_still_is(config: Path) -> None:
    before, text = folders_of(config), config.read_bytes().decode()
    add_folder(config, "new", "/srv/new: it's", "low", ["*.bak", "#x"])
    assert folders_of(config) == [*before, ("new", "/srv/new: it's")]
    added = load_settings(config, environ={}).settings.folder("new")
    assert added.ignore == ("*.bak", "#x")
    after = config.read_bytes().decode()
    kept = [line for line in text.splitlines() if not line.startswith(("folders:", "]"))]
    assert all(line in after.splitlines() for line in kept)
    assert all(comment in after for comment in ("# none", "# all", "# first") if comment in text)


def test_adding_and_removing_gives_back_the_same_settings(config: Path) -> None:
    before = load_settings(config, environ={}).settings
    for number in range(3):
        add_folder(config, f"new{number}", f"/srv/new{number}")
    for number in (1, 0, 2):
        remove_folder(config, f"new{number}")
    assert load_settings(config, environ={}).settings == before


def test_every_folder_can_be_removed_and_comments_stay(config: Path) -> None:
    text = config.read_bytes().decode()
    for folder_id, _ in folders_of(config):
        remove_folder(config, folder_id)
    assert folders_of(config) == []
    for comment in ("# mine", "# the next one is for later", "# slow line", "# fast", "# all"):
        assert (comment in text) == (comment in config.read_text())


def test_the_block_reads_as_a_person_would_have_written_it(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(BLOCK)
    add_folder(file, "music", "/srv/music")
    assert file.read_text() == BLOCK.replace(
        '      - "*.tmp"     # scratch\n',
        '      - "*.tmp"     # scratch\n  - {id: music, path: /srv/music}\n',
    )
    remove_folder(file, "photos")
    assert "photos" not in file.read_text()
    assert "  - {id: docs, path: /srv/docs}   # the id stays\n  - {id: music" in file.read_text()


def test_the_example_file_can_be_edited(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(packaged.example_text().encode())
    add_folder(file, "music", "/srv/music")
    assert [name for name, _ in folders_of(file)] == ["docs", "photos", "music"]
    remove_folder(file, "docs")
    assert [name for name, _ in folders_of(file)] == ["photos", "music"]


@pytest.mark.parametrize("path", ["relative", "/srv/docs", "/srv/docs/inside"])
def test_a_folder_that_would_not_be_valid_leaves_the_file_untouched(tmp_path: Path, path: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(BLOCK)
    with pytest.raises(ConfigurationError, match=r"folders\["):
        add_folder(file, "new", path)
    with pytest.raises(UsageError, match="already"):
        add_folder(file, "docs", "/srv/other")
    with pytest.raises(NotFound):
        remove_folder(file, "nobody")
    assert file.read_text() == BLOCK


def test_a_file_written_as_one_flow_mapping_is_left_to_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("{version: 1, folders: []}\n")
    with pytest.raises(
        ConfigurationError, match=r"add this under `folders:` yourself.*\n  - \{id: a, path: /srv/a\}"
    ):
        add_folder(file, "a", "/srv/a")
    assert file.read_text() == "{version: 1, folders: []}\n"


def test_mode_and_symlink_stay_and_no_temporary_is_left(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text(BLOCK)
    real.chmod(0o640)
    link.symlink_to(real)
    add_folder(link, "new", "/srv/new")
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link.yaml", "real.yaml"]


def test_a_file_that_cannot_be_written_says_what_to_write(short_dir: Path) -> None:
    file = short_dir / "c.yaml"
    file.write_text(BLOCK)
    file.chmod(0o444)
    short_dir.chmod(0o555)
    # not by subprocess's user=: the interpreter may stand where only root can start it
    script = "import os, sys; from pathlib import Path; from usenetsyncd.settings.edit import *\n"
    script += "from usenetsyncd.settings.layers import load_settings; load_settings(Path(sys.argv[1]), environ={})\n"
    script += "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    script += (
        "try: add_folder(Path(sys.argv[1]), 'a', '/srv/a')\nexcept FileNotWritable as error: print(error)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    short_dir.chmod(0o755)
    assert "cannot be written (Permission denied)" in told.stdout
    assert "  - {id: a, path: /srv/a}" in told.stdout
    assert file.read_text() == BLOCK


def test_the_file_to_edit_is_the_one_whose_folders_are_in_effect(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(BLOCK)
    assert file_of_folders(load_settings(file, environ={})) == file
    file.write_text("version: 1\n")
    assert file_of_folders(load_settings(file, environ={})) == file
    with pytest.raises(UsageError, match="--set folders"):
        file_of_folders(load_settings(file, ["folders=[{id: a, path: /srv/a}]"], environ={}))


@given(st.text(min_size=1, max_size=30).filter(lambda t: t.isprintable() and t.strip() == t and "/" not in t))
def test_any_printable_path_survives_the_file(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    file = tmp_path_factory.mktemp("any") / "c.yaml"
    file.write_text(BLOCK)
    if name in (".", ".."):
        return
    add_folder(file, "new", f"/data/{name}")
    assert folders_of(file)[-1] == ("new", f"/data/{name}")
