"""Folders, their files and versions."""

from fastapi import APIRouter
from starlette.responses import Response

from usenetsyncd.control import schema
from usenetsyncd.control.answers import (
    PAGE,
    After,
    Limit,
    PathBase64,
    PathText,
    absolute_path,
    answer,
    described,
)
from usenetsyncd.control.operations import Operations


def folder_routes(operations: Operations) -> APIRouter:
    """Routes about folders."""
    routes = APIRouter(tags=["folders"])

    @routes.get("/folders", responses=described(schema.FolderList))
    def folders(after: After = None, limit: Limit = PAGE) -> Response:
        """By id."""
        return answer(operations.folders(after, limit))

    @routes.post("/folders", responses=described(schema.ConfigDifference))
    def folder_add(spec: schema.FolderSpec) -> Response:
        """Add a folder to the configuration file and reload."""
        return answer(operations.folder_add(spec))

    @routes.get("/folders/{folder}", responses=described(schema.FolderDetail))
    def folder_show(folder: str) -> Response:
        """Everything about one folder."""
        return answer(operations.folder(folder))

    @routes.delete("/folders/{folder}", responses=described(schema.ConfigDifference))
    def folder_remove(folder: str) -> Response:
        """Take a folder out of the configuration file and reload; what is published stays."""
        return answer(operations.folder_remove(folder))

    @routes.get("/folders/{folder}/errors", responses=described(schema.FolderErrorList))
    def folder_errors(folder: str, after: After = None, limit: Limit = PAGE) -> Response:
        """Paths that could not be taken as they should."""
        return answer(operations.folder_errors(folder, after, limit))

    @routes.get("/folders/{folder}/versions", responses=described(schema.FolderVersionList))
    def folder_versions(
        folder: str, after: After = None, limit: Limit = PAGE, health: bool = False
    ) -> Response:
        """The newest first. health: of each version too, which of a folder with much damage takes a while."""
        return answer(operations.folder_versions(folder, after, limit, health))

    @routes.get("/files", responses=described(schema.FileStatus))
    def file_status(path: PathText = None, path_b64: PathBase64 = None) -> Response:
        """What became of one file."""
        return answer(operations.file_status(absolute_path(path, path_b64)))

    @routes.get("/files/versions", responses=described(schema.FileVersionList))
    def file_versions(
        path: PathText = None, path_b64: PathBase64 = None, after: After = None, limit: Limit = PAGE
    ) -> Response:
        """The versions in which one file became another, the newest first."""
        return answer(operations.file_versions(absolute_path(path, path_b64), after, limit))

    return routes
