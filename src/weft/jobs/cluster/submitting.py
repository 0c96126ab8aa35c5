"""Submits a plan to a batch system: parents first, each submission written down before it is made."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from threading import Condition
from typing import TYPE_CHECKING, Any, TypeVar

from weft.engine.states import State
from weft.errors import SubmitError, WeftError, told
from weft.executors.cluster.system import Busy, Clock, Order, Refused
from weft.jobs.cluster.layout import Layout, Never
from weft.jobs.scribe import CANCEL, say
from weft.rundir import Journal, RunFolder

if TYPE_CHECKING:
    from weft.executors.cluster.system import BatchSystem
    from weft.jobs.cluster.papers import Papers
    from weft.jobs.cluster.register import Submission
    from weft.jobs.cluster.survey import Survey
    from weft.jobs.node import Job
    from weft.jobs.prune import Plan, Planned
    from weft.jobs.records import Record

__all__ = ["Patience", "Submitter"]

T = TypeVar("T")

FRESH = 1.0  # seconds for which what the batch system has said is taken to be so; it forgets nobody sooner
LONGEST = 60.0  # seconds between two tries, when it does not answer, or has no room
GIVE_UP = 300.0  # seconds without an answer


class Patience:
    """For how long, and how often, something is asked of who does not answer, or has no room."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.now()
        self._pause = 1.0

    def is_over(self, busy: Busy) -> bool:
        """Whether nobody has answered for long. That there is no room is an answer."""
        if busy.full:
            self._since = self._clock.now()
        return self._clock.now() - self._since > GIVE_UP

    def pause(self) -> None:
        """Wait, each time longer."""
        condition = Condition()
        with condition:
            self._clock.wait(condition, self._pause)
        self._pause = min(LONGEST, self._pause * 1.5)


class _Cancelled(Exception):  # noqa: N818 - an answer
    """Somebody has asked for the end of the run meanwhile."""


class Submitter:
    """Submits what is missing of a run.

    Args:
        folder: of the run; its driver is this process.
        plan, records: what is to run.
        system: the batch system.
        papers: writes down what is submitted.
        survey: of the run.
        lives: for each job, which of its elements are in the queue, and in which submission.
        size: most elements of one submission.
    """

    def __init__(
        self,
        folder: RunFolder,
        plan: Plan,
        records: Mapping[Job[..., Any], Record],
        system: BatchSystem,
        papers: Papers,
        survey: Survey,
        lives: Mapping[Job[..., Any], Mapping[int, Submission]],
        size: int,
    ) -> None:
        self.made: list[Submission] = []
        self._folder = folder
        self._plan = plan
        self._records = records
        self._system = system
        self._papers = papers
        self._survey = survey
        self._register = survey.standing.register
        fate, pieces = survey.standing.fate, getattr(system, "pieces", None)
        self._layout = Layout(plan, records, self._register, size, lives, fate, pieces)
        self._goes_on = any(lives.values())
        self._left = ""  # what could not be taken back
        self._journal = Journal(folder.journal)
        self._looked = self._system.clock.now()
        self._told = False

    def submit(self) -> None:
        """Submit everything, or, with an exception, nothing.

        Raises:
            SubmitError: the batch system refuses something, or does not answer for minutes.
            StorageError: something cannot be written down.
            ArgumentError: an argument that cannot be sent.
        """
        self._note(run="started")
        self._papers.write_launcher()
        try:
            for part in self._plan:
                if part.state is State.WANTED:
                    self._submit(part)
        except BaseException as error:  # noqa: BLE001 - it is raised again, or what the user is told instead
            self._take_back(error)
            raise self._error(error) from (error if isinstance(error, WeftError) else error.__cause__)
        else:
            self._note(run="submitted")
        finally:
            self._register.close()
            self._journal.close()

    def _submit(self, part: Planned) -> None:
        record = self._records[part.job]
        self._look()
        try:
            subs = self._layout.lay(part)
        except Never:  # whoever looks at the run finds out the same
            return
        finally:
            self._cancel_stale()
        self._reset(record, [place for sub in subs if sub.role == "call" for place in sub.places])
        for sub in subs:
            self._look()
            try:
                self._make(part.job, record, sub)
            except Never:
                self._layout.lose(part.job)
                return
            except (Refused, Busy) as error:
                raise _NotTaken(record, error) from None

    def _look(self) -> None:
        """See what has ended meanwhile, unless that was done just now."""
        if (self._folder.path / CANCEL).exists():
            raise _Cancelled
        if self.made and self._system.clock.now() - self._looked > FRESH:
            self._looked = self._system.clock.now()
            self._survey.look()

    def _reset(self, record: Record, places: list[int]) -> None:
        """What has failed before, and is submitted anew, waits again."""
        again = [place for place in places if record.states[place].is_end]
        for place in again:
            self._note(job=record.key, **({} if record.elements is None else {"i": place}), state="wanted")
        if places and record.elements is not None and record.whole.is_end:
            self._note(job=record.key, state="wanted")
        self._survey.standing.catch_up()

    # One submission -------------------------------------------------------------------------------------------

    def _make(self, job: Job[..., Any], record: Record, sub: Submission) -> None:
        self._layout.settle(sub)
        self._papers.write(job, record, sub)
        self._register.begins(sub)
        self.made.append(sub)
        self._register.made(sub, self._patiently(lambda: self._order(sub), sub.name))

    def _order(self, sub: Submission) -> str:
        try:
            self._layout.settle(sub)
        except Never:
            self._register.gone(sub)
            self.made.remove(sub)
            raise
        after = tuple(
            (str(dep.id), how) if isinstance(how, str) else (str(dep.id_of(how, self._system)), "success")
            for dep, how in sub.after
        )
        return self._system.submit(Order(sub.name, str(sub.script(self._folder.path)), sub.indices, after, sub.any))

    def _patiently(self, ask: Callable[[], str], name: str) -> str:
        """An answer. While there is none, or no room, ask again. Raises Busy when nobody has answered for long."""
        patience, unsure = Patience(self._system.clock), False
        while True:
            try:
                if unsure:  # it may have been taken
                    found = self._system.find(name)
                    if found is not None:
                        return found
                    unsure = False
                return ask()
            except Busy as busy:
                unsure = unsure or busy.unsure
                if patience.is_over(busy):
                    raise
                self._tell(busy)
            patience.pause()
            self._look()

    def _tell(self, busy: Busy) -> None:
        if not self._told:
            self._told = True
            what = "has no room" if busy.full else "does not answer"
            count = len(self.made) - 1
            say(f"weft: {self._system.name} {what}; {count} submissions are made, trying again: {busy}")

    # Taking it back -------------------------------------------------------------------------------------------

    def _cancel_stale(self) -> None:
        """What waits for something that is submitted anew is submitted anew itself; first it leaves the queue."""
        stale, self._layout.stale = self._layout.stale, []
        if stale:
            self._cancel({str(sub.id): [sub.index_of(place) for place in places] for sub, places in stale})
            for sub, places in stale:
                if len(places) == len(sub.places):
                    self._register.gone(sub)

    def _take_back(self, error: BaseException) -> None:
        """Cancel what has been submitted, since not everything could be."""
        jobs: dict[str, None] = {}
        for sub in self.made:
            if sub.id is None and not isinstance(error, _NotTaken):  # interrupted just then: it may have been taken
                try:
                    sub.id = self._system.find(sub.name)
                except Busy:
                    pass
            if sub.id is not None:
                jobs[sub.id] = None
        self._left = self._cancel(jobs) if jobs else ""
        for sub in self.made:
            self._register.gone(sub)
        if not self._goes_on:
            self._survey.give_up()

    def _cancel(self, jobs: Mapping[str, Any]) -> str:
        """Cancel these; what cannot be, as text."""
        clock, condition, since = self._system.clock, Condition(), self._system.clock.now()
        while True:
            try:
                self._system.cancel(dict(jobs))
            except Busy as busy:
                if clock.now() - since > LONGEST:
                    return f"; {', '.join(jobs)} could not be cancelled: {busy}"
            else:
                return ""
            with condition:
                clock.wait(condition, 1.0)

    def _error(self, error: BaseException) -> BaseException:
        if isinstance(error, _Cancelled):
            return SubmitError(f"run {self._folder.name} was cancelled while it was submitted", said="")
        if not isinstance(error, _NotTaken):
            return error
        text = f"{error.record.name} was not taken by {self._system.name}: {error.said}"
        if any(sub.id is not None for sub in self.made):
            text += f"; what was submitted before it is cancelled{self._left}"
        return SubmitError(text, said=error.said)

    def _note(self, **facts: Any) -> None:
        if "run" in facts:
            facts |= {"pid": os.getpid(), "host": socket.gethostname()}
        self._journal.write(t=time.time(), **facts)


class _NotTaken(Exception):  # noqa: N818 - an answer
    def __init__(self, record: Record, why: BaseException) -> None:
        super().__init__(told(why))
        self.record = record
        self.said = str(why)
