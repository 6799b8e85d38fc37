"""A fault file says what happens and when; a mistake in it is shown with its line."""

from pathlib import Path
from typing import Any

import pytest

from usenetsyncd.errors import ConfigurationError
from usenetsyncd.loopback.faults import NO_EFFECTS, Damage, FaultRules, Occasion

DELAY = {"delay": 1}


def fires(match: dict[str, Any], *occasions: Occasion, seed: int = 0) -> list[bool]:
    rules = FaultRules([{"match": match, "act": DELAY}], seed)
    return [rules.effects(occasion).delay == 1 for occasion in occasions]


def posts(count: int) -> list[Occasion]:
    return [Occasion("POST", 1, "", f"<{n}@x>", ("alt.a", "alt.b")) for n in range(count)]


def test_a_rule_without_a_match_fires_always() -> None:
    assert fires({}, *posts(2), Occasion("DATE", 9)) == [True, True, True]


def test_every_after_and_times_work_together() -> None:
    assert fires({"every": 3}, *posts(7)) == [False, False, True, False, False, True, False]
    assert fires({"after": 2, "times": 1}, *posts(4)) == [False, False, True, False]
    assert fires({"after": 1, "every": 2, "times": 1}, *posts(6)) == [False, False, True, False, False, False]


def test_only_occasions_that_match_are_counted() -> None:
    dates = [Occasion("DATE", 1), Occasion("STAT", 1)] * 2
    assert fires({"command": "stat", "every": 2}, *dates) == [False, False, False, True]


def test_a_command_may_be_one_of_several_or_name_its_argument() -> None:
    asked = [Occasion("AUTHINFO", 1, "USER"), Occasion("AUTHINFO", 1, "PASS"), Occasion("BODY", 1, "<A@B>")]
    assert fires({"command": "authinfo pass"}, *asked) == [False, True, False]
    assert fires({"command": ["BODY", "AUTHINFO USER"]}, *asked) == [True, False, True]


def test_ids_groups_and_connections_are_matched() -> None:
    assert fires({"message_id": "<1*@x>"}, *posts(3)) == [False, True, False]
    assert fires({"message_id": "<[1]@x>"}, *posts(3)) == [False, False, False]
    assert fires({"group": "*.b"}, *posts(1)) == [True]
    assert fires({"group": "*.c"}, *posts(1)) == [False]
    assert fires({"connection": 2}, Occasion("DATE", 1), Occasion("DATE", 2)) == [False, True]


def test_probability_is_repeatable_with_a_seed() -> None:
    first = fires({"probability": 0.5}, *posts(200), seed=3)
    assert first == fires({"probability": 0.5}, *posts(200), seed=3)
    assert first != fires({"probability": 0.5}, *posts(200), seed=4)
    assert 60 < sum(first) < 140
    assert not any(fires({"probability": 0}, *posts(20)))


def test_acts_of_several_rules_add_up_and_the_first_decides() -> None:
    rules = FaultRules([{"act": {"delay": 1}}, {"act": {"delay": 2, "hide": 3}}, {"act": {"corrupt": "cut"}}])
    effects = rules.effects(posts(1)[0])
    assert (effects.delay, effects.hide, effects.corrupt, effects.reply) == (1, 3, Damage.CUT, None)


def test_rules_can_be_changed_and_cleared_while_in_use() -> None:
    rules = FaultRules()
    assert not rules
    assert rules.effects(posts(1)[0]) is NO_EFFECTS
    rules.set([{"name": "late", "act": DELAY}, {"act": DELAY, "match": {"command": "DATE"}}])
    rules.effects(posts(1)[0])
    assert rules.fired() == {"late": 1, "rule 2": 0}
    rules.clear()
    assert rules.effects(posts(1)[0]) is NO_EFFECTS


def test_a_mistake_leaves_the_old_rules_in_force() -> None:
    rules = FaultRules([{"act": DELAY}])
    with pytest.raises(ConfigurationError, match=r"rules\[0\]\.act\.bogus"):
        rules.set([{"act": {"bogus": 1}}])
    assert rules.effects(posts(1)[0]).delay == 1


FILE = """\
# lost now and then
seed: 7
rules:
  - name: lost
    match: {command: POST, group: "alt.*", every: 2}
    act:
      drop_after_240: true
  - match:
      command: [STAT, BODY]
      times: 1
    act: {reply: {code: 430, text: gone}, delay: 0.5}
  - act: {limit_connections: {max: 3}, corrupt: flip}
"""


def test_a_fault_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(FILE)
    rules = FaultRules.load(path)
    assert [rules.effects(occasion).drop_after_240 for occasion in posts(3)] == [False, True, False]
    effects = rules.effects(Occasion("STAT", 1))
    assert effects.reply is not None
    assert (effects.reply.code, effects.reply.text, effects.delay) == (430, "gone", 0.5)
    limit = effects.limit_connections
    assert limit is not None
    assert (limit.max, limit.code, limit.text) == (3, 502, "Too many connections")


@pytest.mark.parametrize("text", ["", "# nothing\n", "rules: []\n"])
def test_an_empty_fault_file_has_no_faults(tmp_path: Path, text: str) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    assert not FaultRules.load(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("every: 2", "every: two", ":5: rules[0].match.every: Input should be a valid integer"),
        ("every: 2", "every: 0", ":5: rules[0].match.every: Input should be greater"),
        ("drop_after_240: true", "drop_after_241: true", ":7: rules[0].act.drop_after_241: Extra inputs"),
        ("drop_after_240: true", "cut_article_at: 5", ":4: rules[0]: cut_article_at needs"),
        ("      times: 1", "      times: 1\n      tmies: 1", ":11: rules[1].match.tmies: Extra inputs"),
        ("code: 430", "code: 4300", ":11: rules[1].act.reply.code: Input should be less"),
        ("corrupt: flip", "corrupt: flop", ":12: rules[2].act.corrupt: Input should be"),
        (
            "  - act: {limit_connections: {max: 3}, corrupt: flip}",
            "  - act: {}",
            ":12: rules[2]: a rule must do something",
        ),
        ("seed: 7", "seed: [", ":"),
        ("seed: 7", "sede: 7", ":2: sede: Extra inputs"),
        ("seed: 7\nrules:", "seed: 7\nrules: 3\nothers:", ":3: rules: Input should be a valid tuple"),
    ],
)
def test_a_mistake_is_shown_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in FILE
    path = tmp_path / "faults.yaml"
    path.write_text(FILE.replace(old, new))
    with pytest.raises(ConfigurationError) as refused:
        FaultRules.load(path)
    assert f"{path}{said}" in str(refused.value)


def test_a_fault_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml"):
        FaultRules.load(tmp_path / "nowhere.yaml")
