"""When somebody is told, and when not."""

from usenetsyncd.daemon.alarm import APART_S, LASTS_S, OVER_S, Alarm, Level, Reason

DAY = 86_400.0
SERVER = Reason("server:main", Level.WARNING, "main: resting", "usyncctl server test main")
HELD = Reason("held:docs", Level.ERROR, "docs: 31% of files deleted", "usyncctl folder review docs")
AT = 1_800_000_000.0


def run(
    alarm: Alarm, start: float, seconds: float, *reasons: Reason, every: float = 20.0
) -> list[tuple[float, str]]:
    """(after how many seconds, kind) of what was told while things were so."""
    told = []
    at = 0.0
    while at <= seconds:
        alert = alarm.look(start + at, reasons)
        if alert is not None:
            told.append((at, alert.kind))
        at += every
    return told


def test_what_lasts_is_told_once_and_repeated_after_a_day() -> None:
    assert run(Alarm(DAY), AT, 2.5 * DAY, SERVER) == [
        (LASTS_S, "warning"),
        (LASTS_S + DAY, "warning"),
        (LASTS_S + 2 * DAY, "warning"),
    ]


def test_without_repeat_it_is_told_once() -> None:
    assert len(run(Alarm(0.0), AT, 3 * DAY, SERVER, every=600)) == 1


def test_a_hiccup_is_not_told() -> None:
    alarm = Alarm(DAY)
    for minute in range(60):
        assert run(alarm, AT + 120 * minute, 40, SERVER) == []
        assert run(alarm, AT + 120 * minute + 60, 40) == []


def test_what_comes_and_goes_is_told_once_and_not_every_minute() -> None:
    alarm = Alarm(DAY)
    told = []
    for round_ in range(30):
        told += run(alarm, AT + 300 * round_, 140, SERVER)
        told += run(alarm, AT + 300 * round_ + 160, 120)
    assert [kind for _, kind in told] == ["warning"]


def test_recovery_is_told_when_it_lasts() -> None:
    alarm = Alarm(DAY)
    run(alarm, AT, 120, SERVER)
    assert run(alarm, AT + 140, 3_600) == [(OVER_S, "recovered")]
    assert run(alarm, AT + 4_000, DAY) == []


def test_worse_is_told_at_once_and_another_of_the_same_kind_a_while_later() -> None:
    alarm = Alarm(DAY)
    run(alarm, AT, 120, SERVER)
    assert run(alarm, AT + 140, 200, SERVER, HELD) == [(LASTS_S, "error")]
    other = Reason("watch:docs", Level.WARNING, "docs: 3 of 9 folders watched")
    (told,) = run(alarm, AT + 360, 2 * APART_S, SERVER, HELD, other)
    assert told[0] >= APART_S - 200


def test_figures_that_change_are_no_news() -> None:
    alarm = Alarm(DAY)
    run(alarm, AT, 120, SERVER)
    for second in range(140, 7_200, 20):
        changing = Reason(SERVER.key, SERVER.level, f"main: resting for {second} s")
        assert alarm.look(AT + second, [changing]) is None


def test_a_restart_tells_nothing_anew() -> None:
    before = Alarm(DAY)
    run(before, AT, 120, SERVER)
    after = Alarm(DAY, dict(before.told), before.sent_at)
    assert run(after, AT + 200, 3_600, SERVER) == []


def test_all_reasons_are_in_one_message_the_worst_first() -> None:
    alarm = Alarm(DAY)
    alarm.look(AT, [SERVER, HELD])
    alert = alarm.look(AT + LASTS_S, [SERVER, HELD])
    assert alert is not None
    assert alert.body.index("docs: 31%") < alert.body.index("main: resting")
    assert "usyncctl folder review docs" in alert.body
