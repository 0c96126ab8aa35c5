"""A run that goes on in this process: what holds its driver, its places and its folder together."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from weft.engine.states import State
from weft.executors.tee import end_teeing, tee
from weft.jobs.call import JobCall
from weft.jobs.driver import Driver
from weft.jobs.node import Job
from weft.jobs.prune import Plan
from weft.jobs.records import Record
from weft.jobs.scribe import Scribe, say
from weft.jobs.site import Site, this_process
from weft.rundir import Crew, RunFolder, log_path

__all__ = ["Live", "Opened"]

AnyJob = Job[..., Any]


class Opened(Protocol):
    """The backends of a run."""

    of: dict[AnyJob, Any]

    @property
    def work(self) -> Any:
        """What the thread that waits has to do meanwhile, if anything."""

    def close(self, *, wait: bool, interrupted: bool) -> None:
        """No more jobs come."""

    def when_idle(self, function: Callable[[], object]) -> None:
        """After `close`: call it when nothing runs any more; now, where nothing does."""


class Live:
    """Runs a plan in a folder of which this process is the driver.

    Args:
        folder: of the run.
        plan, records, calls, marks: see `Driver`.
        places: the backends.
        at_once: see `Scribe`.
        how: the run goes on from here: ``"started"`` or ``"taken over"``.
    """

    ids: Mapping[str, str] = {}

    def __init__(
        self,
        folder: RunFolder,
        plan: Plan,
        records: dict[AnyJob, Record],
        calls: Mapping[AnyJob, JobCall],
        marks: Callable[[AnyJob, int | None], bytes],
        places: Opened,
        *,
        at_once: bool,
        how: str,
    ) -> None:
        self.name = folder.name
        self.path: Path | None = folder.path
        self._folder = folder
        self._records = records
        self._places = places
        crew = Crew.form(folder.path)
        site = Site(str(folder.path), str(crew.path), this_process(), _here())
        for call in calls.values():
            call.site = site
        self._scribe = Scribe(folder, crew, at_once=at_once)
        self._driver = Driver(plan, records, places.of, calls, marks, self._scribe, self.name)
        self._driver.at_end = self._end
        self._closing = threading.Lock()
        self._closed = False
        self._tees = any(place.shares_memory for place in places.of.values())
        self._how = how

    def start(self) -> None:
        """Let it go on."""
        self._scribe.began(self._how)
        if self._tees:
            tee()
        try:
            self._driver.start()
        except BaseException:
            self._driver.cancel(interrupted=True)
            self._places.close(wait=True, interrupted=True)
            self._close()
            raise

    def refresh(self) -> None:
        """The driver keeps the records up to date."""

    def wait(self, timeout: float | None) -> bool:
        """Return when the run is over, or False after so many seconds."""
        try:
            if timeout is None and self._places.work is not None:
                self._places.work(self._driver.over)
            if not self._driver.over.wait(timeout):
                return False
            self._places.close(wait=True, interrupted=False)
        except KeyboardInterrupt:
            self._interrupted()
            raise
        self._close()
        return True

    def cancel(self, *, interrupted: bool = False) -> None:
        """Cancel what is not over; return when nothing of it is left."""
        self._driver.cancel(interrupted=interrupted)
        self._places.close(wait=False, interrupted=True)
        self._driver.over.wait()
        self._places.close(wait=True, interrupted=True)
        # Until then this process is the driver: nobody may begin anew what it still does.
        self._places.when_idle(self._close)

    def log_path(self, record: Record, place: int | None) -> Path | None:
        """The file with what a job or an element wrote, if it wrote anything."""
        path = log_path(self._folder.path, record.key, record.where(place))
        return path if path.exists() else None

    def _interrupted(self) -> None:
        before = sum(record.state.is_end for record in self._records.values())
        self.cancel(interrupted=True)
        cancelled = sum(record.state is State.CANCELLED for record in self._records.values())
        say(
            f"weft: run {self.name} interrupted: {cancelled} of {len(self._records)} jobs cancelled, {before} were over"
        )

    def _end(self, stopped: str | None) -> None:
        """In the scheduler's thread: all jobs are over."""
        self._scribe.ended(stopped or "finished")
        self._places.close(wait=False, interrupted=False)
        if stopped is None:
            self._close()  # else jobs may still run that could not be stopped, such as those in threads

    def _close(self) -> None:
        with self._closing:
            if self._closed:
                return
            self._closed = True
        if self._tees:
            end_teeing()
        self._scribe.close()


def _here() -> str:
    try:
        return os.getcwd()
    except OSError:  # it has been deleted
        return os.sep
