"""A job as lines of a stream: how far it is, what is done of it, how it ended and with which exit code."""

from collections.abc import Mapping
from typing import Any

from usenetsyncd.control.schema import SCHEMA, Job
from usenetsyncd.errors import ExitCode, exit_code_of

# What the summary of each kind always counts, and which counts, when not 0, need somebody's attention.
_COUNTED: Mapping[str, tuple[str, ...]] = {
    "restore": ("files", "bytes", "failed"),
    "verify": ("checked", "missing", "corrupt", "unknown", "at_risk", "unrepairable"),
    "repair": ("reposted", "rebuilt", "unrepairable", "waiting"),
}
_TROUBLING: Mapping[str, frozenset[str]] = {
    "restore": frozenset({"failed"}),
    # What could not be asked for is not known to be lost, but it is not known to be there either.
    "verify": frozenset({"missing", "corrupt", "unknown", "at_risk", "unrepairable"}),
    "repair": frozenset({"unrepairable", "waiting"}),
}


def job_progress(job: Job) -> dict[str, Any]:
    """``{"type": "progress", "job", "kind", "state", "phase", ...}``"""
    told = {name: value for name, value in job.progress.items() if name not in ("parts", "now")}
    return {"schema": SCHEMA, "type": "progress", "job": job.id, "kind": job.kind, "state": job.state, **told}


def job_parts(job: Job) -> list[dict[str, Any]]:
    """``{"type": "folder", "folder", ...}`` for each folder that a check or repair is done with."""
    parts = (job.result or {}).get("folders") or job.progress.get("parts") or []
    return [{"schema": SCHEMA, "type": "folder", **part} for part in parts]


def job_summary(job: Job) -> dict[str, Any]:
    """``{"type": "summary", "job", "kind", "state", "exit_code", ...}`` with the counts of its kind.

    exit_code: 0 all is well, 3 done but something needs attention; that of its error when it did not come to its end, 1 for most.
    """
    counted = {name: job.progress.get(name, 0) for name in _COUNTED.get(job.kind, ())}
    result = {name: value for name, value in (job.result or {}).items() if name != "type"}
    summary: dict[str, Any] = {"schema": SCHEMA, "type": "summary", "job": job.id, "kind": job.kind}
    summary |= {"state": job.state, **counted, **result}
    if job.state == "done":
        troubled = any(summary[name] for name in _TROUBLING.get(job.kind, ()))
        exit_code = ExitCode.ATTENTION if troubled else ExitCode.DONE
    else:
        exit_code = exit_code_of(job.error_code or "")
        summary |= {"error": job.error_code or job.state, "message": job.error or f"the job was {job.state}"}
    return summary | {"exit_code": int(exit_code)}
