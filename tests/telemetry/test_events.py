import re

from usenetsyncd.telemetry.events import EVENTS, FOLDER_HELD
from usenetsyncd.telemetry.ring import LEVELS


def test_every_event_has_a_constant_name_a_level_and_a_sentence() -> None:
    for name, event in EVENTS.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
        assert event.name == name
        assert event.level in LEVELS
        assert event.tell({})


def test_a_sentence_is_filled_in_and_never_fails() -> None:
    assert FOLDER_HELD.tell({"folder": "docs", "reason": "31% deleted"}) == "docs is held: 31% deleted"
    assert FOLDER_HELD.tell({"folder": "{reason.__class__}"}) == "{reason.__class__} is held: ?"
