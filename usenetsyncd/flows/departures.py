"""What left a folder a short while ago, and the segments that still hold it: a move may be seen as two things.

Files that are moved while their old folder is scanned before the new one are gone from the catalogue when they turn up
again. Their segments are still on the servers.
"""

import struct
from collections.abc import Iterable, Mapping
from threading import Lock

from usenetsyncd.catalogue.scan_store import ContentExtents

# About 250 bytes each, and only after that many were deleted.
REMEMBERED = 100_000

_PLACE = struct.Struct(">16sQI")


class Departures:
    """Remembers the newest contents that left any folder, within a bound; threads may share it."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._lock = Lock()
        self._places: dict[tuple[int, bytes], bytes] = {}

    @property
    def room(self) -> int:
        """How many contents are worth looking up at once: more would push each other out."""
        return self._remembered

    def note(self, folder_id: int, contents: Mapping[bytes, ContentExtents]) -> None:
        """These contents (by 32-byte hash) are leaving a folder."""
        with self._lock:
            for content_hash, places in contents.items():
                key = (folder_id, content_hash)
                self._places.pop(key, None)  # the newest stand last
                self._places[key] = b"".join(_PLACE.pack(*place) for place in places)
            while len(self._places) > self._remembered:
                del self._places[next(iter(self._places))]

    def find(self, folder_id: int, hashes: Iterable[bytes]) -> dict[bytes, ContentExtents]:
        """Where contents stood that left this folder; their segments may have been given up since."""
        with self._lock:
            packed = {found: self._places.get((folder_id, found)) for found in hashes}
        return {
            found: [(place[0], place[1], place[2]) for place in _PLACE.iter_unpack(places)]
            for found, places in packed.items()
            if places is not None
        }
