"""Followed shares of the small daemon, and the difference between two versions of docs."""

from collections.abc import Iterator

from tests.control.small_people import STARTED
from usenetsyncd.control import schema
from usenetsyncd.errors import NotFound, UsageError


class SmallFollowing:
    """Implements control.operations_following.FollowingOperations."""

    followed: schema.Follow | None = None

    def follows(self) -> schema.FollowList:
        rows = [] if self.followed is None else [self.followed]
        return schema.FollowList(follows=[schema.FollowState(**dict(_fields(row))) for row in rows])

    def follow_add(self, order: schema.FollowOrder) -> schema.Follow:
        if order.target == b"/docs":
            raise UsageError("/docs overlaps /docs: the folder docs, which is posted")
        self.followed = schema.Follow(
            id=1, target=order.target, state="up_to_date", version=3, files=7, bytes=7_000, added_at=STARTED
        )
        return self.followed

    def follow(self, follow_id: int) -> schema.Follow:
        if self.followed is None or follow_id != 1:
            raise NotFound(f"nothing is followed under the number {follow_id}")
        return self.followed

    def follow_remove(self, follow_id: int) -> schema.Follow:
        removed = self.follow(follow_id)
        self.followed = None
        return removed

    def follow_pause(self, follow_id: int) -> schema.Follow:
        return self._become(follow_id, "paused")

    def follow_resume(self, follow_id: int) -> schema.Follow:
        return self._become(follow_id, "up_to_date")

    def _become(self, follow_id: int, state: str) -> schema.Follow:
        self.followed = self.follow(follow_id).model_copy(update={"state": state})
        return self.followed

    def folder_difference(
        self, folder: str, old: int, new: int
    ) -> Iterator[schema.PathDifference | schema.DifferenceSummary]:
        if folder != "docs":
            raise NotFound(f"no folder '{folder}' in the configuration")
        return iter(
            [
                schema.PathDifference(path=b"a", change="added", kind="file", size=10),
                schema.PathDifference(path=b"b\x1b]0;", change="changed", kind="file", size=30, old_size=20),
                schema.PathDifference(
                    path=b"d/c", change="moved", kind="file", size=5, old_size=5, old_path=b"c"
                ),
                schema.DifferenceSummary(old_version=old, new_version=new, added=1, changed=1, moved=1),
            ]
        )


def _fields(row: schema.Follow) -> Iterator[tuple[str, object]]:
    return ((name, getattr(row, name)) for name in schema.FollowState.model_fields)
