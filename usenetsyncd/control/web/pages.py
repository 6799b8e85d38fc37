"""The pages about the daemon as a whole: overview, queue, jobs, servers, events, log."""

from starlette.responses import Response
from starlette.routing import Route

from usenetsyncd.control import schema
from usenetsyncd.control.web.base import Pages, made
from usenetsyncd.control.web.visit import Visit, action_route
from usenetsyncd.errors import NotFound, UsageError

OVERVIEW_FOLDERS, OVERVIEW_EVENTS, OVERVIEW_JOBS = 50, 8, 5
LIST_ROWS = 50
LOG_ROWS = 200
# What the queue opens with: the first of these that is not empty.
WORKED_ON = ("queued", "sending", "asking", "doubtful", "waiting", "failed")
LEVELS = ("debug", "info", "warning", "error")
# Choices of the pause button, in seconds; 0 is until somebody resumes.
PAUSES = ((0, "until resumed"), (3_600, "1 hour"), (28_800, "8 hours"), (86_400, "1 day"))


class DaemonPages(Pages):
    """Reads and directs the daemon through the same operations as the API."""

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            self.get("/", self.overview),
            self.get("/queue", self.queue),
            self.get("/jobs", self.jobs),
            self.get("/jobs/{job}", self.job),
            self.get("/servers", self.servers),
            self.get("/events", self.events),
            self.get("/log", self.log),
            action_route("/pause", self.pause),
            action_route("/resume", self.resume),
            action_route("/scan", self.scan),
            action_route("/verify", self.verify),
            action_route("/repair", self.repair),
            action_route("/queue", self.queue_change),
            action_route("/jobs/{job}/cancel", self.job_cancel),
            action_route("/servers/{server}/test", self.server_test),
        ]

    # -- looking -------------------------------------------------------------------------------

    def overview(self, visit: Visit) -> Response:
        """The verdict first, then what moves, then what happened."""
        status, health = self.operations.status(), self.operations.health()
        running = self.operations.jobs("running", None, OVERVIEW_JOBS).jobs
        return self.page(
            visit,
            "overview.html",
            status=status,
            health=health,
            folders=status.folders[:OVERVIEW_FOLDERS],
            traffic=self.operations.traffic(),
            span="day" if visit.query.get("span") == "day" else "hour",
            jobs=running,
            events=list(reversed(self.operations.events(None, OVERVIEW_EVENTS))),
            pauses=PAUSES,
        )

    def queue(self, visit: Visit) -> Response:
        """Articles in one state, a page at a time."""
        state = visit.choice("state") or self._where_work_is(visit.choice("folder"))
        if state not in schema.ARTICLE_STATES:
            raise UsageError(f"there is no state '{state}'")
        found = self.operations.queue(state, visit.choice("folder"), visit.choice("after"), LIST_ROWS)
        return self.page(
            visit,
            "queue.html",
            queue=found,
            state=state,
            states=[
                name for name in schema.ARTICLE_STATES if found.counts.get(name) or name in ("queued", state)
            ],
            folder=visit.choice("folder"),
            folder_names=[folder.id for folder in self.operations.folders(None, 200).folders],
            priorities=list(schema.Priority),
            status=self.operations.status(),
            pauses=PAUSES,
        )

    def _where_work_is(self, folder: str | None) -> str:
        counts = self.operations.queue(None, folder, None, 1).counts
        return next((state for state in WORKED_ON if counts.get(state)), WORKED_ON[0])

    def jobs(self, visit: Visit) -> Response:
        """The newest first."""
        found = self.operations.jobs(visit.choice("state"), visit.choice("after"), LIST_ROWS)
        return self.page(visit, "jobs.html", jobs=found)

    def job(self, visit: Visit) -> Response:
        """One job: how far it is, or how it ended."""
        return self.page(visit, "job.html", job=self.operations.job(_number(visit.parts["job"])))

    def servers(self, visit: Visit) -> Response:
        """All of them, there are never many."""
        return self.page(visit, "servers.html", servers=self.operations.servers().servers)

    def events(self, visit: Visit) -> Response:
        """The newest first; older ones by the id they come before."""
        before = visit.choice("before")
        if before is None:
            rows = self.operations.events(None, LIST_ROWS)
        else:
            last = _number(before)
            rows = [r for r in self.operations.events(max(0, last - LIST_ROWS - 1), LIST_ROWS) if r.id < last]
        older = rows[0].id if rows and rows[0].id > 1 else None
        return self.page(visit, "events.html", events=list(reversed(rows)), older=older)

    def log(self, visit: Visit) -> Response:
        """The last lines that fit, the newest first."""
        level = visit.choice("level") or "info"
        if level not in LEVELS:
            raise UsageError(f"there is no level '{level}'")
        lines = self.operations.logs(0, LOG_ROWS, visit.choice("component"), level)
        every = self.operations.logs(0, 1_000, None, None)
        components = sorted({line.component for line in every})
        return self.page(
            visit,
            "log.html",
            lines=list(reversed(lines)),
            level=level,
            levels=LEVELS,
            component=visit.choice("component"),
            components=components,
        )

    # -- directing -----------------------------------------------------------------------------

    def pause(self, visit: Visit) -> Response:
        """Of one folder, or of all."""
        folder = visit.field("folder") or None
        for_s = float(_number(visit.field("for_s", "0"))) or None
        self.operations.pause(schema.PauseRequest(folder=folder, for_s=for_s))
        return visit.back("done", f"{folder or 'Everything'} is paused.")

    def resume(self, visit: Visit) -> Response:
        """Go on."""
        folder = visit.field("folder") or None
        self.operations.resume(folder)
        return visit.back("done", f"{folder or 'Everything'} goes on.")

    def scan(self, visit: Visit) -> Response:
        """One folder, or all."""
        found = self.operations.scan(visit.field("folder") or None)
        return visit.back(
            "done", f"Scanning {', '.join(found.folders[:5]) or 'nothing: there is no folder'}."
        )

    def verify(self, visit: Visit) -> Response:
        """Ask every server for every article of a folder, or of all."""
        job = self.operations.verify(schema.VerifyOrder(folder=visit.field("folder") or None))
        return visit.back("done", f"The check is job {job.id}.")

    def repair(self, visit: Visit) -> Response:
        """Post again what was lost."""
        job = self.operations.repair(schema.RepairOrder(folder=visit.field("folder") or None))
        return visit.back("done", f"The repair is job {job.id}.")

    def queue_change(self, visit: Visit) -> Response:
        """Those that are ticked, or all that fit the folder."""
        ticked, folder = visit.form.get("article", []), visit.field("folder") or None
        everything = visit.field("all") == "yes"
        if not ticked and not everything:
            raise UsageError("tick some articles first, or choose all of them")
        selection = {"folder": folder, "articles": [] if everything else ticked}
        action = visit.field("action")
        if action == "retry":
            changed = self.operations.queue_retry(made(schema.QueueSelection, **selection))
            return visit.back("done", f"{changed.count:,} articles are queued again.")
        if action == "cancel":
            changed = self.operations.queue_cancel(made(schema.QueueSelection, **selection))
            return visit.back("done", f"{changed.count:,} articles are cancelled.")
        if action == "move":
            order = {**selection, "priority": visit.field("priority")}
            changed = self.operations.queue_move(made(schema.QueueMove, **order))
            return visit.back("done", f"{changed.count:,} articles have another priority.")
        raise UsageError("choose what to do with them")

    def job_cancel(self, visit: Visit) -> Response:
        """Stop it for good."""
        job = self.operations.job_cancel(_number(visit.parts["job"]))
        return visit.back("done", f"Job {job.id} is {job.state}.")

    def server_test(self, visit: Visit) -> Response:
        """Takes seconds."""
        report = self.operations.server_test(visit.parts["server"])
        told = "; ".join(report.lines) or report.problem
        return visit.back("done" if report.ok else "failed", f"{report.name}: {told or 'all is well'}")


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise NotFound(f"'{text}' is not a number")
    return int(text)
