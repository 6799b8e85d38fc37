"""IgnoreRules rules in gitignore syntax (parsed by pathspec), on paths as bytes."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pathspec.patterns.gitignore.base import GitIgnorePatternError
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from usenetsyncd.folders.root import FolderRoot
from usenetsyncd.model import RelativePath

RULES_FILE = RelativePath(b".usyncignore")
RULES_FILE_LIMIT_BYTES = 1 << 20

# How pathspec's regexes end where a path, or a directory above it, has matched.
_DIRECTORY_MARK = b"(?P<ps_d>/)"
_ANY_DIRECTORY = b"(?:.+/)?"
_NO_SLASH = b"[^/]"
_DIRECTORY_OR_END = b"(?:(?P<ps_d>/)|$)"


@dataclass(frozen=True, slots=True)
class IgnoreRules:
    """Compiled rules; false when there are none, so that a scan can leave the question out.

    problems: one sentence for each line that is not a pattern (it is left out); for ``folder errors``.
    """

    problems: tuple[str, ...] = ()
    # What ignores by the last component alone, which is most of what people write, and what needs the path.
    _by_name: re.Pattern[bytes] | None = field(default=None, repr=False)
    _by_path: re.Pattern[bytes] | None = field(default=None, repr=False)
    # (regex, ignores), last line first; empty when no line begins with "!": the two above decide alone then.
    _ordered: tuple[tuple[re.Pattern[bytes], bool], ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return self._by_name is not None or self._by_path is not None

    def matches(self, path: RelativePath, is_dir: bool) -> bool:
        """Whether ``path`` itself is ignored; its parents are taken as looked at and not ignored."""
        shown = path + b"/" if is_dir else path
        by_name, by_path = self._by_name, self._by_path
        if not (
            (by_name is not None and by_name.fullmatch(shown, path.rfind(b"/") + 1) is not None)
            or (by_path is not None and by_path.fullmatch(shown) is not None)
        ):
            return False
        for regex, ignores in self._ordered:
            if regex.fullmatch(shown) is not None:
                return ignores
        return True

    def covers(self, path: RelativePath, is_dir: bool) -> bool:
        """Whether ``path`` or any directory above it is ignored (git never looks below an ignored one)."""
        if not self:
            return False
        at = path.find(b"/")
        while at >= 0:
            if self.matches(RelativePath(path[:at]), True):
                return True
            at = path.find(b"/", at + 1)
        return bool(path) and self.matches(path, is_dir)


NO_RULES = IgnoreRules()


def compile_rules(*lists: Iterable[str | bytes]) -> IgnoreRules:
    """Rules from lists of gitignore lines, later lists overruling earlier ones (global, folder, own file)."""
    problems: list[str] = []
    regexes: list[tuple[bytes, bool]] = []
    for line in (line for lines in lists for line in lines):
        raw = os.fsencode(line) if isinstance(line, str) else line
        try:
            pattern = GitIgnoreSpecPattern(raw)
        except GitIgnorePatternError:
            problems.append(f"{os.fsdecode(raw)!r} is not a pattern")
            continue
        if pattern.include is not None and pattern.regex is not None:
            regexes.append((_whole(pattern.regex.pattern), pattern.include))
    sources = [source for source, ignores in regexes if ignores]
    by_name = _one_of([rest for source in sources if (rest := _of_name(source)) is not None])
    by_path = _one_of([source for source in sources if _of_name(source) is None])
    if len(sources) == len(regexes) or not sources:
        return IgnoreRules(tuple(problems), by_name, by_path)
    ordered = tuple((re.compile(source, re.DOTALL), ignores) for source, ignores in reversed(regexes))
    return IgnoreRules(tuple(problems), by_name, by_path, ordered)


def load_rules(root: FolderRoot, *lists: Iterable[str | bytes]) -> IgnoreRules:
    """Rules of a folder: the lists given, then the lines of ``.usyncignore`` in its root.

    Only the root's file counts, not one in a subdirectory. Raises OSError when it cannot be read: a folder
    must not be published with half its rules.
    """
    try:
        fd = root.open_below(RULES_FILE, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return compile_rules(*lists)
    with open(fd, "rb") as opened:
        content = opened.read(RULES_FILE_LIMIT_BYTES + 1)
    if len(content) > RULES_FILE_LIMIT_BYTES:
        raise OSError(f"{os.fsdecode(RULES_FILE)} is over {RULES_FILE_LIMIT_BYTES} bytes")
    return compile_rules(*lists, content.splitlines())


def _whole(source: bytes) -> bytes:
    """A regex of pathspec, made to be searched for, as one that matches a path from end to end.

    Ours are asked of one path at a time, with its parents already known not to be ignored, so a match of a
    parent must not count: it would let ``!*/`` take back a file.
    """
    if source.endswith(_DIRECTORY_OR_END):
        source = source.removesuffix(_DIRECTORY_OR_END) + b"/?"
    elif source.endswith(_DIRECTORY_MARK):
        source = (source.removesuffix(_DIRECTORY_MARK) or b".+") + b"/"
    elif source == b".":
        source = b".+"
    else:
        source += b".+"  # "a/**": whatever is below a, not a itself
    return source.removeprefix(b"^") if source.startswith((b"^", b".+")) else b".*" + source


def _of_name(source: bytes) -> bytes | None:
    """The part of a regex that concerns the last component, when nothing else matters; None otherwise."""
    if not source.startswith(_ANY_DIRECTORY):
        return None
    rest = source.removeprefix(_ANY_DIRECTORY)
    name = rest.removesuffix(b"/?").removesuffix(b"/")
    return None if b"/" in name.replace(_NO_SLASH, b"") else rest


def _one_of(sources: list[bytes]) -> re.Pattern[bytes] | None:
    # fullmatch and DOTALL: a newline is a byte of a name like any other.
    return re.compile(b"|".join(b"(?:%b)" % source for source in sources), re.DOTALL) if sources else None
