"""One group's overview over one connection, from the newest article to older ones (RFC 3977 6.1.1, 8.3)."""

from collections.abc import Collection, Iterator
from typing import Final

from usenetsyncd.errors import FormatError
from usenetsyncd.model import MessageId
from usenetsyncd.news.connection import Connection, Setback
from usenetsyncd.news.replies import Step
from usenetsyncd.wire.article import check_message_id
from usenetsyncd.wire.nntp import command

_FIRST_WINDOW: Final = 200
_WINDOW_MAX: Final = 5_000
_BLOCK_BYTES: Final = 16 * 1024 * 1024
_SUBJECT, _MESSAGE_ID = 1, 4
"""Where they stand in an overview line, behind the number (RFC 3977 8.3.2)."""


class Walk:
    """From the newest article of a group to older ones, in windows that grow: what was posted just now is found with
    little, and the far past with few commands."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._selected_on: Connection | None = None
        self._newest: int | None = None
        self._oldest = 0
        self._window = _FIRST_WINDOW
        self._verb = "OVER"

    def next_block(self, connection: Connection, articles: int) -> bytes | None:
        """The next window's overview, raw; None when all was seen, or where there is no such group. Raises Setback."""
        if self._selected_on is not connection and not self._select(connection, articles):
            return None
        if self._newest is None or self._newest < self._oldest:
            return None
        first = max(self._oldest, self._newest - self._window + 1)
        block = self._overview(connection, f"{first}-{self._newest}")
        self._newest = first - 1
        self._window = min(self._window * 4, _WINDOW_MAX)
        return block

    def _select(self, connection: Connection, articles: int) -> bool:
        selected = connection.inquire(Step.GROUP, command("GROUP", self._group))
        if selected is None:
            return False
        self._selected_on = connection
        if self._newest is None:
            low, self._newest = _marks(selected[0].text)
            self._oldest = max(low, self._newest - articles + 1)
        return True

    def _overview(self, connection: Connection, numbers: str) -> bytes:
        try:
            told = connection.inquire(Step.OVER, command(self._verb, numbers), _BLOCK_BYTES)
        except Setback as setback:
            if self._verb == "XOVER" or setback.row.close or setback.reply_code not in (500, 501, 503):
                raise
            # Older than RFC 3977, and it knows only the older word.
            self._verb = "XOVER"
            told = connection.inquire(Step.OVER, command(self._verb, numbers), _BLOCK_BYTES)
        return told[1] if told else b""


def _marks(text: str) -> tuple[int, int]:
    """Low and high water mark from ``count low high name``; (1, 0), which is nothing, where they are no numbers."""
    fields = text.split()[1:3]
    if len(fields) < 2 or not all(field.isascii() and field.isdigit() for field in fields):
        return 1, 0
    return int(fields[0]), int(fields[1])


def articles_in(block: bytes, subjects: Collection[bytes]) -> Iterator[tuple[bytes, MessageId]]:
    """(subject, message-id) of the articles with one of these subjects in an overview, newest first."""
    for line in reversed(block.split(b"\r\n")):
        fields = line.split(b"\t", _MESSAGE_ID + 1)
        if len(fields) > _MESSAGE_ID and (subject := fields[_SUBJECT].strip()) in subjects:
            message_id = _plausible(fields[_MESSAGE_ID])
            if message_id is not None:
                yield subject, message_id


def _plausible(told: bytes) -> MessageId | None:
    try:
        return check_message_id(told.decode("ascii").strip())
    except (UnicodeDecodeError, FormatError):
        return None
