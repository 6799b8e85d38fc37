"""Everything the API can ask of the daemon. The daemon implements it; control knows nothing below it."""

import threading
from collections.abc import Iterator
from typing import Protocol

from usenetsyncd.control import schema
from usenetsyncd.control.operations_following import FollowingOperations
from usenetsyncd.control.operations_people import PeopleOperations
from usenetsyncd.control.operations_upkeep import UpkeepOperations
from usenetsyncd.control.operations_web import WebOperations


class Operations(FollowingOperations, PeopleOperations, UpkeepOperations, WebOperations, Protocol):
    """Called from several threads at once, and may block for as long as the answer takes.

    Whatever cannot be done is raised as a UsenetSyncError; its exit_code decides the HTTP status.
    after: a cursor from the ``next`` of the page before; limit: 1..1,000 rows.
    """

    # -- the daemon ------------------------------------------------------------------------

    def status(self) -> schema.Status:
        """Everything at a glance; answers within milliseconds whatever the daemon does."""

    def health(self) -> schema.Health:
        """One verdict with reasons."""

    def version(self) -> schema.Version:
        """Versions of what runs."""

    def idle(self) -> schema.Idle:
        """Whether everything that changed is scanned, posted and published, and no job runs."""

    def stop(self) -> None:
        """Begin a graceful stop and return at once."""

    # -- folders and files -------------------------------------------------------------------

    def folders(self, after: str | None, limit: int) -> schema.FolderList:
        """By id."""

    def folder(self, folder: str) -> schema.FolderDetail:
        """Raises NotFound."""

    def folder_add(self, spec: schema.FolderSpec) -> schema.ConfigDifference:
        """Write it into the configuration file and reload. Raises UsageError, ConfigurationError."""

    def folder_remove(self, folder: str) -> schema.ConfigDifference:
        """Take it out of the configuration file and reload. What is published stays. Raises NotFound."""

    def folder_errors(self, folder: str, after: str | None, limit: int) -> schema.FolderErrorList:
        """Paths that could not be taken as they should."""

    def folder_versions(
        self, folder: str, after: str | None, limit: int, health: bool = False
    ) -> schema.FolderVersionList:
        """The newest first."""

    def file_status(self, path: bytes) -> schema.FileStatus:
        """path: absolute. Raises NotFound when it is in no folder."""

    def file_versions(self, path: bytes, after: str | None, limit: int) -> schema.FileVersionList:
        """path: absolute, whether or not it still exists. Raises NotFound."""

    # -- work --------------------------------------------------------------------------------

    def scan(self, folder: str | None) -> schema.ScanStarted:
        """Ask for a whole scan of one folder, or of all. Returns at once."""

    def scan_lines(
        self, folder: str | None, stop: threading.Event
    ) -> Iterator[schema.ScanProgress | schema.ScanEnded | schema.ScanSummary]:
        """The same, told as it goes; the summary comes last. Ends early when ``stop`` is set (looks twice a second).

        Errors about the request (NotFound) are raised by the call itself, before the first line.
        """

    def pause(self, request: schema.PauseRequest) -> schema.Paused:
        """Post and publish nothing (more) of a folder, or of all."""

    def resume(self, folder: str | None) -> schema.Paused:
        """Go on."""

    def queue(self, state: str | None, folder: str | None, after: str | None, limit: int) -> schema.QueuePage:
        """state: one of ARTICLE_STATES, queued when None."""

    def queue_retry(self, selection: schema.QueueSelection) -> schema.Counted:
        """Failed articles back into the queue."""

    def queue_cancel(self, selection: schema.QueueSelection) -> schema.Counted:
        """Queued articles become failed."""

    def queue_move(self, selection: schema.QueueMove) -> schema.Counted:
        """Another priority for queued articles."""

    def jobs(self, state: str | None, after: str | None, limit: int) -> schema.JobPage:
        """The newest first."""

    def job(self, job_id: int) -> schema.Job:
        """Raises NotFound."""

    def job_cancel(self, job_id: int) -> schema.Job:
        """Stop it for good; what it placed stays. Raises NotFound."""

    def wait_jobs(self, timeout_s: float) -> None:
        """Until some job got further, or the time is over; the streams of jobs are made from this and job()."""

    def restore(self, order: schema.RestoreOrder) -> schema.Job:
        """Begin a restore. The source is secret: never logged, never in the job."""

    def verify(self, order: schema.VerifyOrder) -> schema.Job:
        """Begin a check, or join the same one that waits or runs. Raises NotFound, UsageError."""

    def repair(self, order: schema.RepairOrder) -> schema.Job:
        """Begin a repair, or join the same one that waits or runs. Raises NotFound."""

    # -- servers, configuration, credentials -------------------------------------------------

    def servers(self) -> schema.ServerList:
        """All configured servers."""

    def server_test(self, name: str, post: bool = False) -> schema.ServerReport:
        """Connect, log in, ask. Takes seconds. post: also post one article. Raises NotFound, UsageError, NoServer."""

    def config_show(self, origin: bool) -> schema.ConfigShown:
        """The settings in effect."""

    def config_validate(self, text: schema.ConfigText | None) -> schema.ConfigReport:
        """Check a text, or when None what stands in the files now."""

    def config_diff(self) -> schema.ConfigDifference:
        """The running settings against the files. Raises ConfigurationError."""

    def config_reload(self) -> schema.ConfigDifference:
        """Apply what stands in the files. Raises ConfigurationError; the old settings stay then."""

    def credentials(self) -> schema.CredentialList:
        """Names, never values."""

    def credential_set(self, name: str, value: str) -> None:
        """Store or replace one, and reconnect what uses it. Raises UsageError."""

    def credential_remove(self, name: str) -> None:
        """Raises NotFound."""

    # -- what happened -----------------------------------------------------------------------

    def events(self, since: int | None, limit: int) -> list[schema.Event]:
        """After this id, the oldest first; the newest ``limit`` of all, oldest first, when None."""

    def logs(self, since: int, limit: int, component: str | None, level: str | None) -> list[schema.LogLine]:
        """The newest ``limit`` after this id that fit, oldest first. level: this one and worse."""
