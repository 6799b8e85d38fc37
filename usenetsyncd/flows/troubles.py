"""Keeping the list of troubled paths true: what a scan finds well again is taken off it."""

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.model import RelativePath

PAGE = 1_000
# Beyond so many, the rest stays on the list until the scan after those were settled.
PATHS_HELD = 10_000


class TroubleLedger:
    """The troubles of one folder during one scan."""

    def __init__(self, catalogue: Catalogue, folder_id: int) -> None:
        self._troubles = catalogue.troubles
        self._folder_id = folder_id
        self._before: set[RelativePath] = set()
        # None: all of the folder.
        self._looked_at: set[RelativePath] | None = None
        self._load()

    def only_these(self) -> None:
        """The scan is about some directories only; ``looked_at`` tells which."""
        self._looked_at = set()

    def looked_at(self, directory: RelativePath) -> None:
        """The scan has listed this directory."""
        if self._looked_at is not None:
            self._looked_at.add(directory)

    def note(self, path: RelativePath, code: str, message: str) -> None:
        """A path cannot be taken as it should."""
        self._before.discard(path)
        self._troubles.note(self._folder_id, path, code, message)

    def forget_settled(self) -> None:
        """What was troubled before, was looked at again, and gave none this time."""
        for path in self._before:
            parent = RelativePath(path.rpartition(b"/")[0])
            if self._looked_at is None or path in self._looked_at or parent in self._looked_at:
                self._troubles.clear(self._folder_id, path)

    def _load(self) -> None:
        after: str | None = None
        while len(self._before) < PATHS_HELD:
            page = self._troubles.list(self._folder_id, after, PAGE)
            self._before |= {trouble.path for trouble in page.rows}
            after = page.next
            if after is None:
                return
