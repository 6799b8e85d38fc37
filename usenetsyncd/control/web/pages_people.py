"""The pages about giving and bringing back: shares, restore."""

from starlette.responses import Response
from starlette.routing import Route

from usenetsyncd.control import schema
from usenetsyncd.control.web.base import Pages, made
from usenetsyncd.control.web.visit import Visit, action_route
from usenetsyncd.errors import UsageError

ROWS = 50
DAY_S = 86_400.0
MAX_DAYS = 36_500
FOLDERS_OFFERED = 500


class PeoplePages(Pages):
    """A share's string is shown only when it is asked for, and never in a link."""

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            self.get("/shares", self.shares),
            self.get("/shares/{share}", self.share),
            self.get("/restore", self.restore),
            action_route("/shares", self.share_create),
            action_route("/shares/{share}/revoke", self.share_revoke),
            action_route("/restore", self.restore_begin),
        ]

    def shares(self, visit: Visit) -> Response:
        """Without their strings."""
        found = self.operations.shares(visit.choice("folder"), visit.choice("after"), ROWS)
        return self.page(
            visit,
            "shares.html",
            found=found,
            folder_names=self._folder_names(),
            users=self.operations.users().users,
        )

    def share(self, visit: Visit) -> Response:
        """One, with its string."""
        found = self.operations.share(visit.parts["share"])
        members = self.operations.share_members(found.share_id).members if found.access == "private" else []
        return self.page(visit, "share.html", share=found, members=members)

    def share_create(self, visit: Visit) -> Response:
        """A passphrase that was drawn for it is told once."""
        order = made(
            schema.ShareOrder,
            folder=visit.field("folder"),
            access=visit.field("access", "public"),
            expires_in_s=_days(visit.field("days")),
            to=[name for name in visit.form.get("to", []) if name],
            passphrase=visit.field("passphrase") or None,
        )
        share = self.operations.share_create(order)
        if share.passphrase and visit.session is not None:
            visit.session.tell("done", f"Its passphrase, shown this once: {share.passphrase}")
        return visit.back("done", f"{share.folder} is shared.", f"/shares/{share.share_id}")

    def share_revoke(self, visit: Visit) -> Response:
        """It opens nothing that is published from now on."""
        taken = self.operations.share_revoke(visit.parts["share"])
        return visit.back("done", taken.statement)

    def restore(self, visit: Visit) -> Response:
        """What, where to, and the restores there were."""
        jobs = [job for job in self.operations.jobs(None, None, ROWS).jobs if job.kind == "restore"]
        return self.page(
            visit,
            "restore.html",
            jobs=jobs,
            folder_names=self._folder_names(),
            source=visit.query.get("source", ""),
            version=visit.query.get("version", ""),
            only=visit.path("only") if visit.choice("only") else b"",
        )

    def restore_begin(self, visit: Visit) -> Response:
        """The source may be an access string: it stands in no link, job or log."""
        source, version = visit.field("string") or visit.field("folder"), visit.field("version")
        if not source:
            raise UsageError("choose a folder, or paste an access string")
        if version and not visit.field("string"):
            source = f"{source}@{version}"
        paths = [line.strip() for line in visit.field("paths").splitlines() if line.strip()]
        order = made(
            schema.RestoreOrder,
            source=source,
            target=visit.field("target"),
            paths=paths,
            overwrite=visit.field("overwrite") == "yes",
            dry_run=visit.field("dry_run") == "yes",
            passphrase=visit.field("passphrase") or None,
        )
        job = self.operations.restore(order)
        told = "The restore has begun; it goes on whether or not you watch."
        return visit.back("done", told, f"/jobs/{job.id}")

    def _folder_names(self) -> list[str]:
        return [folder.id for folder in self.operations.folders(None, FOLDERS_OFFERED).folders]


def _days(text: str) -> float | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:9]) <= MAX_DAYS:
        raise UsageError("days must be a whole number, 1 or more")
    return int(text) * DAY_S
