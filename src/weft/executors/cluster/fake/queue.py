"""All jobs there ever were, what waits, and why. It decides, and does nothing; what time it is, it is told."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from weft.executors.cluster.fake.jobs import Fate

if TYPE_CHECKING:
    from weft.executors.cluster.fake.jobs import Element, Job

__all__ = ["Queue", "Rules"]

HELD_LAUNCH = "launch failed requeued held"


class Rules(NamedTuple):
    """How the site is set up; times are in seconds. In brackets what Slurm calls it."""

    array: int  #: most elements of an array (MaxArraySize)
    accounting: bool
    remembers: float  #: how long it knows of a job that has ended (MinJobAge)
    requeue: bool  #: jobs that do not say whether they may be run again may (JobRequeue)
    requeue_delay: float  #: until one is run again (cred_expire)
    kill_wait: float  #: from SIGTERM to SIGKILL (KillWait)
    node_timeout: float  #: until a node that does not answer counts as down (SlurmdTimeout)
    longest: float  #: a job may ask for (MaxTime)
    partitions: tuple[str, ...]
    cpus: int  #: of a node


class Queue:
    """See above. All under the lock of the site."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.jobs: dict[str, Job] = {}
        self.head: Job | None = None  # the first for which there is no room
        self.partitions_down: set[str] = set()
        self._waiting: dict[str, Job] = {}  # those of which something waits, in order
        self._later: set[Element] = set()  # those that are to be run again after a while

    def add(self, job: Job) -> None:
        """A new one."""
        self.jobs[job.id] = self._waiting[job.id] = job

    def started(self, element: Element) -> None:
        """It does not wait any more."""
        element.state = "RUNNING"
        element.job.running += 1
        self._leave(element)

    def stopped(self, element: Element, fate: Fate, now: float) -> None:
        """It does not run any more."""
        element.job.running -= 1
        element.fate = None
        if fate.state != "PENDING":
            self.end(element, fate, now)
            return
        job = element.job
        element.state = "PENDING"
        element.restarts += 1
        element.later = now + fate.delay
        self._later.add(element)
        job.wait_again(element)
        self._waiting[job.id] = job
        self._waiting = dict(sorted(self._waiting.items(), key=lambda item: int(item[0])))

    def end(self, element: Element, fate: Fate, now: float) -> None:
        """It is over."""
        element.state, element.reason = fate.state, fate.reason
        element.exitcode, element.signal = fate.status or (None, None)
        element.ended = now
        element.job.left -= 1
        element.job.bad += fate.state != "COMPLETED"
        self._leave(element)

    def cancel(self, element: Element, now: float, *, by_name: bool) -> None:
        """Cancel one that waits. It still says why it waited.

        One that is taken out of an array by its name leaves no trace, unless it has a record of its own; and where
        nothing is left in the record of the array, that has no number any more.
        """
        job = element.job
        if by_name and job.array and not element.raw:
            job.unsplit -= 1
            element.nameless = job.unsplit == 0
            element.forgotten = 0 if element.nameless else 2
        self.end(element, Fate("CANCELLED", self.reason(element, now), (0, None)), now)

    def launch_failed(self, element: Element, now: float) -> None:
        """It should have been started, and could not: it is held, or, where it must not be run again, cancelled."""
        if not self.may_run_again(element.job):
            self.end(element, Fate("CANCELLED", "", (0, None)), now)
            return
        element.restarts += 1
        element.held = HELD_LAUNCH

    def _leave(self, element: Element) -> None:
        job = element.job
        job.waiting.pop(element.place, None)
        if not job.waiting:
            self._waiting.pop(job.id, None)

    # What is known --------------------------------------------------------------------------------------------

    def remembers(self, element: Element, now: float) -> bool:
        """Whether the controller knows of it."""
        return not element.forgotten and (element.ended is None or now < element.ended + self.rules.remembers)

    def knows(self, job: Job, now: float) -> bool:
        """Whether the controller knows of anything of it."""
        return any(self.remembers(element, now) for element in job.elements.values())

    def may_run_again(self, job: Job) -> bool:
        """Whether it is run again when its node fails."""
        return self.rules.requeue if job.wants.requeue is None else job.wants.requeue

    def reason(self, element: Element, now: float) -> str:
        """Why it waits; "" where it does not, or nobody has looked yet."""
        if element.state != "PENDING":
            return ""
        return (
            self._obstacle(element, now)
            or self._obstacle_of_all(element.job)
            or ("" if self.head is None else "Resources" if self.head is element.job else "Priority")
        )

    def _obstacle(self, element: Element, now: float) -> str:
        if element.held:
            return element.held
        if element.later > now:
            return "BeginTime"
        answer = element.job.answer(element.place)
        return "" if answer else "Dependency" if answer is None else "DependencyNeverSatisfied"

    def _obstacle_of_all(self, job: Job) -> str:
        """Why none of its elements may start."""
        wants = job.wants
        if (wants.partition or self.rules.partitions[0]) in self.partitions_down:
            return "PartitionDown"
        if (wants.time or 0) > self.rules.longest or wants.cpus > self.rules.cpus:
            return "PartitionConfig"
        if wants.throttle and job.running >= wants.throttle:
            return "JobArrayTaskLimit"
        return ""

    # What is to be done ---------------------------------------------------------------------------------------

    def startable(self, now: float) -> Iterator[Element]:
        """Those that may start, in order; of what follows the start of one, the rest takes account."""
        for job in list(self._waiting.values()):
            if job.alike and not job.answer(0):
                continue
            for element in list(job.waiting.values()):
                if self._obstacle_of_all(job):
                    break
                if not self._obstacle(element, now):
                    yield element

    def drop_hopeless(self, now: float) -> None:
        """Cancel those that wait for what cannot come, where they want that; and those that wait for them."""
        while hopeless := [element for job in self._waiting.values() for element in self._hopeless(job)]:
            for element in hopeless:
                element.by_dependency = True
                self.end(element, Fate("CANCELLED", "DependencyNeverSatisfied", (0, None)), now)

    def _hopeless(self, job: Job) -> list[Element]:
        if not job.edges or not job.kill_invalid or (job.alike and job.answer(0) is not False):
            return []
        return [element for element in job.waiting.values() if job.answer(element.place) is False]

    def due(self, now: float) -> float:
        """When time brings something."""
        self._later = {element for element in self._later if element.later > now and element.state == "PENDING"}
        return min((element.later for element in self._later), default=math.inf)
