"""The shares and people of the small daemon: one public share s1, one private share p1, one user."""

from usenetsyncd.control import schema
from usenetsyncd.errors import BadCard, NotFound, UsageError

STARTED = 1_763_000_000.0
STRING = "usyncread1" + "qpzry9x8gf2tvdw0s3jn54khce6mua7l" * 2
CARD = "usyncuser1" + "A" * 1_800
WORDS = "able about above absent absorb abstract absurd abuse"
PHRASE = "orbit velvet maple canyon drift humble"


class SmallPeople:
    """Implements control.operations_people.PeopleOperations on plain lists."""

    def __init__(self) -> None:
        self.user_names = ["bob"]
        self.share_orders: list[schema.ShareOrder] = []

    # -- shares ------------------------------------------------------------------------------

    def share_create(self, order: schema.ShareOrder) -> schema.ShareString:
        if order.folder != "docs":
            raise NotFound(f"there is no folder {order.folder!r}")
        if order.access == "private":
            self._known(*order.to)
        self.share_orders.append(order)
        drawn = PHRASE if order.access == "protected" and order.passphrase is None else None
        made = self._share("s1", order.access, order.expires_in_s)
        return made.model_copy(update={"passphrase": drawn})

    def shares(self, folder: str | None, after: str | None, limit: int) -> schema.SharePage:
        return schema.SharePage(
            shares=[schema.Share(**_of(self._share(name, kind))) for name, kind in _SHARES.items()]
        )

    def share(self, share_id: str) -> schema.ShareString:
        return self._share(share_id)

    def share_revoke(self, share_id: str) -> schema.ShareTaken:
        return self._taken(share_id)

    def share_members(self, share_id: str) -> schema.MemberList:
        if self._share(share_id).access != "private":
            raise UsageError(f"share {share_id} is public: only a private one has members")
        return schema.MemberList(share_id=share_id, members=self.users().users)

    def share_admit(self, share_id: str, change: schema.MemberChange) -> schema.MemberList:
        self._known(*change.add)
        return self.share_members(share_id)

    def share_dismiss(self, share_id: str, user: str) -> schema.ShareTaken:
        self._known(user)
        return self._taken(share_id)

    # -- people ------------------------------------------------------------------------------

    def identity(self) -> schema.Identity:
        return schema.Identity(fingerprint="ab" * 16, words=WORDS)

    def identity_card(self, name: str | None) -> schema.Card:
        return schema.Card(name=name or "nas01", card=CARD, fingerprint="ab" * 16, words=WORDS)

    def users(self) -> schema.UserList:
        return schema.UserList(users=[self._user(name) for name in self.user_names])

    def user_add(self, spec: schema.UserSpec) -> schema.UserAdded:
        if spec.card.strip() != CARD:
            raise BadCard("the card is mistyped or cut short: its checksum does not match")
        self.user_names = sorted({*self.user_names, spec.name or "nas01"})
        return schema.UserAdded(**_of_user(self._user(spec.name or "nas01")))

    def user_remove(self, name: str) -> schema.UserRemoved:
        self._known(name)
        return schema.UserRemoved(name=name, shares=["p1"], statement="what was read stays read")

    def _known(self, *names: str) -> None:
        if not names:
            raise UsageError("a private share is for somebody: name one or more with --to")
        for name in names:
            if name not in self.user_names:
                raise NotFound(f"there is no user {name!r}")

    def _share(
        self, share_id: str, access: str | None = None, expires_in_s: float | None = None
    ) -> schema.ShareString:
        if share_id not in _SHARES:
            raise NotFound(f"there is no share {share_id!r}")
        return schema.ShareString(
            share_id=share_id,
            folder="docs",
            access=access or _SHARES[share_id],
            state="active",
            created_at=STARTED,
            expires_at=None if expires_in_s is None else STARTED + expires_in_s,
            string=STRING,
        )

    def _taken(self, share_id: str) -> schema.ShareTaken:
        share = _of(self._share(share_id))
        return schema.ShareTaken(**share, new_epoch=True, statement="what was read stays read")

    @staticmethod
    def _user(name: str) -> schema.User:
        return schema.User(name=name, fingerprint="cd" * 16, words=WORDS, added_at=STARTED, shares=1)


_SHARES = {"s1": "public", "p1": "private"}


def _of(share: schema.ShareString) -> dict[str, object]:
    return {name: getattr(share, name) for name in schema.Share.model_fields}


def _of_user(user: schema.User) -> dict[str, object]:
    return {name: getattr(user, name) for name in schema.User.model_fields}
