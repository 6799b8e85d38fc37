"""Articles on disk, as the embedded news server keeps them.

``articles/ab/cdef...`` is one file per article, named by the SHA-256 of its message-id: the article as it goes over
the wire (CRLF, dot-stuffed, no final dot). ``journal`` has one JSON line per article added or removed; the index in
memory is rebuilt from it, so a spool survives a restart and a kill. An article is written under another name and
renamed, and only then entered into the journal; a last line that was cut off is dropped. There is no fsync: what
must survive a power failure does not belong in a news server for tests.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import FileIO
from itertools import count
from pathlib import Path
from typing import Any

from usenetsyncd.clock import SYSTEM_CLOCK, Clock


@dataclass(frozen=True, slots=True)
class Overview:
    """What OVER says of an article, in the order of RFC 3977 8.4 behind the number."""

    subject: str
    poster: str
    date: str
    message_id: str
    references: str
    size_bytes: int
    lines: int

    def line(self) -> str:
        """Tab-separated, without the number."""
        fields = (self.subject, self.poster, self.date, self.message_id, self.references)
        return "\t".join((*fields, str(self.size_bytes), str(self.lines)))


@dataclass(frozen=True, slots=True)
class Stored:
    """An article in the index: its overview and its number in each group that took it."""

    overview: Overview
    numbers: dict[str, int]


class Spool:
    """The articles of one directory. Every method may be called from any thread."""

    def __init__(self, directory: Path, clock: Clock = SYSTEM_CLOCK) -> None:
        self.directory = directory
        self._clock = clock
        self._lock = threading.Lock()
        self._index: dict[str, Stored] = {}
        self._known: set[str] = set()  # every id ever taken: like INN, none is taken twice
        self._groups: dict[str, dict[int, str]] = {}
        self._high: dict[str, int] = {}
        self._hidden_until: dict[str, float] = {}
        self._temporary = (f"{os.getpid()}-{number}" for number in count())
        (directory / "incoming").mkdir(parents=True, exist_ok=True)
        self._journal = self._open_journal()

    def close(self) -> None:
        """Let go of the journal. Nothing may be added afterwards."""
        with self._lock:
            self._journal.close()

    # -- articles ------------------------------------------------------------------------

    def claim(self, message_id: str) -> bool:
        """Reserve an id for an article about to be added. False if it is, or once was, here already."""
        with self._lock:
            if message_id in self._known:
                return False
            self._known.add(message_id)
            return True

    def add(self, overview: Overview, groups: list[str], pieces: list[bytes], hide_s: float = 0.0) -> Stored:
        """Store an article whose id was claimed. pieces: its wire form. hide_s: readers miss it for so long.

        Raises OSError if the disk refuses; the id may be claimed again then.
        """
        message_id = overview.message_id
        try:
            self._write(message_id, pieces)
        except OSError:
            with self._lock:
                self._known.discard(message_id)
            raise
        with self._lock:
            numbers = {group: self._high.get(group, 0) + 1 for group in groups}
            stored = Stored(overview, numbers)
            self._append({"add": asdict(overview), "numbers": numbers})
            if hide_s:
                self._hidden_until[message_id] = self._clock.monotonic() + hide_s
            self._enter(stored)
        return stored

    def forget(self, message_id: str) -> None:
        """Remember an id without an article: accepted, and thrown away."""
        with self._lock:
            self._append({"remove": message_id})

    def remove(self, message_id: str) -> bool:
        """Lose an article; its id stays known. False if there is none."""
        with self._lock:
            if not self._leave(message_id):
                return False
            self._append({"remove": message_id})
        self._path(message_id).unlink(missing_ok=True)
        return True

    def replace(self, message_id: str, wire: bytes) -> None:
        """Put other bytes in the place of an article that is here."""
        self._write(message_id, [wire])

    def find(self, message_id: str) -> Stored | None:
        """The article, if it is here and not hidden."""
        with self._lock:
            return None if self._is_hidden(message_id) else self._index.get(message_id)

    def read(self, message_id: str) -> bytes | None:
        """The wire form of an article, None if it is not here (any more)."""
        try:
            return self._path(message_id).read_bytes()
        except FileNotFoundError:
            return None

    def message_ids(self) -> list[str]:
        """Every article that is here, oldest first, hidden ones too."""
        with self._lock:
            return list(self._index)

    # -- groups --------------------------------------------------------------------------

    def groups(self) -> dict[str, tuple[int, int]]:
        """Every group that ever took an article: its low and high water marks."""
        with self._lock:
            return {group: self._marks(group) for group in sorted(self._groups)}

    def marks(self, group: str) -> tuple[int, int]:
        """Low and high water mark; low is high + 1 in a group without articles (RFC 3977 6.1.1.2)."""
        with self._lock:
            return self._marks(group)

    def count(self, group: str) -> int:
        """How many articles a group has."""
        with self._lock:
            return len(self._groups.get(group, ()))

    def numbered(self, group: str, first: int, last: int | None) -> list[tuple[int, str]]:
        """(number, message-id) of the articles of a group, ascending, hidden ones left out."""
        with self._lock:
            if first == last:
                message_id = self._groups.get(group, {}).get(first)
                return [] if message_id is None or self._is_hidden(message_id) else [(first, message_id)]
            return [
                (number, message_id)
                for number, message_id in self._groups.get(group, {}).items()
                if number >= first and (last is None or number <= last) and not self._is_hidden(message_id)
            ]

    def _marks(self, group: str) -> tuple[int, int]:
        high = self._high.get(group, 0)
        return next(iter(self._groups.get(group, {})), high + 1), high

    def _is_hidden(self, message_id: str) -> bool:
        until = self._hidden_until.get(message_id)
        return until is not None and self._clock.monotonic() < until

    # -- on disk -------------------------------------------------------------------------

    def _path(self, message_id: str) -> Path:
        name = hashlib.sha256(message_id.encode("utf-8", "surrogateescape")).hexdigest()
        return self.directory / "articles" / name[:2] / name[2:]

    def _write(self, message_id: str, pieces: list[bytes]) -> None:
        temporary = self.directory / "incoming" / next(self._temporary)
        with temporary.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        path = self._path(message_id)
        try:
            temporary.rename(path)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.rename(path)

    def _append(self, entry: dict[str, object]) -> None:
        self._journal.write(json.dumps(entry).encode("ascii") + b"\n")

    def _open_journal(self) -> FileIO:
        path = self.directory / "journal"
        path.touch()
        whole = 0
        for line in self._whole_lines(path):
            whole += len(line)
            self._replay(json.loads(line))
        os.truncate(path, whole)
        for left_over in (self.directory / "incoming").iterdir():
            left_over.unlink()
        return path.open("ab", buffering=0)

    def _whole_lines(self, path: Path) -> Iterator[bytes]:
        with path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))

    def _replay(self, entry: dict[str, Any]) -> None:
        if "remove" in entry:
            self._known.add(entry["remove"])
            self._leave(entry["remove"])
        else:
            self._known.add(entry["add"]["message_id"])
            self._enter(Stored(Overview(**entry["add"]), entry["numbers"]))

    def _leave(self, message_id: str) -> bool:
        stored = self._index.pop(message_id, None)
        for group, number in stored.numbers.items() if stored else ():
            del self._groups[group][number]
        return stored is not None

    def _enter(self, stored: Stored) -> None:
        message_id = stored.overview.message_id
        self._index[message_id] = stored
        for group, number in stored.numbers.items():
            self._groups.setdefault(group, {})[number] = message_id
            self._high[group] = max(number, self._high.get(group, 0))
