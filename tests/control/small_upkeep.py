"""The upkeep of the small daemon: one folder, docs, which may be held."""

from tests.control.small_people import STARTED
from usenetsyncd.control import schema
from usenetsyncd.errors import NotFound, UsageError


class SmallUpkeep:
    """Implements control.operations_upkeep.UpkeepOperations."""

    held = False
    grade = "ok"
    directory_at: float | None = STARTED
    problems: tuple[str, ...] = ()
    review_values: dict[str, object] = {}  # noqa: RUF012 - replaced by tests, never changed

    def folder_review(self, folder: str, limit: int = 20) -> schema.FolderReview:
        self._only_docs(folder)
        values: dict[str, object] = {"version": 118, "files": 100, "max_deleted": 0.25, "max_changed": 0.5}
        if self.held:
            values |= {"cause": "losses", "reason": "31% of files deleted (31)", "since": STARTED}
            paths = ["a", "\x1b]0;owned\x07"][:limit]
            values |= {"deleted": 31, "deleted_share": 0.31, "deleted_paths": paths}
        return schema.FolderReview.model_validate(
            {"folder": folder, "held": self.held, **values, **self.review_values}
        )

    def folder_release(self, folder: str) -> schema.FolderReleased:
        self._only_docs(folder)
        if not self.held:
            raise UsageError("docs is not held")
        self.held = False
        return schema.FolderReleased(folder=folder, deleted=31, changed=0)

    def catalogue_backup(self, order: schema.BackupOrder) -> schema.CatalogueBackup:
        path = order.to or b"/var/lib/usenetsyncd/backups/catalogue-1.sqlite"
        return schema.CatalogueBackup(path=path, bytes=61_000_000, made_at=STARTED)

    def catalogue_check(self, full: bool) -> schema.CatalogueChecked:
        return schema.CatalogueChecked(healthy=not self.problems, full=full, problems=self.problems)

    def kit(self) -> schema.RecoveryKit:
        return schema.RecoveryKit(kit="usyncrcvr1" + "q" * 59, directory_at=self.directory_at, folders=1)

    def doctor(self) -> schema.Diagnosis:
        found = [
            schema.Finding(check="disk", grade="ok", message="6.1 GB free"),
            schema.Finding(
                check="servers", grade=self.grade, message="main: \x1b[2J", action="usyncctl server test main"
            ),
        ]
        return schema.Diagnosis(grade=self.grade, findings=found)

    def schedule(self) -> schema.Schedule:
        window = schema.LimitWindow(at="mon-fri 08:00-18:00", open=True, upload=1_000_000)
        return schema.Schedule(
            upload=1e6,
            download=0,
            paused=False,
            reason="timetable: mon-fri 08:00-18:00",
            windows=[window, schema.LimitWindow(at="sat 20:00-23:00", open=False, upload="pause")],
            coming=[schema.Coming(what="rescan docs", at=STARTED)],
        )

    def history(self, folder: str | None, after: str | None, limit: int) -> schema.History:
        if folder is not None:
            self._only_docs(folder)
        event = schema.Event(
            id=7, at=STARTED, level="info", code="x", folder="docs", message="docs: version 8"
        )
        return schema.History(events=[event], next=None if after else "7")

    @staticmethod
    def _only_docs(folder: str) -> None:
        if folder != "docs":
            raise NotFound(f"no folder named {folder!r}")
