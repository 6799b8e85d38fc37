"""Threads for reading: started when needed, kept for the next time, joined at the end."""

import queue
import threading
from collections.abc import Callable
from time import monotonic

import structlog

log = structlog.get_logger("news")


class Crew:
    """Runs every task at once, in a waiting thread if there is one, else in a new one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._spare = 0  # waiting threads less the tasks that wait for them
        self._closed = False

    def submit(self, task: Callable[[], None]) -> bool:
        """Run it soon; False after close(). A task must not raise."""
        with self._lock:
            if self._closed:
                return False
            self._tasks.put(task)
            if self._spare > 0:
                self._spare -= 1
            else:
                thread = threading.Thread(
                    target=self._run, name=f"{self._name}-{len(self._threads)}", daemon=True
                )
                self._threads.append(thread)
                thread.start()
        return True

    def close(self, deadline_s: float) -> None:
        """Take no more tasks, and join the threads; log those that do not end in time."""
        with self._lock:
            self._closed = True
            for _ in self._threads:
                self._tasks.put(None)
        ends_at = monotonic() + deadline_s
        for thread in self._threads:
            thread.join(max(0.1, ends_at - monotonic()))
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        if stuck:
            log.error("threads_stuck", threads=stuck)

    def _run(self) -> None:
        while True:
            task = self._tasks.get()
            if task is None:
                return
            try:
                task()
            except Exception:
                # The thread must live on: others count on it. What went wrong is told with its traceback.
                log.exception("reading_task_failed")
            finally:
                with self._lock:
                    self._spare += 1
