"""What the spool took it keeps: over a restart, over a kill, and no id twice."""

from pathlib import Path

import pytest

from tests.plugins.clock import FakeClock
from usenetsyncd.loopback.spool import Overview, Spool


def an_overview(message_id: str) -> Overview:
    return Overview("subject", "poster", "a date", message_id, "", 9, 1)


def put(
    spool: Spool, message_id: str, *groups: str, wire: bytes = b"A: b\r\n\r\nc\r\n", hide_s: float = 0.0
) -> None:
    assert spool.claim(message_id)
    spool.add(an_overview(message_id), list(groups or ("alt.a",)), [wire[:3], wire[3:]], hide_s)


def test_articles_groups_and_numbers_survive_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    put(spool, "<1@x>")
    put(spool, "<2@x>", "alt.a", "alt.b")
    put(spool, "<3@x>")
    spool.remove("<1@x>")
    before = (spool.message_ids(), spool.groups(), spool.numbered("alt.a", 0, None), spool.find("<2@x>"))
    spool.close()
    again = Spool(tmp_path)
    assert (
        again.message_ids(),
        again.groups(),
        again.numbered("alt.a", 0, None),
        again.find("<2@x>"),
    ) == before
    assert before[1] == {"alt.a": (2, 3), "alt.b": (1, 1)}
    assert again.read("<3@x>") == b"A: b\r\n\r\nc\r\n"
    assert not again.claim("<1@x>")
    again.close()


def test_a_number_is_never_given_twice_even_after_everything_was_removed(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    put(spool, "<1@x>")
    put(spool, "<2@x>")
    spool.remove("<1@x>")
    spool.remove("<2@x>")
    spool.close()
    again = Spool(tmp_path)
    put(again, "<3@x>")
    assert again.groups() == {"alt.a": (3, 3)}
    again.close()


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_journal_that_was_cut_off_loses_only_its_last_line(tmp_path: Path, cut: int) -> None:
    spool = Spool(tmp_path)
    put(spool, "<1@x>")
    put(spool, "<2@x>")
    spool.close()
    journal = tmp_path / "journal"
    journal.write_bytes(journal.read_bytes()[:-cut])
    (tmp_path / "incoming" / "left-over").write_bytes(b"half an art")
    again = Spool(tmp_path)
    assert again.message_ids() == ["<1@x>"]
    put(again, "<2@x>")
    again.close()
    last = Spool(tmp_path)
    assert last.message_ids() == ["<1@x>", "<2@x>"]
    assert list((tmp_path / "incoming").iterdir()) == []
    last.close()


def test_an_id_can_be_claimed_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert spool.claim("<1@x>")
    assert not spool.claim("<1@x>")
    spool.forget("<1@x>")
    spool.close()
    again = Spool(tmp_path)
    assert not again.claim("<1@x>")
    again.close()


def test_a_write_that_fails_gives_the_id_back(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (tmp_path / "incoming").rmdir()
    assert spool.claim("<1@x>")
    with pytest.raises(OSError, match="No such file"):
        spool.add(an_overview("<1@x>"), ["alt.a"], [b"x"])
    assert spool.claim("<1@x>")
    assert spool.find("<1@x>") is None
    spool.close()


def test_a_hidden_article_appears_when_its_time_has_come(tmp_path: Path, clock: FakeClock) -> None:
    spool = Spool(tmp_path, clock)
    put(spool, "<1@x>", hide_s=30)
    assert spool.find("<1@x>") is None
    assert spool.numbered("alt.a", 0, None) == spool.numbered("alt.a", 1, 1) == []
    clock.advance(31)
    assert spool.find("<1@x>") is not None
    assert spool.numbered("alt.a", 0, None) == spool.numbered("alt.a", 1, 1) == [(1, "<1@x>")]
    spool.close()


def test_odd_message_ids_and_text_that_is_not_utf8_are_kept(tmp_path: Path) -> None:
    odd = "</../../etc/passwd@x>"
    spool = Spool(tmp_path)
    assert spool.claim(odd)
    subject = b"gr\xfc\xdf".decode("utf-8", "surrogateescape")
    spool.add(Overview(subject, "p", "d", odd, "", 1, 1), ["alt.a"], [b"x"])
    spool.close()
    again = Spool(tmp_path)
    found = again.find(odd)
    assert found is not None
    assert found.overview.subject == subject
    assert again.read(odd) == b"x"
    again.close()
