"""Held folders, backups, and what the daemon says of itself."""

from fastapi import APIRouter
from starlette.responses import Response

from usenetsyncd.control import schema
from usenetsyncd.control.answers import PAGE, After, Limit, Name, answer, described
from usenetsyncd.control.operations_upkeep import UpkeepOperations
from usenetsyncd.control.schema.upkeep import PATHS_SHOWN


def upkeep_routes(operations: UpkeepOperations) -> APIRouter:
    """Routes about upkeep."""
    routes = APIRouter(tags=["upkeep"])

    @routes.get("/folders/{folder}/review", responses=described(schema.FolderReview))
    def folder_review(folder: str, limit: Limit = PATHS_SHOWN) -> Response:
        """What the deletion guard sees in a folder."""
        return answer(operations.folder_review(folder, limit))

    @routes.post("/folders/{folder}/release", responses=described(schema.FolderReleased))
    def folder_release(folder: str) -> Response:
        """Accept what was deleted and changed; work goes on."""
        return answer(operations.folder_release(folder))

    @routes.post("/catalogue/backup", status_code=201, responses=described(schema.CatalogueBackup, 201))
    def catalogue_backup(order: schema.BackupOrder) -> Response:
        """A consistent copy while work goes on."""
        return answer(operations.catalogue_backup(order), 201)

    @routes.get("/catalogue/check", responses=described(schema.CatalogueChecked))
    def catalogue_check(full: bool = False) -> Response:
        """Look for damage; full compares every index and counter."""
        return answer(operations.catalogue_check(full))

    @routes.post("/kit", responses=described(schema.RecoveryKit))
    def kit() -> Response:
        """The recovery kit. POST: no cache and no history keeps it."""
        return answer(operations.kit())

    _insight_routes(routes, operations)
    return routes


def _insight_routes(routes: APIRouter, operations: UpkeepOperations) -> None:
    @routes.get("/doctor", responses=described(schema.Diagnosis))
    def doctor() -> Response:
        """Everything that can be wrong, looked at; takes seconds."""
        return answer(operations.doctor())

    @routes.get("/schedule", responses=described(schema.Schedule))
    def schedule() -> Response:
        """Which limits apply now, and what comes."""
        return answer(operations.schedule())

    @routes.get("/history", responses=described(schema.History))
    def history(folder: Name = None, after: After = None, limit: Limit = PAGE) -> Response:
        """What happened to folders, the newest first."""
        return answer(operations.history(folder, after, limit))
