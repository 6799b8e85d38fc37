"""The tree of errors. A class answers "what now?" with a verdict, and has a stable exit code."""

from enum import IntEnum, StrEnum


class Verdict(StrEnum):
    """What the caller should do about an error."""

    RETRY = "retry"  # the same thing again, after the back-off
    ELSEWHERE = "elsewhere"  # another server, copy or generation
    REPLAN = "replan"  # the source changed: plan anew
    GIVE_UP = "give_up"  # this item cannot succeed; record it and go on
    PERSON = "person"  # somebody must act (password, disk, configuration)
    STOP = "stop"  # the process must not go on


class ExitCode(IntEnum):
    """Exit codes of both commands; part of the interface."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    ATTENTION = 3
    UNREACHABLE = 4
    NOT_FOUND = 5
    NOT_PERMITTED = 77
    CONFIGURATION = 78
    INTERRUPTED = 130


class UsenetSyncError(Exception):
    """Base of every error that is expected to happen. Its text is a sentence for a person."""

    verdict: Verdict = Verdict.GIVE_UP
    exit_code: ExitCode = ExitCode.FAILED

    @property
    def code(self) -> str:
        """A stable snake_case name for programs, such as ``newer_format``."""
        return _code_of(type(self))


def _code_of(error: type[UsenetSyncError]) -> str:
    name = error.__name__
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))


def exit_code_of(code: str) -> ExitCode:
    """The exit code of the error that bears this stable name; FAILED for one that is not in the tree."""
    known = [UsenetSyncError]
    for error in known:
        if _code_of(error) == code:
            return error.exit_code
        known += error.__subclasses__()
    return ExitCode.FAILED


class UsageError(UsenetSyncError):
    """The request itself makes no sense."""

    exit_code = ExitCode.USAGE


class NotFound(UsenetSyncError):
    """The thing named does not exist."""

    exit_code = ExitCode.NOT_FOUND


class NotPermitted(UsenetSyncError):
    """The caller may not do this."""

    exit_code = ExitCode.NOT_PERMITTED


class ConfigurationError(UsenetSyncError):
    """The configuration cannot be used."""

    verdict = Verdict.PERSON
    exit_code = ExitCode.CONFIGURATION


class VaultError(UsenetSyncError):
    """The keys at rest are missing, damaged or readable by others. Never go on with new ones."""

    verdict = Verdict.STOP
    exit_code = ExitCode.CONFIGURATION


class DaemonUnreachable(UsenetSyncError):
    """No daemon answers on the control socket."""

    exit_code = ExitCode.UNREACHABLE


class AlreadyRunning(UsenetSyncError):
    """Another daemon holds the lock of this data directory."""

    verdict = Verdict.STOP


class Cancelled(UsenetSyncError):
    """The job was cancelled, or the daemon is stopping."""


# -- bytes that came from outside ------------------------------------------------------------


class FormatError(UsenetSyncError):
    """Bytes from outside do not have the promised form. Never trust the rest of them."""

    verdict = Verdict.ELSEWHERE


class NewerFormat(FormatError):
    """Made by a newer version of UsenetSync; this one cannot read it."""

    verdict = Verdict.PERSON


class LimitExceeded(FormatError):
    """A length, count, ratio or depth read from outside is beyond its documented limit."""


class SealBroken(FormatError):
    """An article does not open: altered, cut, another key or another address."""


class ContentMismatch(FormatError):
    """An article opened, but its content is not what its name says."""


class BadSignature(FormatError):
    """A head or envelope is not signed by the folder's key."""


class BadAccessString(FormatError):
    """An access string is mistyped or not one of ours."""

    verdict = Verdict.PERSON
    exit_code = ExitCode.USAGE


class BadCard(FormatError):
    """A card of an identity is mistyped or not one of ours."""

    verdict = Verdict.PERSON
    exit_code = ExitCode.USAGE


class UnsafePath(FormatError):
    """An index names a path that must not be created."""

    verdict = Verdict.GIVE_UP


# -- history -----------------------------------------------------------------------------


class HistoryError(UsenetSyncError):
    """The chain of heads contradicts what was seen before."""

    verdict = Verdict.PERSON


class Rollback(HistoryError):
    """The newest head offered is older than one already verified."""


class Fork(HistoryError):
    """Two different heads carry the same version number."""


# -- shares ------------------------------------------------------------------------------


class ShareClosed(NotPermitted):
    """A share that this installation cannot open, or not any more. Base of the reasons."""

    verdict = Verdict.PERSON


class ShareRevoked(ShareClosed):
    """The owner took the share back."""


class ShareExpired(ShareClosed):
    """The day that the owner set is over."""


class PassphraseNeeded(ShareClosed):
    """The share is protected, and no passphrase was given."""


class WrongPassphrase(ShareClosed):
    """The share is protected, and not by the passphrase that was given."""


class NotAMember(ShareClosed):
    """The share is for listed people, and this installation's identity is not among them."""


class NothingPublished(NotFound):
    """No server has an envelope or a head for this access string."""


# -- news servers ----------------------------------------------------------------------


class NewsError(UsenetSyncError):
    """Something about a news server. ``retry_after_s``: before that, asking again is of no use."""

    verdict = Verdict.RETRY
    retry_after_s: float = 0.0


class ConnectFailed(NewsError):
    """No connection to the server."""


class ConnectionLost(NewsError):
    """The connection ended or fell out of step; what was under way is unknown."""


class TlsFailed(NewsError):
    """The server's certificate or handshake is not acceptable."""

    verdict = Verdict.PERSON


class LoginRefused(NewsError):
    """The server refuses the account."""

    verdict = Verdict.PERSON


class TooManyConnections(NewsError):
    """The account has no connection left."""


class PostRefused(NewsError):
    """The server refused this article."""


class PostDoubtful(NewsError):
    """The article was sent but no answer came: it may or may not be there."""


class PostDuplicate(PostDoubtful):
    """The server says that it has this message-id already: fetch and compare."""


class PostingForbidden(NewsError):
    """The server takes no articles from this account."""

    verdict = Verdict.ELSEWHERE


class ServerUnavailable(NewsError):
    """The server answers, but does not do what was asked, now."""


class ArticleMissing(NewsError):
    """The server says that it has no such article."""

    verdict = Verdict.ELSEWHERE


class NoServer(NewsError):
    """No configured server can do this now."""


# -- folders ---------------------------------------------------------------------------


class FolderError(UsenetSyncError):
    """Something about a file or folder on this machine."""


class ContentGone(UsenetSyncError):
    """What has to be posted again is neither in its source nor on any server nor in parity."""

    verdict = Verdict.PERSON


class RootMissing(FolderError):
    """The root of a folder vanished or is suddenly empty."""

    verdict = Verdict.PERSON


class FileChanged(FolderError):
    """A file changed while it was read; nothing of that reading may be used."""

    verdict = Verdict.REPLAN


class FileUnreadable(FolderError):
    """A file cannot be opened or read."""


class TargetExists(FolderError):
    """A different file already stands where one was to be restored."""


class TargetUnwritable(FolderError):
    """Something cannot be made where it was to be restored."""


# -- the catalogue ---------------------------------------------------------------------


class CatalogueError(UsenetSyncError):
    """Something about the catalogue."""

    verdict = Verdict.STOP


class NewerCatalogue(CatalogueError):
    """The catalogue was written by a newer version of UsenetSync."""


class CatalogueDamaged(CatalogueError):
    """The catalogue fails its integrity check."""


class DiskFull(UsenetSyncError):
    """No room left where something must be written."""

    verdict = Verdict.PERSON
