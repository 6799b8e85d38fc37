"""Looking after what is posted: checks, repairs, what is known of a folder's health."""

from collections.abc import Mapping, Sequence

from pydantic import Field

from usenetsyncd.control.schema.bases import Model, Moment, Name, Request

DAMAGED_FILES_SHOWN = 100


class VerifyOrder(Request):
    """What to check: every live article of a folder, or of all, on every server it should be on.

    full: fetch, open and hash every body. sample: fetch that fraction of them; None is the folder's own setting.
    server: ask just this one.
    """

    folder: Name | None = None
    full: bool = False
    sample: float | None = Field(default=None, ge=0, le=1)
    server: Name | None = None


class RepairOrder(Request):
    """What to repair. wait: the job ends only when what it posted was asked for once."""

    folder: Name | None = None
    dry_run: bool = False
    wait: bool = True


class LastCheck(Model):
    """The newest check of a folder that came to its end. statement: what it says of the bodies, as a sentence."""

    finished_at: Moment
    checked: int = 0
    missing: int = 0
    corrupt: int = 0
    unknown: int = 0
    sampled: int = 0
    statement: str = ""


class Damage(Model):
    """What is known to be wrong with a folder.

    lost: segments that are nowhere any more. at_risk: segments that lack an article, and can be had all the same.
    reasons: sentences. files: paths, at most 100, of those that a lost segment belongs to.
    backbones: number of servers -> segments that are whole on so many of them, where that is known.
    action: the command that deals with it.
    """

    lost: int = 0
    at_risk: int = 0
    reasons: Sequence[str] = ()
    files: Sequence[str] = ()
    backbones: Mapping[int, int] = Field(default_factory=dict)
    action: str = ""
