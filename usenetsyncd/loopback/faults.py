"""Faults that the embedded news server plays on request.

A fault file is YAML::

    seed: 7                       # for `probability`; the same seed gives the same faults
    rules:
      - name: lost on the way     # optional, shown in counts
        match: {command: POST, group: "alt.binaries.*", every: 20}
        act: {drop_after_240: true}
      - match: {command: [STAT, BODY], message_id: "<a*@*>", after: 3, times: 2}
        act: {reply: {code: 430}}
      - match: {command: CONNECT, connection: 5}
        act: {delay: 2, reply: {code: 502, text: Too many connections}}

match (all that are given must hold; an empty match holds always):

===========  ==============================================================================================
command      a verb or a list: CONNECT is the greeting, POST an article that has come in whole, POST-BEGIN
             the command before it, "AUTHINFO PASS" and the like name the first argument too; * any
message_id   shell pattern for the message-id, with its angle brackets ([ and ] stand for themselves)
group        shell pattern for any newsgroup of the article, or for the group selected
connection   number of the connection, the first is 1
after        pass over so many matches first
every        then take each n-th match, beginning with the n-th
probability  then throw dice, 0 to 1
times        and stop after so many
===========  ==============================================================================================

act (any number together; where several rules fire, the first one to name an act decides it):

=================  ========================================================================================
delay              wait so many seconds before replying
reply              {code, text}: do nothing, reply this (for POST-BEGIN instead of 340)
lie                {code, text}: do what was asked, but reply this (an article is stored, 441 is said)
close_silently     true: do nothing, close the connection without a reply
cut_reply_at       do what was asked, send so many bytes of the reply, close (0: stored, but no answer)
cut_article_at     POST-BEGIN only: close when so many bytes of the article have come
drop_after_240     true: POST says 240, the article is thrown away; its id counts as used
hide               POST says 240, readers get 430 for so many seconds
corrupt            flip, cut or wrong: in the article as stored (POST) or as sent (ARTICLE, BODY)
rewrite_id         true: POST stores under another message-id and names that one in its 240
swallow_id         true: POST stores under another message-id and says nothing of it in its 240
stat_lie           true: STAT says 223 for an article that is missing, 430 for one that is there
limit_connections  {max, code, text}: with more connections than that, say this and close (CONNECT, AUTHINFO)
slow               so many bytes a second for the reply; at CONNECT for everything the connection sends
endless_line       true: a reply line that never ends
no_final_dot       true: a block without its end
extra_reply        one reply line too many after the right reply
=================  ========================================================================================
"""

import random
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from usenetsyncd.errors import ConfigurationError


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Damage(StrEnum):
    """How an article is corrupted."""

    FLIP = "flip"  # one bit of the body
    CUT = "cut"  # the second half is gone
    WRONG = "wrong"  # another article's body, or a strange one


class Say(_Part):
    """A reply line."""

    code: int = Field(ge=100, le=599)
    text: str = ""


class ConnectionLimit(Say):
    """When to turn a connection away, and with what."""

    code: int = Field(default=502, ge=100, le=599)
    text: str = "Too many connections"
    max: int = Field(ge=0)


def _as_commands(given: object) -> object:
    commands = (given,) if isinstance(given, str) else given
    if isinstance(commands, list | tuple):
        return tuple(c.upper() if isinstance(c, str) else c for c in commands)
    return commands


class Match(_Part):
    """When a rule fires; see the module."""

    command: Annotated[tuple[str, ...], BeforeValidator(_as_commands)] = ("*",)
    message_id: str | None = None
    group: str | None = None
    connection: int | None = Field(default=None, ge=1)
    after: int = Field(default=0, ge=0)
    every: int = Field(default=1, ge=1)
    probability: float | None = Field(default=None, ge=0, le=1)
    times: int | None = Field(default=None, ge=1)


class Effects(_Part):
    """What is done when rules fire; see the module. Without any act: nothing."""

    delay: float = Field(default=0.0, ge=0)
    reply: Say | None = None
    lie: Say | None = None
    close_silently: bool = False
    cut_reply_at: int | None = Field(default=None, ge=0)
    cut_article_at: int | None = Field(default=None, ge=0)
    drop_after_240: bool = False
    hide: float = Field(default=0.0, ge=0)
    corrupt: Annotated[Damage, Field(strict=False)] | None = None
    rewrite_id: bool = False
    swallow_id: bool = False
    stat_lie: bool = False
    limit_connections: ConnectionLimit | None = None
    slow: float | None = Field(default=None, gt=0)
    endless_line: bool = False
    no_final_dot: bool = False
    extra_reply: str | None = Field(default=None, pattern=r"^[^\r\n]*$")


NO_EFFECTS = Effects()


class Rule(_Part):
    """One rule of a fault file."""

    name: str = ""
    match: Match = Match()
    act: Effects

    @model_validator(mode="after")
    def _fits_together(self) -> "Rule":
        if not self.act.model_fields_set:
            raise ValueError("a rule must do something")
        named = self.match.message_id or self.match.group
        if self.act.cut_article_at is not None and (self.match.command != ("POST-BEGIN",) or named):
            raise ValueError(
                "cut_article_at needs `command: POST-BEGIN`, where no message-id or group is known yet"
            )
        return self


class FaultFile(_Part):
    """A whole fault file."""

    seed: int = 0
    rules: Annotated[tuple[Rule, ...], Field(strict=False)] = ()


@dataclass(frozen=True, slots=True)
class Occasion:
    """Something the server is about to do, to which rules may apply."""

    command: str
    connection: int
    argument: str = ""  # the first one, in capitals
    message_id: str = ""
    groups: tuple[str, ...] = ()


class FaultRules:
    """The rules in force; may be changed while the server runs, from any thread."""

    def __init__(self, rules: Sequence[Mapping[str, Any]] = (), seed: int = 0) -> None:
        self._lock = threading.Lock()
        self.set(rules, seed)

    @classmethod
    def load(cls, path: Path) -> "FaultRules":
        """Read a fault file. Raises ConfigurationError, with file and line for each mistake."""
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path}: cannot be read: {error}") from error
        rules = cls()
        rules._use(_parse(text, str(path)))
        return rules

    def set(self, rules: Sequence[Mapping[str, Any]], seed: int = 0) -> None:
        """Put these rules, each as in a fault file, in the place of all others; counts begin anew.

        Raises ConfigurationError, and keeps the old ones, if they make no sense.
        """
        self._use(_validate({"seed": seed, "rules": list(rules)}, "faults", {}))

    def clear(self) -> None:
        """No faults any more."""
        self.set(())

    def fired(self) -> dict[str, int]:
        """How often each rule has fired, by its name or else ``rule N``, counting from 1."""
        with self._lock:
            names = [rule.name or f"rule {number}" for number, rule in enumerate(self._file.rules, 1)]
            return {name: self._fired[index] for index, name in enumerate(names)}

    def _use(self, file: FaultFile) -> None:
        with self._lock:
            self._file = file
            self._seen: Counter[int] = Counter()
            self._fired: Counter[int] = Counter()
            self._dice = random.Random(file.seed)  # noqa: S311 - repeatable, not secret

    def __bool__(self) -> bool:
        return bool(self._file.rules)

    def effects(self, occasion: Occasion) -> Effects:
        """What to do now; counts the occasion for every rule whose match holds."""
        if not self._file.rules:
            return NO_EFFECTS
        acts: dict[str, Any] = {}
        with self._lock:
            for index, rule in enumerate(self._file.rules):
                if _holds(rule.match, occasion) and self._falls_due(index, rule.match):
                    self._fired[index] += 1
                    for act in rule.act.model_fields_set:
                        acts.setdefault(act, getattr(rule.act, act))
        return Effects.model_construct(**acts) if acts else NO_EFFECTS

    def _falls_due(self, index: int, match: Match) -> bool:
        self._seen[index] += 1
        turn = self._seen[index] - match.after
        if turn < 1 or turn % match.every:
            return False
        if match.times is not None and self._fired[index] >= match.times:
            return False
        return match.probability is None or self._dice.random() < match.probability


def _holds(match: Match, occasion: Occasion) -> bool:
    names = {"*", occasion.command, f"{occasion.command} {occasion.argument}"}
    if names.isdisjoint(match.command):
        return False
    if match.connection is not None and match.connection != occasion.connection:
        return False
    if match.message_id is not None and not fnmatchcase(
        occasion.message_id, match.message_id.replace("[", "[[]")
    ):
        return False
    return match.group is None or any(fnmatchcase(group, match.group) for group in occasion.groups)


Path_ = tuple[str | int, ...]


def _parse(text: str, source: str) -> FaultFile:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        raise ConfigurationError(f"{where}: {getattr(error, 'problem', None) or error}") from error
    lines: dict[Path_, int] = {}
    _note_lines(root, (), lines)
    return _validate({} if given is None else given, source, lines)


def _note_lines(node: yaml.Node | None, path: Path_, lines: dict[Path_, int]) -> None:
    if node is None:
        return
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _note_lines(value, (*path, key.value), lines)
            lines[(*path, key.value)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(item, (*path, index), lines)


def _validate(given: object, source: str, lines: Mapping[Path_, int]) -> FaultFile:
    try:
        return FaultFile.model_validate(given)
    except ValidationError as error:
        found = [_sentence(mistake["loc"], mistake["msg"], source, lines) for mistake in error.errors()]
        raise ConfigurationError("\n".join(found)) from error


def _sentence(path: Path_, problem: str, source: str, lines: Mapping[Path_, int]) -> str:
    known = path
    while known and known not in lines:
        known = known[:-1]
    where = f"{source}:{lines[known]}" if known in lines else source
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return f"{where}: {name + ': ' if name else ''}{problem.removeprefix('Value error, ')}"
