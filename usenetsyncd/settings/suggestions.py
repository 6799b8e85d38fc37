"""Did you mean ...?"""

import difflib
from collections.abc import Iterable


def did_you_mean(written: str, known: Iterable[str]) -> str:
    """``; did you mean 'settle'?``, or nothing where nothing is similar."""
    similar = difflib.get_close_matches(written.lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean '{similar[0]}'?" if similar else ""
