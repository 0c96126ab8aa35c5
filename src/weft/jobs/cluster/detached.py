"""A run that goes on by itself, in the hands of a batch system, for those who wait for it or stop it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.engine.states import State
from weft.errors import DeadlockError, RunInUse
from weft.executors.cluster.system import Busy, Clock, Phase
from weft.jobs.cluster.survey import Survey
from weft.jobs.cluster.systems import is_detached, system_of
from weft.jobs.facts import records_told
from weft.jobs.loaded import failure_of
from weft.jobs.past import Past, is_over
from weft.jobs.scribe import CANCEL, say
from weft.rundir import RunFolder, log_path, write_atomic

if TYPE_CHECKING:
    from weft.executors.cluster.system import BatchSystem
    from weft.jobs.records import Record

__all__ = ["Detached", "goes_on", "survey_of"]

FASTEST, SLOWEST = 0.5, 15.0  # seconds between two questions to the batch system, as things move
LISTING = 0.2  # seconds between two looks for outcomes meanwhile
PATIENCE = 120.0  # seconds for what was cancelled to be gone


class Detached:
    """Such a run, as `Run` sees it.

    Args:
        folder: of the run.
        records: of its jobs, in topological order.
        system: the batch system; None where it cannot be asked.
    """

    def __init__(self, folder: RunFolder, records: Sequence[Record], system: BatchSystem | None) -> None:
        self.name = folder.name
        self.path: Path | None = folder.path
        self.records = records
        self.survey = Survey(folder, records, system)
        self._folder = folder
        self._system = system
        for record in records:
            self._know(record)

    @classmethod
    def load(cls, folder: RunFolder) -> Detached:
        """One of another process."""
        loaded = cls(folder, records_told(folder.facts()), system_of(folder))
        loaded.refresh()
        return loaded

    def refresh(self) -> None:
        """Bring the records up to date."""
        self.survey.look()
        self._fill_in()

    @property
    def ids(self) -> Mapping[str, str]:
        """What the batch system calls each job, by key."""
        return self.survey.standing.register.ids()

    def log_path(self, record: Record, place: int | None) -> Path | None:
        """The file with what a job or an element wrote, if it wrote anything."""
        if record.elements is not None and place is None:  # what its conditions wrote, that it has as a whole
            paths = [log_path(self._folder.path, f"{record.key}+{role}", None) for role in ("after", "before")]
        else:
            paths = [log_path(self._folder.path, record.key, record.where(place))]
        return next((path for path in paths if path.exists() and path.stat().st_size), None)

    # Waiting --------------------------------------------------------------------------------------------------

    def wait(self, timeout: float | None) -> bool:
        """Return when the run is over, or False after so many seconds.

        What the batch system holds for ever is taken out of the queue: it has died of that, as with an executor. Who
        only looks leaves it there, as it may be released.
        """
        clock = Clock() if self._system is None else self._system.clock
        end = None if timeout is None else clock.now() + timeout
        pause = FASTEST
        try:
            while True:
                changed = self.survey.look()
                if self.survey.over or (end is not None and clock.now() >= end):
                    self._fill_in()
                    return bool(self.survey.over)
                self._refuse_to_wait_for_ever()
                self.survey.give_up_held()
                pause = FASTEST if changed else min(pause * 1.5, SLOWEST)
                self._pause(clock, pause if end is None else min(pause, end - clock.now()))
        except KeyboardInterrupt:
            say(f"weft: run {self.name} goes on; to stop it: weft cancel {self.name}")
            raise

    def _pause(self, clock: Clock, seconds: float) -> None:
        """So many seconds, or until all outcomes are there."""
        until = clock.now() + seconds
        condition = threading.Condition()
        with condition:
            while (left := until - clock.now()) > 0 and not self.survey.has_all():
                clock.wait(condition, min(left, LISTING))

    def _refuse_to_wait_for_ever(self) -> None:
        if self.survey.standing.left() or self._folder.is_live():
            return
        missing = self.survey.standing.not_submitted()
        if missing:
            raise DeadlockError(
                f"run {self.name} does not go on: {missing[0].name} was not submitted; run its script again, and "
                "what is missing is"
            )

    # Cancelling -----------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Cancel what is not over; return when nothing of it is left."""
        self.call_off()

    def call_off(self) -> bool:
        """Have it cancelled, and return when nothing of it is left; False where it was over before.

        Raises RunInUse where the batch system does not answer, or does not end what it runs.
        """
        survey, system = self.survey, self._system
        survey.look()
        if survey.over:
            return False
        if system is None:
            raise self._in_use(f"{survey.away}; cancel it where its batch system is")
        write_atomic(self._folder.path / CANCEL, b"")  # whoever still submits it is to stop
        self._end_all(system)
        survey.give_up()
        self._fill_in()
        return self.survey.standing.over == "cancelled"

    def _end_all(self, system: BatchSystem) -> None:
        """Return when neither the batch system nor anybody who submits has anything of it."""
        clock, condition = system.clock, threading.Condition()
        end, pause = clock.now() + PATIENCE, 0.05
        told: set[str] = set()
        said = ""
        while True:
            self.survey.standing.catch_up()
            jobs = self.survey.scripts(sub for sub, _ in self.survey.standing.left())
            try:
                if new := [job for job in jobs if job not in told]:
                    system.cancel(dict.fromkeys(new))
                    told.update(new)
                seen = [line for line in system.look(jobs) if line.phase is not Phase.ENDED] if jobs else []
                if not seen and not self._folder.is_live():
                    return
                said = f"{len(seen)} of its jobs do not end" if seen else "somebody still submits it"
            except Busy as busy:
                said = f"the batch system does not answer: {busy}"
            if clock.now() > end:
                raise self._in_use(f"{said}; try again")
            with condition:
                clock.wait(condition, pause)
            pause = min(1.0, pause * 1.5)

    def _in_use(self, why: str) -> RunInUse:
        return RunInUse(f"run {self.name} goes on: {why}", run=self.name)

    # Results --------------------------------------------------------------------------------------------------

    def _know(self, record: Record) -> None:
        """Have the record find its results."""
        kept: list[Past] = []  # those of an array are in many files: they are read once, when all are there

        def value(place: int) -> Any:
            if not kept or not record.whole.is_end:
                kept[:] = [Past(self._folder, {record.key})]
            return kept[0].value(record.key, record.where(place))

        record.past = value

    def _fill_in(self) -> None:
        """The failures that others have found out."""
        for record in self.records:
            failed: list[int | None] = [place for place, its in record.states.items() if its is State.FAILED]
            if record.elements is not None and record.whole is State.FAILED and not failed:
                failed.append(None)
            if all(place in record.failures for place in failed):
                continue
            outcomes = Past(self._folder, {record.key}).outcomes
            for place in failed:
                where = None if place is None else record.where(place)
                outcome = outcomes.get((record.key, where))
                if place not in record.failures and outcome is not None and not outcome.ok:
                    record.failures[place] = failure_of(record, place, outcome, self.log_path(record, place))


def survey_of(folder: RunFolder) -> Survey | None:
    """What has become of a run up to now, where a batch system runs it; None where it has a driver, or is over."""
    if is_over(folder) or not is_detached(folder):
        return None
    survey = Survey(folder, records_told(folder.facts()), system_of(folder))
    survey.look()
    return survey


def goes_on(folder: RunFolder) -> bool:
    """Whether a run is under way: its driver lives, or a batch system has it."""
    if folder.is_live():
        return True
    survey = survey_of(folder)
    return survey is not None and not survey.over and bool(survey.standing.left())
