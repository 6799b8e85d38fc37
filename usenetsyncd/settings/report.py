"""What is wrong with a configuration: all of it at once, each with its place."""

from collections.abc import Iterable
from dataclasses import dataclass

from usenetsyncd.errors import ConfigurationError
from usenetsyncd.settings.nodes import Layer, Origin

_MAX_SHOWN_LENGTH = 60


class Refused(ValueError):
    """A value cannot be used; the text is a half sentence in plain words, without the key."""


@dataclass(frozen=True, slots=True)
class Problem:
    """key: such as ``servers[0].connections``, empty for a file as a whole."""

    at: Origin
    key: str
    message: str
    warning: bool = False

    def __str__(self) -> str:
        where = str(self.at) if self.at.layer is not Layer.DEFAULT else "configuration"
        kind = "warning" if self.warning else "error"
        return (
            f"{where}: {kind}: {self.key}: {self.message}" if self.key else f"{where}: {kind}: {self.message}"
        )


class ConfigurationErrors(ConfigurationError):
    """Every problem of one attempt to load; its text is one line for each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        unique = dict.fromkeys(problems)
        self.problems = tuple(sorted(unique, key=lambda p: (p.at.source, p.at.line, p.at.column)))
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @property
    def count(self) -> str:
        """``1 error`` or ``7 errors``, for the caller's last line."""
        return f"{len(self.problems)} error" + ("" if len(self.problems) == 1 else "s")


def describe(value: object) -> str:
    """A refused value for a message: quoted, escaped and cut. Never call it with a secret."""
    if value is None:
        return "nothing"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, dict):
        return "keys and values"
    text = str(value)
    return repr(text if len(text) <= _MAX_SHOWN_LENGTH else text[:_MAX_SHOWN_LENGTH] + "...")


def one_of(choices: Iterable[str]) -> str:
    """``a, b or c``"""
    *head, last = choices
    return f"{', '.join(head)} or {last}" if head else last
