import pytest

from usenetsyncd.settings.difference import Change, difference
from usenetsyncd.settings.layers import load_text
from usenetsyncd.settings.packaged import example_text

BASE = example_text()


def changes(*replacements: tuple[str, str]) -> list[Change]:
    text = BASE
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new, 1)
    return difference(load_text(BASE, environ={}).settings, load_text(text, environ={}).settings)


def test_the_same_settings_have_no_difference() -> None:
    assert changes() == []
    assert changes(("settle: 2s", "settle: 2000ms")) == []


@pytest.mark.parametrize(
    ("old", "new", "key", "live"),
    [
        ("upload: 8 MB/s", "upload: 9 MB/s", "limits.upload", True),
        ("level: info", "level: debug", "log.level", True),
        ("{news: warning}", "{news: debug}", "log.components.news", True),
        ("connections: 20", "connections: 9", "servers[main].connections", True),
        ("{max_deleted: 10%}", "{max_deleted: 9%}", "folders[photos].guard.max_deleted", True),
        ("sample: 2%", "sample: 3%", "defaults.verify.sample", True),
        ("127.0.0.1:8734", "127.0.0.1:8735", "web.listen", True),
        ("repeat: 24h", "repeat: 12h", "notify", True),
        ("min_free: 2 GiB", "min_free: 3 GiB", "storage.min_free", True),
        ("data_dir: /var/lib/usenetsyncd", "data_dir: /opt/x", "storage.data_dir", False),
        ("catalogue: sqlite", "catalogue: postgresql://u@h/d", "storage.catalogue", False),
        ("socket: /run/usenetsyncd", "socket: /run/other", "control.socket", False),
        ("group: usenetsync", "group: null", "control.group", False),
        ("{mode: local}", "{mode: celery, broker: 'redis://h/0'}", "cluster.mode", False),
    ],
)
def test_a_change_says_its_key_and_whether_it_takes_a_restart(
    old: str, new: str, key: str, live: bool
) -> None:
    found = changes((old, new))
    assert (found[0].key, found[0].live) == (key, live)
    assert str(found[0]).endswith("(needs a restart)") is not live


def test_a_changed_default_is_not_repeated_for_each_folder_that_inherits_it() -> None:
    assert changes(("settle: 2s", "settle: 5s")) == [Change("defaults.settle", "2s", "5s", live=True)]


def test_folders_and_servers_are_compared_by_name_not_by_position() -> None:
    found = changes(
        ("  - {id: docs, path: /srv/docs}", "  - {id: new, path: /srv/new}\n  - {id: docs, path: /srv/docs}")
    )
    assert [change.key for change in found] == ["folders[new]"]
    assert str(found[0]) == "folders[new]: added"


def test_a_changed_reference_shows_the_reference_only() -> None:
    (change,) = changes(("${credential:main}", "${env:NEWS}"))
    assert str(change) == "servers[main].password: ${credential:main} -> ${env:NEWS}"
