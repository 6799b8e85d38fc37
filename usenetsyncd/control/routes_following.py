"""Followed shares, and what differs between versions."""

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from usenetsyncd.control import schema
from usenetsyncd.control.answers import answer, described
from usenetsyncd.control.operations_following import FollowingOperations
from usenetsyncd.control.streams import document_lines, started, stream


def following_routes(operations: FollowingOperations) -> APIRouter:
    """Routes about followed shares and differences."""
    routes = APIRouter(tags=["following"])

    @routes.get("/follows", responses=described(schema.FollowList))
    def follows() -> Response:
        """All followed shares."""
        return answer(operations.follows())

    @routes.post("/follows", status_code=201, responses=described(schema.Follow, 201))
    def follow_add(order: schema.FollowOrder) -> Response:
        """Keep a share's newest version in a directory from now on."""
        return answer(operations.follow_add(order), 201)

    @routes.get("/follows/{follow}", responses=described(schema.Follow))
    def follow_show(follow: int) -> Response:
        """One followed share."""
        return answer(operations.follow(follow))

    @routes.delete("/follows/{follow}", responses=described(schema.Follow))
    def follow_remove(follow: int) -> Response:
        """Follow no more; every file stays as it is."""
        return answer(operations.follow_remove(follow))

    @routes.post("/follows/{follow}/pause", responses=described(schema.Follow))
    def follow_pause(follow: int) -> Response:
        """Ask and change nothing until it is resumed."""
        return answer(operations.follow_pause(follow))

    @routes.post("/follows/{follow}/resume", responses=described(schema.Follow))
    def follow_resume(follow: int) -> Response:
        """Go on."""
        return answer(operations.follow_resume(follow))

    @routes.get(
        "/folders/{folder}/versions/{old}/difference/{new}", responses=described(schema.PathDifference)
    )
    def folder_difference(folder: str, old: int, new: int) -> StreamingResponse:
        """What differs between two versions, one JSON object a line, by path; the summary comes last."""
        return stream(document_lines(started(operations.folder_difference(folder, old, new))))

    return routes
