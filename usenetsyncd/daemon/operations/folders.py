"""Folders, their files, errors and versions."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from usenetsyncd.catalogue.rows import VersionRow, VersionState
from usenetsyncd.control import schema
from usenetsyncd.daemon.live import LiveFolder
from usenetsyncd.daemon.operations.care import CareOperations
from usenetsyncd.errors import NotFound, UsageError
from usenetsyncd.flows.health import servers_of
from usenetsyncd.flows.history import file_history
from usenetsyncd.flows.keeping import kept_versions
from usenetsyncd.flows.version_health import version_health
from usenetsyncd.model import EntryKind, RelativePath
from usenetsyncd.settings.edit import add_folder, file_of_folders, remove_folder


class FolderOperations(CareOperations):
    """folder *, file *, versions."""

    def folders(self, after: str | None, limit: int) -> schema.FolderList:
        """By id."""
        named = sorted(
            (f for f in self._daemon.folders if after is None or f.name > after), key=lambda f: f.name
        )
        page = named[:limit]
        more = page[-1].name if len(named) > limit else None
        return schema.FolderList(folders=[self._folder(folder) for folder in page], next=more)  # type: ignore[attr-defined]

    def folder(self, folder: str) -> schema.FolderDetail:
        """Raises NotFound."""
        live = self._live(folder)
        row = self._row(folder)
        coverage = None if self._daemon.watch is None else self._daemon.watch.coverage(folder)
        listed: schema.Folder = self._folder(live)  # type: ignore[attr-defined]
        activity = self._daemon.indexer.activity
        return schema.FolderDetail(
            **{name: getattr(listed, name) for name in schema.Folder.model_fields},
            fingerprint=live.signing.fingerprint.hex(),
            directories=row.directories,
            watched=None if coverage is None else coverage.watched,
            priority=live.settings.priority.name.lower(),
            pending_articles=row.pending_articles,
            failed_articles=row.failed_articles,
            scanned_at=row.scanned_at,
            published_at=row.published_at,
            activity=os.fsdecode(activity.path) if activity is not None and activity.folder == folder else "",
            newsgroups=live.newsgroups,
            damage=self._damage(live),
            last_check=self._last_check(live),
            next_check_at=self._next_check_at(live),
            unprotected=self._unprotected(live),
            options=live.settings.model_dump(mode="json", exclude={"id", "path"}),
        )

    def folder_add(self, spec: schema.FolderSpec) -> schema.ConfigDifference:
        """Write it into the configuration file and reload."""
        path = Path(os.fsdecode(spec.path))
        if not path.is_absolute():
            raise UsageError("the path of a folder must be absolute")
        if not path.is_dir():
            raise UsageError(f"{str(path)!r} is not a folder on this machine")
        file = file_of_folders(self._daemon.loaded)
        priority = None if spec.priority is None else str(spec.priority)
        add_folder(file, spec.id, str(path), priority, spec.ignore)
        return self._reloaded(file)  # type: ignore[attr-defined, no-any-return]

    def folder_remove(self, folder: str) -> schema.ConfigDifference:
        """Take it out of the configuration file and reload. What is published stays."""
        self._live(folder)
        file = file_of_folders(self._daemon.loaded)
        remove_folder(file, folder)
        return self._reloaded(file)  # type: ignore[attr-defined, no-any-return]

    def folder_errors(self, folder: str, after: str | None, limit: int) -> schema.FolderErrorList:
        """Paths that could not be taken as they should."""
        page = self._daemon.catalogue.troubles.list(self._live(folder).row, after, limit)
        errors = [
            schema.FolderError(
                path=t.path, code=t.code, message=t.message, since=t.since, attempts=t.attempts
            )
            for t in page.rows
        ]
        return schema.FolderErrorList(folder=folder, errors=errors, next=page.next)

    def folder_versions(
        self, folder: str, after: str | None, limit: int, health: bool = False
    ) -> schema.FolderVersionList:
        """The newest first. health: of each, too; the index is read for that only where something is damaged."""
        live, catalogue = self._live(folder), self._daemon.catalogue
        page = catalogue.versions.list(live.row, after, limit)
        kept = kept_versions(catalogue.retirement.moments(live.row), live.settings.keep)
        words = self._words_of(live, page.rows, kept) if health else {}
        versions = [_version(row, row.version in kept, words.get(row.version)) for row in page.rows]
        return schema.FolderVersionList(folder=folder, versions=versions, next=page.next)

    def _words_of(
        self, live: LiveFolder, rows: Sequence[VersionRow], kept: Collection[int]
    ) -> dict[int, schema.FolderHealth]:
        """The health of those that are published."""
        published = [row for row in rows if row.state is VersionState.PUBLISHED]
        told = version_health(self._daemon.catalogue, live.row, published, servers_of(self._daemon.settings))
        words = {one.version: schema.FolderHealth(one.word.value) for one in told}
        for version, word in words.items():
            # what is not kept is asked for no more: that nothing is known to be lost says little
            if version not in kept and word is schema.FolderHealth.RESTORABLE:
                words[version] = schema.FolderHealth.UNKNOWN
        return words

    def file_status(self, path: bytes) -> schema.FileStatus:
        """path: absolute. Raises NotFound when it is in no folder."""
        live, relative = self._find(path)
        catalogue = self._daemon.catalogue
        entry = catalogue.scan.entry(live.row, relative)
        if entry is None:
            ignored = live.ignore.covers(relative, os.path.isdir(path))
            state = "ignored" if ignored else "unknown"
            reason = "an ignore rule matches" if ignored else "not seen by a scan yet, or not there"
            return schema.FileStatus(folder=live.name, path=path, state=state, reason=reason)
        row = catalogue.folders.by_id(live.row)
        waiting = catalogue.versions.is_changed(live.row, relative)
        counts = catalogue.segments.posted_of(entry.id)
        posted = counts.posted == counts.segments
        state = "published" if not waiting else ("waiting" if posted else "uploading")
        if row.held:
            state = "held"
        return schema.FileStatus(
            folder=live.name,
            path=path,
            state=state,
            reason="part of the next version" if state == "waiting" else row.reason if row.held else "",
            size=entry.size,
            modified_at=entry.mtime_ns / 1e9,
            version=row.version if not waiting else None,
            segments=counts.segments,
            segments_posted=counts.posted,
        )

    def file_versions(self, path: bytes, after: str | None, limit: int) -> schema.FileVersionList:
        """path: absolute, whether or not it still exists. Raises NotFound."""
        live, relative = self._find(path)
        before = int(after) if after else None
        history, more = file_history(
            self._daemon.catalogue,
            self._daemon.news,
            live.row,
            live.epochs.rings(live.epoch),
            relative,
            before,
            limit,
        )
        versions = [
            schema.FileVersion(
                version=change.version,
                created_at=change.created_at,
                kind="absent" if change.entry is None else _KINDS[change.entry.kind],
                size=None if change.entry is None else change.entry.size,
                modified_at=None if change.entry is None else change.entry.mtime_ns / 1e9,
                content="" if change.entry is None else change.entry.content_hash.hex(),
            )
            for change in history
        ]
        return schema.FileVersionList(folder=live.name, path=path, versions=versions, next=more)

    def _find(self, path: bytes) -> tuple[LiveFolder, RelativePath]:
        if not path.startswith(b"/"):
            raise UsageError("the path must be absolute")
        whole = os.path.normpath(path)
        for folder in self._daemon.folders:
            if whole == folder.root:
                return folder, RelativePath(b"")
            if whole.startswith(folder.root.rstrip(b"/") + b"/"):
                return folder, RelativePath(whole[len(folder.root.rstrip(b"/")) + 1 :])
        raise NotFound(f"{os.fsdecode(path)!r} is in no folder of the configuration")


_KINDS = {EntryKind.FILE: "file", EntryKind.FOLDER: "folder", EntryKind.SYMLINK: "symlink"}


def _version(row: VersionRow, kept: bool, health: schema.FolderHealth | None) -> schema.FolderVersion:
    return schema.FolderVersion(
        version=row.version,
        state=str(row.state),
        created_at=row.created_at,
        published_at=row.published_at,
        files=row.files,
        directories=row.directories,
        bytes=row.bytes,
        kept=kept,
        health=health,
    )
