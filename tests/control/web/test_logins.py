"""Who gets in: links that work once, sessions that end, passwords that cannot be guessed quickly."""

from tests.plugins.clock import FakeClock
from usenetsyncd.control.web.logins import (
    FREE_TRIES,
    IDLE_S,
    LINK_VALID_S,
    LOCKED_S,
    LONGEST_S,
    MAX_LINKS,
    MAX_SESSIONS,
    Logins,
)


def entered(logins: Logins) -> str:
    cookie = logins.enter(logins.new_link())
    assert cookie is not None
    return cookie


def test_a_link_opens_one_session_once(clock: FakeClock) -> None:
    logins = Logins(clock)
    word = logins.new_link()
    cookie = logins.enter(word)
    assert logins.session(cookie) is not None
    assert logins.enter(word) is None
    assert logins.session(word) is None
    assert logins.enter("") is None
    assert logins.session(None) is None


def test_a_link_and_an_idle_session_end(clock: FakeClock) -> None:
    logins = Logins(clock)
    word, cookie = logins.new_link(), entered(logins)
    clock.advance(LINK_VALID_S)
    assert logins.enter(word) is None
    clock.advance(IDLE_S - LINK_VALID_S - 1)
    assert logins.session(cookie) is not None
    clock.advance(IDLE_S)
    assert logins.session(cookie) is None


def test_a_session_that_is_used_ends_after_a_week_all_the_same(clock: FakeClock) -> None:
    logins = Logins(clock)
    cookie = entered(logins)
    for _ in range(int(LONGEST_S / 3_600) - 1):
        clock.advance(3_600)
        assert logins.session(cookie) is not None
    clock.advance(3_600)
    assert logins.session(cookie) is None


def test_looking_by_itself_is_not_using(clock: FakeClock) -> None:
    logins = Logins(clock)
    cookie = entered(logins)
    session = logins.session(cookie)
    clock.advance(IDLE_S - 1)
    assert logins.session(cookie, use=False) is session
    assert logins.holds(session)
    clock.advance(1)
    assert logins.session(cookie, use=False) is None
    assert not logins.holds(session)


def test_leaving_ends_one_session_and_another_password_all(clock: FakeClock) -> None:
    logins = Logins(clock)
    one, two, link = entered(logins), entered(logins), logins.new_link()
    logins.leave(one)
    assert logins.session(one) is None
    assert logins.session(two) is not None
    logins.end_all()
    assert logins.session(two) is None
    assert logins.enter(link) is None


def test_there_are_never_more_than_so_many(clock: FakeClock) -> None:
    logins = Logins(clock)
    first_link = logins.new_link()
    for _ in range(MAX_LINKS):
        logins.new_link()
    assert logins.enter(first_link) is None
    cookies = [entered(logins) for _ in range(MAX_SESSIONS + 1)]
    kept = [cookie for cookie in cookies if logins.session(cookie) is not None]
    assert len(kept) == MAX_SESSIONS


def test_wrong_passwords_lock_the_door_for_longer_and_longer(clock: FakeClock) -> None:
    logins = Logins(clock)

    def right() -> str:
        return "correct horse"

    for _ in range(FREE_TRIES):
        assert logins.enter_by_password("battery", right) is None
    assert logins.locked_s() == LOCKED_S
    assert logins.enter_by_password("correct horse", right) is None, "not even the right one"
    clock.advance(LOCKED_S)
    assert logins.enter_by_password("battery", right) is None
    assert logins.locked_s() == 2 * LOCKED_S
    clock.advance(2 * LOCKED_S)
    assert logins.enter_by_password("correct horse", right) is not None
    assert logins.locked_s() == 0


def test_without_a_password_none_is_right(clock: FakeClock) -> None:
    logins = Logins(clock)
    assert logins.enter_by_password("", lambda: "") is None
    assert logins.enter_by_password("", lambda: None) is None


def test_what_is_told_is_told_once(clock: FakeClock) -> None:
    logins = Logins(clock)
    session = logins.session(entered(logins))
    assert session is not None
    for number in range(20):
        session.tell("done", str(number))
    assert [text for _, text in session.take_notes()] == [str(number) for number in range(12, 20)]
    assert session.take_notes() == []
