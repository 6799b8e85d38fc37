"""What the API can ask of the daemon about followed shares and versions."""

from collections.abc import Iterator
from typing import Protocol

from usenetsyncd.control import schema


class FollowingOperations(Protocol):
    """Part of control.operations.Operations."""

    def follows(self) -> schema.FollowList:
        """All followed shares."""

    def follow_add(self, order: schema.FollowOrder) -> schema.Follow:
        """Raises BadAccessString, UsageError, ShareClosed. The source is secret: never logged, never shown again."""

    def follow(self, follow_id: int) -> schema.Follow:
        """Raises NotFound."""

    def follow_remove(self, follow_id: int) -> schema.Follow:
        """Forget it; every file stays. Raises NotFound."""

    def follow_pause(self, follow_id: int) -> schema.Follow:
        """Ask and change nothing. Raises NotFound."""

    def follow_resume(self, follow_id: int) -> schema.Follow:
        """Go on, also after it was stopped. Raises NotFound, UsageError."""

    def folder_difference(
        self, folder: str, old: int, new: int
    ) -> Iterator[schema.PathDifference | schema.DifferenceSummary]:
        """What differs between two versions, by path; the summary comes last. Raises NotFound before the first line."""
