"""The pages about folders: the list, one of them, its files, versions and errors, and one file."""

from urllib.parse import quote

from starlette.responses import Response
from starlette.routing import Route

from usenetsyncd.control import schema
from usenetsyncd.control.web.base import Pages, made
from usenetsyncd.control.web.pages import PAUSES
from usenetsyncd.control.web.render import packed
from usenetsyncd.control.web.visit import Visit, action_route
from usenetsyncd.errors import UsageError

ROWS = 50
VERSIONS_CHARTED = 200
ERRORS_SHOWN = VERSIONS_SHOWN = 8


class FolderPages(Pages):
    """Never more than a page of anything, however large the folder is."""

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            self.get("/folders", self.folders),
            self.get("/folders/{folder}", self.folder),
            self.get("/folders/{folder}/files", self.files),
            self.get("/folders/{folder}/versions", self.versions),
            self.get("/folders/{folder}/errors", self.errors),
            self.get("/file", self.file),
            action_route("/folders", self.folder_add),
            action_route("/folders/{folder}/release", self.folder_release),
        ]

    def folders(self, visit: Visit) -> Response:
        """By name."""
        return self.page(visit, "folders.html", folders=self.operations.folders(visit.choice("after"), ROWS))

    def folder(self, visit: Visit) -> Response:
        """Everything about one."""
        name = visit.parts["folder"]
        folder = self.operations.folder(name)
        held = folder.state is schema.FolderState.HELD
        history = self.operations.folder_versions(name, None, VERSIONS_CHARTED).versions
        return self.page(
            visit,
            "folder.html",
            folder=folder,
            review=self.operations.folder_review(name) if held else None,
            versions=history[:VERSIONS_SHOWN],
            history=[version for version in reversed(history) if version.state == "published"],
            errors=self.operations.folder_errors(name, None, ERRORS_SHOWN).errors,
            pauses=PAUSES,
        )

    def files(self, visit: Visit) -> Response:
        """One directory, as the last scan saw it."""
        name, path = visit.parts["folder"], visit.path()
        found, folder = (
            self.operations.directory(name, path, visit.choice("after"), ROWS),
            self.operations.folder(name),
        )
        rows = []
        for entry in found.entries:
            below = path + b"/" + entry.path if path else entry.path
            if entry.kind == "folder":
                rows.append((entry, f"/folders/{quote(name)}/files?p={packed(below)}"))
            else:
                rows.append((entry, f"/file?p={packed(folder.path.rstrip(b'/') + b'/' + below)}"))
        return self.page(
            visit, "files.html", found=found, folder=folder, rows=rows, name=name, crumbs=_crumbs(path)
        )

    def versions(self, visit: Visit) -> Response:
        """The newest first."""
        name = visit.parts["folder"]
        found = self.operations.folder_versions(name, visit.choice("after"), ROWS)
        return self.page(visit, "versions.html", found=found, name=name)

    def errors(self, visit: Visit) -> Response:
        """Paths that could not be taken as they should."""
        name = visit.parts["folder"]
        found = self.operations.folder_errors(name, visit.choice("after"), ROWS)
        return self.page(visit, "errors.html", found=found, name=name)

    def file(self, visit: Visit) -> Response:
        """What became of one file, and the versions in which it became another."""
        path, typed = visit.path(), visit.choice("path")
        if typed is not None:
            path = typed.encode("utf-8", "surrogateescape")
        if not path.startswith(b"/"):
            raise UsageError("give the absolute path of a file")
        status = self.operations.file_status(path)
        history = self.operations.file_versions(path, visit.choice("after"), ROWS)
        return self.page(visit, "file.html", status=status, history=history)

    def folder_add(self, visit: Visit) -> Response:
        """Into the configuration file, and reload."""
        spec = made(schema.FolderSpec, id=visit.field("id"), path=visit.field("path"))
        changed = self.operations.folder_add(spec)
        return visit.back("done", f"{spec.id} is added ({changed.file or 'the configuration'}).")

    def folder_release(self, visit: Visit) -> Response:
        """Accept what the guard holds."""
        released = self.operations.folder_release(visit.parts["folder"])
        return visit.back("done", f"{released.folder} goes on as it is now.")


def _crumbs(path: bytes) -> list[tuple[bytes, bytes]]:
    """(name, path) of every directory on the way."""
    parts = path.split(b"/") if path else []
    return [(part, b"/".join(parts[: number + 1])) for number, part in enumerate(parts)]
