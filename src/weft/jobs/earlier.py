"""What an earlier run of the same script leaves to this one: a folder to go on in, or results that are known."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from weft.engine.states import State
from weft.jobs.fingerprint import Fingerprints
from weft.jobs.names import Named
from weft.jobs.node import Job
from weft.jobs.past import Past, is_over
from weft.jobs.scribe import say
from weft.rundir import RunFolder, dismiss, latest_run

__all__ = ["Earlier", "script"]

AnyJob = Job[..., Any]


class Earlier:
    """What an earlier run leaves to this one, and the folder of this one.

    A run that was cut short is taken over: this process becomes its driver. Leaving the `with` block gives it up,
    unless it is to be kept.
    """

    def __init__(
        self, named: Named, asked: Sequence[AnyJob], name: str | None, *, fresh: bool, look_only: bool = False
    ) -> None:
        self.identity = _identity(named, asked, name)
        self.marks = Fingerprints()
        self.resumed = False
        self._named = named
        self._folder: RunFolder | None = None
        self._past: Past | None = None
        self._finished: dict[AnyJob, Collection[int]] = {}
        head = None if fresh else latest_run(self.identity)
        if head is not None and look_only:
            self._past = Past(head)
            if not is_over(head):
                self._find_finished()
        elif head is not None:
            try:
                self._meet(head)
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

    def _meet(self, head: RunFolder) -> None:
        if not is_over(head):
            head.lock()
            self._folder = head
            if not is_over(head):  # meanwhile
                for crew in dismiss(head.path, head.name):
                    crew.put_away(head.path)
                self.resumed = True
            else:
                head.unlock()
                self._folder = None
        self._past = Past(head)
        if self.resumed:
            self._find_finished()
            done = sum(self._is_settled(job) for job in self._named.order)
            say(f"weft: taking over run {head.name}: {done} of {len(self._named.order)} jobs were done")

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
            if job in needed:
                needed.update(job.arguments.takes)
        for job in self._named.order:
            if job in needed:
                self.marks.job(job)

    def finished(self, job: AnyJob) -> Collection[int]:
        """The places of which the outcome stands."""
        return self._finished.get(job, ())

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
