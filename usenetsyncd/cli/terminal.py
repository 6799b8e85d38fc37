"""What reaches a terminal: escaped text, tables, a little colour.

Whatever came from an index, a server or a file name may hold bytes that move the cursor, set the
window's title or turn the text around: all of it goes through ``clean``.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

# Controls of ASCII and Latin-1, line and paragraph separators, and everything that changes direction.
_DANGEROUS = (
    *range(0x20),
    *range(0x7F, 0xA0),
    0x061C,
    0x200E,
    0x200F,
    0x2028,
    0x2029,
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    0xFEFF,
)
_ESCAPES = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _DANGEROUS}
_ESCAPES |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_ALIGNMENTS = {"<": str.ljust, ">": str.rjust}


def clean(text: object) -> str:
    """The text on one line, with everything visible that would do more than be read."""
    return str(text).translate(_ESCAPES).encode("utf-8", "backslashreplace").decode()


def clean_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(clean(line) for line in text.split("\n"))


class ReaderGone(Exception):
    """Who read our output has had enough. No OSError: click would turn that into a failure."""


def say(line: str = "") -> None:
    """A line of data. The caller has cleaned what is in it. Raises ReaderGone."""
    try:
        sys.stdout.write(line + "\n")
    except BrokenPipeError:
        raise ReaderGone from None


def flush() -> None:
    """Let what was said so far be seen now. Raises ReaderGone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGone from None


def note(line: str) -> None:
    """A line that is no data: on stderr."""
    flush()
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def interactive(stream: TextIO | None = None) -> bool:
    """Whether a person looks at it."""
    return (stream or sys.stdout).isatty() and os.environ.get("TERM") != "dumb"


def coloured(stream: TextIO | None = None) -> bool:
    """Whether it may have colour (https://no-color.org)."""
    return interactive(stream) and not os.environ.get("NO_COLOR")


def style(text: str, name: str) -> str:
    """Text in bold, dim, red, green or yellow on a terminal; as it is elsewhere."""
    return f"\x1b[{_STYLES[name]}m{text}\x1b[0m" if coloured() else text


def width(text: str) -> int:
    """Columns that a text takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) != 0 for letter in text)


def table(headings: Sequence[str], alignment: str, rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a table. alignment: ``<`` or ``>`` for each column. Cells are cleaned here."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(width(row[column]) for row in [list(headings), *cells]) for column in range(len(headings))]
    return [_row(headings, alignment, widths), *(_row(row, alignment, widths) for row in cells)]


def show_table(headings: Sequence[str], alignment: str, rows: Iterable[Sequence[object]]) -> None:
    """Print a table with its headings in bold."""
    first, *others = table(headings, alignment, rows)
    say(style(first, "bold"))
    for line in others:
        say(line)


def _row(cells: Sequence[str], alignment: str, widths: Sequence[int]) -> str:
    padded = [
        _ALIGNMENTS[side](cell, wanted - width(cell) + len(cell))
        for cell, side, wanted in zip(cells, alignment, widths, strict=True)
    ]
    return "  ".join(padded).rstrip()
