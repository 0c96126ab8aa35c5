"""What an earlier run of the same script leaves to this one: a folder to go on in, or results that are known."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.engine.states import State
from weft.errors import RunInUse
from weft.jobs.fingerprint import Fingerprints
from weft.jobs.names import Named
from weft.jobs.node import Job
from weft.jobs.past import Past, is_over
from weft.jobs.scribe import say
from weft.rundir import RunFolder, dismiss, latest_run

if TYPE_CHECKING:
    from weft.jobs.cluster.register import Submission
    from weft.jobs.cluster.survey import Survey

__all__ = ["Earlier", "script"]

AnyJob = Job[..., Any]


class Earlier:
    """What an earlier run leaves to this one, and the folder of this one.

    A run that was cut short is taken over: this process becomes its driver. One that a batch system runs is gone on
    with: this process submits what is missing. Leaving the `with` block gives it up, unless it is to be kept.

    Args:
        named: all jobs.
        asked: those that are scheduled.
        name: of the run.
        fresh: there is no earlier run.
        look_only: nothing is taken over.
        submits: this run is for a batch system, too.
    """

    def __init__(
        self,
        named: Named,
        asked: Sequence[AnyJob],
        name: str | None,
        *,
        fresh: bool,
        look_only: bool = False,
        submits: bool = False,
    ) -> None:
        self.identity = _identity(named, asked, name)
        self.marks = Fingerprints()
        self.resumed = False
        self.survey: Survey | None = None  #: Of a run that is gone on with.
        self.left: RunFolder | None = None  #: One that would be gone on with, if it is not only looked at.
        self._named = named
        self._folder: RunFolder | None = None
        self._past: Past | None = None
        self._finished: dict[AnyJob, Collection[int]] = {}
        self._lives: dict[AnyJob, dict[int, Submission]] = {}
        head = latest_run(self.identity)
        if fresh:
            if head is not None and not look_only:
                _tell_of(head)
        elif head is not None and look_only:
            self._past = Past(head)
            if not is_over(head):
                from weft.jobs.cluster.systems import is_detached

                self.left = head if is_detached(head) else None
                self._find_finished()
        elif head is not None:
            try:
                self._meet(head, submits=submits)
            except BaseException:
                head.unlock()
                raise

    def __enter__(self) -> Earlier:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.unlock()

    def keep(self) -> None:
        """The run has begun; it is its own now."""
        self._folder = None

    def _meet(self, head: RunFolder, *, submits: bool) -> None:
        if not is_over(head):
            from weft.jobs.cluster.systems import is_detached

            if is_detached(head):
                self._go_on_with(head, submits=submits)
            else:
                self._take_over(head)
        self._past = Past(head)
        if self.resumed:
            self._find_finished()
            self._say(head)

    def _take_over(self, head: RunFolder) -> None:
        head.lock()
        self._folder = head
        if not is_over(head):  # meanwhile
            from weft.jobs.cluster.leftovers import end_leftovers

            end_leftovers(head.path)
            for crew in dismiss(head.path, head.name):
                crew.put_away(head.path)
            self.resumed = True
        else:
            head.unlock()
            self._folder = None

    def _go_on_with(self, head: RunFolder, *, submits: bool) -> None:
        from weft.jobs.cluster.detached import survey_of

        head.lock()  # whoever submits it has finished
        survey = survey_of(head)
        if survey is None or survey.over:
            head.unlock()
            return
        where = head.facts()["backend"]
        if not submits:
            raise RunInUse(
                f"run {head.name} goes on: it is in the hands of {where}; look at it with: weft status {head.name}; "
                f"stop it with: weft cancel {head.name}; give schedule(..., name=...) to start another one beside it",
                run=head.name,
            )
        if survey.away:
            raise RunInUse(f"run {head.name} goes on, and {where} does not answer: {survey.away}", run=head.name)
        self._folder = head
        self._find_unknown(survey)
        self.survey = survey
        self.resumed = True

    @staticmethod
    def _find_unknown(survey: Survey) -> None:
        """Whoever submitted it was killed when it was about to hear an id."""
        assert survey.system is not None
        for sub in survey.standing.register.all:
            if sub.id is None and not sub.gone:
                job = survey.system.find(sub.name)
                if job is None:
                    survey.standing.register.gone(sub)
                else:
                    survey.standing.register.made(sub, job)
        survey.look()

    def _find_lives(self) -> None:
        """Which elements are in the queue, or run."""
        survey = self.survey
        assert survey is not None
        by_key = {self._named.keys[job]: job for job in self._named.order}
        states = {record.key: record.states for record in survey.standing.records}
        for (key, place), sub in survey.standing.register.holders().items():
            job = by_key.get(key)
            under_way = states.get(key, {}).get(place) in (State.WANTED, State.RUNNING)
            if job is not None and sub.id is not None and under_way and survey.standing.fate(sub, place) is None:
                self._lives.setdefault(job, {})[place] = sub

    def _say(self, head: RunFolder) -> None:
        total = len(self._named.order)
        if self.survey is None:
            done = sum(self._is_settled(job) for job in self._named.order)
            say(f"weft: taking over run {head.name}: {done} of {total} jobs were done")
            return
        self._find_lives()
        under_way = len(self._lives)
        done = sum(job not in self._lives and self._is_settled(job) for job in self._named.order)
        say(f"weft: run {head.name} goes on: {under_way} of {total} jobs are under way, {done} are done")

    def _find_finished(self) -> None:
        """Of each job, the places of which the outcome stands: it is recorded, and nothing has changed since."""
        past = self._past
        assert past is not None
        for job in self._named.order:
            key = self._named.keys[job]
            if not all(self._is_settled(dep) for dep in job.arguments.takes):
                continue
            found = []
            for place in (0,) if job.left is None else job.left:
                where = None if job.elements is None else place
                outcome = past.outcomes.get((key, where))
                if outcome is not None and outcome.ok and outcome.stamp and outcome.stamp == self._mark(job, place):
                    found.append(place)
            if found:
                self._finished[job] = set(found)

    def _is_settled(self, job: AnyJob) -> bool:
        """Whether the result of a job that was taken by others is still the same."""
        places = (0,) if job.left is None else job.left
        if all(place in self._finished.get(job, ()) for place in places):
            return True
        past = self._past
        assert past is not None
        return bool(past.jobs.get(self._named.keys[job], {}).get("state") == State.UP_TO_DATE.value)

    def _mark(self, job: AnyJob, place: int) -> bytes:
        return self.marks.place(job, place)

    def look_at(self, running: Collection[AnyJob]) -> None:
        """Take the fingerprints of the jobs that are to run, before any of them changes what others refer to."""
        needed = set(running)
        for job in reversed(self._named.order):
            if job.arguments.takes and job in needed:
                needed.update(job.arguments.takes)
        for job in self._named.order:
            if job in needed:
                self.marks.job(job)

    def finished(self, job: AnyJob) -> Collection[int]:
        """The places of which the outcome stands."""
        return self._finished.get(job, ())

    def lives(self, job: AnyJob) -> Mapping[int, Submission]:
        """The places that run already, or wait in the queue of a batch system, and in which submission."""
        return self._lives.get(job, {})

    def known(self, job: AnyJob, places: Sequence[int]) -> Collection[int]:
        """Those of these places whose result is known."""
        past = self._past
        if past is None:
            return ()
        key = self._named.keys[job]
        if job.elements is None:
            return places if past.success(key, None) is not None else ()
        return {place for place in places if past.success(key, place) is not None}

    def source(self, job: AnyJob) -> str | None:
        """The name of the run that knows what is known of a job."""
        return None if self._past is None else self._past.source(self._named.keys[job])

    def value(self, job: AnyJob) -> Callable[[int], Any] | None:
        """What is known of the result of a job, by place."""
        past = self._past
        if past is None:
            return None
        key, single = self._named.keys[job], job.elements is None
        return lambda place: past.value(key, None if single else place)

    def made_here(self, job: AnyJob, place: int) -> bool:
        """Whether the run that goes on has made this result already, before it was taken over."""
        if not self.resumed or self._past is None:
            return False
        outcome = self._past.outcomes.get((self._named.keys[job], None if job.elements is None else place))
        return outcome is not None and outcome.ok

    def open(self, name: str | None) -> RunFolder:
        """The folder: of the run that is taken over, or a new one."""
        if self._folder is None:
            self._folder = RunFolder.create(name or _script_name(), self.identity)
        return self._folder


def _tell_of(head: RunFolder) -> None:
    """A new run is asked for, whatever there was: but what goes on goes on."""
    from weft.jobs.cluster.detached import goes_on
    from weft.jobs.cluster.systems import is_detached

    if is_detached(head) and goes_on(head):
        say(f"weft: run {head.name} goes on beside this one; to stop it: weft cancel {head.name}")


def _identity(named: Named, asked: Sequence[AnyJob], name: str | None) -> str:
    """What a later run of the same script has, too."""
    return json.dumps([script() or os.getcwd(), name, sorted(named.keys[job] for job in asked)])


def script() -> str | None:
    """The absolute path of the main script; None in a notebook, an interpreter, or where code comes as text."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return None if path is None else os.path.abspath(path)


def _script_name() -> str:
    path = script()
    return "run" if path is None else Path(path).stem
