"""Names of events that people and programs rely on, with their severity and a sentence for a person.

They are what ``usyncctl events`` shows and notifications are about; a log has more names than these.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEBUG, INFO, WARNING, ERROR = "debug", "info", "warning", "error"


@dataclass(frozen=True, slots=True)
class Event:
    """A constant past-tense name. sentence: text with {fields}; a field that is not given shows as '?'."""

    name: str
    level: str
    sentence: str

    def tell(self, fields: Mapping[str, object]) -> str:
        """The sentence with the fields filled in."""
        return _Lenient().vformat(self.sentence, (), fields)


class _Lenient(string.Formatter):
    def get_value(self, key: int | str, args: Any, kwargs: Mapping[str, Any]) -> Any:
        return kwargs.get(str(key), "?")

    def get_field(self, field_name: str, args: Any, kwargs: Mapping[str, Any]) -> Any:
        # no attributes, no items: a field's value is shown and nothing more is done with it
        return self.get_value(field_name, args, kwargs), field_name


DAEMON_STARTED = Event("daemon_started", INFO, "usenetsyncd {version} started")
DAEMON_STOPPED = Event("daemon_stopped", INFO, "usenetsyncd stopped")
SETTINGS_RELOADED = Event("settings_reloaded", INFO, "Configuration reloaded: {changes} changes")
SETTINGS_REFUSED = Event("settings_refused", ERROR, "Configuration not reloaded: {errors} errors")

FOLDER_SCANNED = Event("folder_scanned", INFO, "{folder}: {changed} changes found among {files} files")
FOLDER_HELD = Event("folder_held", ERROR, "{folder} is held: {reason}")
FOLDER_RELEASED = Event("folder_released", INFO, "{folder} is released")
FOLDER_ROOT_MISSING = Event("folder_root_missing", ERROR, "{folder}: {path} is gone or suddenly empty")
FOLDER_WATCH_LOST = Event("folder_watch_lost", WARNING, "{folder}: events were lost, scanning again")
FOLDER_WATCH_PARTIAL = Event(
    "folder_watch_partial", WARNING, "{folder}: {watched} of {total} directories are watched"
)
FILE_UNREADABLE = Event("file_unreadable", WARNING, "{folder}: {path} cannot be read: {reason}")
FILE_CHANGED_WHILE_READ = Event("file_changed_while_read", INFO, "{folder}: {path} changed while it was read")

ARTICLE_POSTED = Event("article_posted", DEBUG, "Posted an article on {server}")
ARTICLE_REFUSED = Event("article_refused", WARNING, "{server} refused an article: {reason}")
ARTICLE_FAILED = Event("article_failed", ERROR, "An article could not be posted: {reason}")
ARTICLES_KEEP_VANISHING = Event(
    "articles_keep_vanishing", WARNING, "{articles} articles vanished more than once and go elsewhere"
)
MESSAGE_ID_REWRITTEN = Event("message_id_rewritten", WARNING, "{server} gave an article another message-id")
UPLOAD_FINISHED = Event("upload_finished", INFO, "{folder}: everything is uploaded")
VERSION_PUBLISHED = Event("version_published", INFO, "{folder}: version {version} is published")

VERIFICATION_FINISHED = Event(
    "verification_finished",
    INFO,
    "{folder}: {checked} articles asked for, {missing} missing, {corrupt} corrupt",
)
DAMAGE_FOUND = Event("damage_found", WARNING, "{folder}: {missing} articles missing, {corrupt} corrupt")
REPAIRED = Event("repaired", INFO, "{folder}: {reposted} articles are posted again")
UNREPAIRABLE = Event(
    "unrepairable", ERROR, "{folder}: {segments} segments cannot be had from anywhere any more"
)
RECOVERED = Event("recovered", INFO, "{folder}: everything can be had again")

SERVER_CONNECTED = Event("server_connected", INFO, "{server}: connected")
SERVER_IN_TROUBLE = Event("server_in_trouble", WARNING, "{server}: {reason}")
SERVER_RECOVERED = Event("server_recovered", INFO, "{server} works again")
SERVER_LOGIN_REFUSED = Event("server_login_refused", ERROR, "{server} refuses the account: {reason}")
SERVER_QUOTA_LOW = Event("server_quota_low", WARNING, "{server}: {left} of the quota is left")

SHARE_CREATED = Event("share_created", INFO, "{folder}: share {share} created")
SHARE_REVOKED = Event("share_revoked", INFO, "{folder}: share {share} revoked")
RESTORE_FINISHED = Event("restore_finished", INFO, "Restored {files} files to {target}")
RESTORE_INCOMPLETE = Event(
    "restore_incomplete", WARNING, "Restored {files} files to {target}, {failed} failed"
)
HISTORY_CONTRADICTED = Event("history_contradicted", ERROR, "{folder}: {reason}")

JOB_FAILED = Event("job_failed", ERROR, "{job} failed: {reason}")
CREDENTIAL_SET = Event("credential_set", INFO, "Credential '{name}' was set")
CREDENTIAL_REMOVED = Event("credential_removed", INFO, "Credential '{name}' was removed")
DISK_LOW = Event("disk_low", WARNING, "Only {free} left on the disk of {path}")
CATALOGUE_MIGRATED = Event("catalogue_migrated", INFO, "The catalogue is now at version {version}")

EVENTS: Mapping[str, Event] = {
    event.name: event for event in list(globals().values()) if isinstance(event, Event)
}
"""All of the above by name."""
