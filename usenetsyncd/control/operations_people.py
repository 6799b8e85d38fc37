"""What the API can ask of the daemon about shares and people."""

from typing import Protocol

from usenetsyncd.control import schema


class PeopleOperations(Protocol):
    """Part of control.operations.Operations."""

    # -- shares ------------------------------------------------------------------------------

    def share_create(self, order: schema.ShareOrder) -> schema.ShareString:
        """Raises NotFound, UsageError."""

    def shares(self, folder: str | None, after: str | None, limit: int) -> schema.SharePage:
        """By id."""

    def share(self, share_id: str) -> schema.ShareString:
        """With its string. Raises NotFound."""

    def share_revoke(self, share_id: str) -> schema.ShareTaken:
        """Take it back: it opens nothing that is published from now on. Raises NotFound, UsageError."""

    def share_members(self, share_id: str) -> schema.MemberList:
        """Raises NotFound, UsageError for a share that has no members."""

    def share_admit(self, share_id: str, change: schema.MemberChange) -> schema.MemberList:
        """Let more people into a private share. Raises NotFound, UsageError."""

    def share_dismiss(self, share_id: str, user: str) -> schema.ShareTaken:
        """Take somebody out of a private share. Raises NotFound, UsageError."""

    # -- people ------------------------------------------------------------------------------

    def identity(self) -> schema.Identity:
        """Who this installation is."""

    def identity_card(self, name: str | None) -> schema.Card:
        """What to give to somebody who shall share with it. name None: that of the machine."""

    def users(self) -> schema.UserList:
        """All, by name."""

    def user_add(self, spec: schema.UserSpec) -> schema.UserAdded:
        """Take in somebody by a card. Raises BadCard, BadSignature, UsageError."""

    def user_remove(self, name: str) -> schema.UserRemoved:
        """Take somebody out of every share, and forget the card. Raises NotFound."""
