"""Shares, users, and who this installation is."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from usenetsyncd.control import schema
from usenetsyncd.control.answers import PAGE, After, Limit, Name, answer, described
from usenetsyncd.control.operations_people import PeopleOperations

ShareId = Annotated[str, Path(max_length=100)]
UserName = Annotated[str, Path(max_length=200)]
CardName = Annotated[str | None, Query(max_length=64)]


def people_routes(operations: PeopleOperations) -> APIRouter:
    """Routes about who may read what."""
    routes = APIRouter(tags=["people"])
    _share_routes(routes, operations)
    _member_routes(routes, operations)
    _user_routes(routes, operations)
    return routes


def _share_routes(routes: APIRouter, operations: PeopleOperations) -> None:
    @routes.post("/shares", status_code=201, responses=described(schema.ShareString, 201))
    def share_create(order: schema.ShareOrder) -> Response:
        """Give a folder to somebody: the string in the answer finds it."""
        return answer(operations.share_create(order), 201)

    @routes.get("/shares", responses=described(schema.SharePage))
    def shares(folder: Name = None, after: After = None, limit: Limit = PAGE) -> Response:
        """By id, without their strings."""
        return answer(operations.shares(folder, after, limit))

    @routes.get("/shares/{share_id}", responses=described(schema.ShareString))
    def share_show(share_id: ShareId) -> Response:
        """One share with its string."""
        return answer(operations.share(share_id))

    @routes.post("/shares/{share_id}/revoke", responses=described(schema.ShareTaken))
    def share_revoke(share_id: ShareId) -> Response:
        """Take it back: it opens nothing that is published from now on."""
        return answer(operations.share_revoke(share_id))


def _member_routes(routes: APIRouter, operations: PeopleOperations) -> None:
    @routes.get("/shares/{share_id}/members", responses=described(schema.MemberList))
    def members(share_id: ShareId) -> Response:
        """Whom a private share is for."""
        return answer(operations.share_members(share_id))

    @routes.post("/shares/{share_id}/members", responses=described(schema.MemberList))
    def admit(share_id: ShareId, change: schema.MemberChange) -> Response:
        """Let more people in."""
        return answer(operations.share_admit(share_id, change))

    @routes.delete("/shares/{share_id}/members/{user}", responses=described(schema.ShareTaken))
    def dismiss(share_id: ShareId, user: UserName) -> Response:
        """Take somebody out, who can read nothing then that is published from now on."""
        return answer(operations.share_dismiss(share_id, user))


def _user_routes(routes: APIRouter, operations: PeopleOperations) -> None:
    @routes.get("/identity", responses=described(schema.Identity))
    def identity() -> Response:
        """Who this installation is."""
        return answer(operations.identity())

    @routes.get("/identity/card", responses=described(schema.Card))
    def identity_card(name: CardName = None) -> Response:
        """What to give to somebody who shall share with it."""
        return answer(operations.identity_card(name))

    @routes.get("/users", responses=described(schema.UserList))
    def users() -> Response:
        """By name."""
        return answer(operations.users())

    @routes.post("/users", status_code=201, responses=described(schema.UserAdded, 201))
    def user_add(spec: schema.UserSpec) -> Response:
        """Take in somebody by a card."""
        return answer(operations.user_add(spec), 201)

    @routes.delete("/users/{name}", responses=described(schema.UserRemoved))
    def user_remove(name: UserName) -> Response:
        """Take somebody out of every share, and forget the card."""
        return answer(operations.user_remove(name))
