"""What of a graph of jobs is to run: a plan, made afresh for each schedule, beside the user's graph.

    jobs ─> look: which are done, downwards from the jobs asked for ─> spread: which can no longer run, upwards
         ─> want: which are needed at all, downwards

A job is *done* when it has a postcondition and all hold; of an array, an element is. Whoever comes after a done job
with status ``success`` or ``any`` need not wait for it, with ``failure`` can never run. What only done jobs need is not
even asked whether it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

from weft.engine.graph import topological_order
from weft.engine.states import IDLE, UNREACHABLE, UP_TO_DATE, WANTED
from weft.jobs.graph import needed_by
from weft.jobs.node import NEEDS, Edge, Job

__all__ = ["Plan", "Planned", "ordered", "prune"]

AnyJob: TypeAlias = Job[..., Any]
Places: TypeAlias = Sequence[int]  # of an array's elements; a job without an array has the place 0

ALONE = range(1)
NO_EDGES: Mapping[AnyJob, Edge] = {}  # one for all


class Planned:
    """What becomes of one job.

    Attributes:
        job: it.
        state: WANTED: it runs. UP_TO_DATE: it is done. UNREACHABLE: it can never run. IDLE: nobody needs it.
        places: of the elements that run; ``[0]`` for a job without an array.
        edges: from each job that it waits for to how; the edges that pruning has left over.
        wait_for: ``"all"`` of these edges, or ``"any"``; what it takes results of it waits for in any case.
        why: it can never run.
    """

    __slots__ = ("edges", "job", "places", "state", "wait_for", "why")

    def __init__(self, job: AnyJob) -> None:
        self.job = job
        self.state = IDLE
        self.places: Places = ()
        self.edges: Mapping[AnyJob, Edge] = NO_EDGES
        self.wait_for: str = job.wait_for
        self.why = ""


class Plan:
    """What is to run of `jobs` and of all that they need. Iterating gives each job's part, in topological order.

    Args:
        jobs: what is asked for.
        prune: whether what is done is left out. Default: True.
        order: what `ordered` says of the jobs, where that is known already.
        finished: of which places of a job the outcome stands, whatever its conditions say about the others: of a run
            that is taken over. Default: of none.
        known: which of these places of a done job have a result that is known. A done job without one runs again if a
            job that runs takes its result. Default: all of them.
        under_way: which places of a job run already, or wait in the queue of a batch system: they are not done,
            whatever its conditions say. Default: none.

    Raises:
        ArgumentError: (a TypeError) something that is no job.
        ConditionError: (a RuntimeError) a condition that raises.
        CycleError: (a ValueError) jobs that wait for each other.
    """

    def __init__(
        self,
        jobs: Iterable[AnyJob],
        *,
        prune: bool = True,
        order: Iterable[AnyJob] | None = None,
        finished: Callable[[AnyJob], Collection[int]] | None = None,
        known: Callable[[AnyJob, Places], Collection[int]] | None = None,
        under_way: Callable[[AnyJob], Collection[int]] | None = None,
    ) -> None:
        self.asked = list(dict.fromkeys(jobs))
        self.order = ordered(self.asked) if order is None else list(order)
        self._prune = prune
        self._finished = finished
        self._known = known
        self._under_way = under_way
        self._left: dict[AnyJob, Places] = {}  # places that are to run, as far as has been asked
        self._again: dict[AnyJob, Places] = {}  # done jobs that run again for their results, and which places
        self._is_any_lost = False
        self.parts: dict[AnyJob, Planned] = {}
        before = -1
        while before != len(self._again):  # with these, more may be needed
            before = len(self._again)
            self.parts = {job: Planned(job) for job in self.order}
            self._look()
        if self._is_any_lost:
            self._spread()
            self._want()

    def __iter__(self) -> Any:
        return iter(self.parts.values())

    def __getitem__(self, job: AnyJob) -> Planned:
        return self.parts[job]

    # Downwards: what is done ----------------------------------------------------------------------------------

    def _look(self) -> None:
        todo = list(self.asked)
        seen = set(todo)
        for job in todo:  # which grows meanwhile
            part = self.parts[job]
            part.places = self._places(job)
            if not part.places and self._is_done(job):
                part.state = UP_TO_DATE
                continue
            part.state = WANTED
            for taken in job.arguments.takes:
                self._take(taken)
            self._wait(part)
            if part.state is WANTED:
                for dep in (*part.edges, *job.arguments.takes):
                    if dep not in seen:
                        seen.add(dep)
                        todo.append(dep)

    def _wait(self, part: Planned) -> None:
        """Which of its edges a job still waits for."""
        job = part.job
        if not job.edges:
            return
        done = [dep for dep in job.edges if not self._places(dep) and self._is_done(dep)]
        if not done:
            part.edges = dict(job.edges)
            return
        for dep in done:
            self.parts[dep].state = UP_TO_DATE
        met = [dep for dep in done if job.edges[dep].status != "failure"]
        never = [dep for dep in done if job.edges[dep].status == "failure"]
        if job.wait_for == "any":
            if not met:
                part.edges = {dep: edge for dep, edge in job.edges.items() if dep not in never}
                if not part.edges:
                    self._never(part, never[0])
        elif never:
            self._never(part, never[0])
        else:
            part.edges = {dep: edge for dep, edge in job.edges.items() if dep not in set(met)}

    def _never(self, part: Planned, dep: AnyJob) -> None:
        self._is_any_lost = True
        part.state = UNREACHABLE
        part.why = f"{part.job.name!r} needs the failure of {dep.name!r}, which is done"

    def _take(self, job: AnyJob) -> None:
        """A job that runs takes its result: what of it is done must be known."""
        self._places(job)
        done = self._done_places(job)
        if self._known is None or not done or job in self._again:
            return
        known = self._known(job, done)
        if len(known) < len(done):
            self._again[job] = [place for place in done if place not in known]

    def _is_done(self, job: AnyJob) -> bool:
        if job in self._again or self._places(job):
            return False
        return bool(self._done_places(job)) or (self._prune and any(c.when == "after" for c in job.conditions))

    def _places(self, job: AnyJob) -> Places:
        """The places that run, should the job run."""
        left = self._left.get(job)
        if left is None:
            left = self._ask(job)
            if self._under_way is not None and (under_way := self._under_way(job)):
                left = sorted({*left, *under_way})
            self._left[job] = left
        again = self._again.get(job)
        return left if again is None else sorted({*left, *again})

    def _done_places(self, job: AnyJob) -> Places:
        left = set(self._left[job])
        return [place for place in _all(job) if place not in left]

    def _ask(self, job: AnyJob) -> Places:
        """The places that are not done, by the job's postconditions, or by what has finished where it has none."""
        places = _all(job)
        if self._finished is None and not job.conditions:
            return places
        finished = self._finished(job) if self._finished is not None else ()
        unfinished = [place for place in places if place not in finished] if finished else places
        conditions = [condition for condition in job.conditions if condition.when == "after"] if self._prune else []
        if not conditions:
            return unfinished
        elementwise = [condition for condition in conditions if condition.per_element]
        if elementwise:
            elements = job.elements
            assert elements is not None
            left = [place for place in places if not all(c.holds(job.name, elements[place]) for c in elementwise)]
            if left:
                return left
        if all(condition.holds(job.name) for condition in conditions if not condition.per_element):
            return ()
        # Nothing tells which of the elements it is that leaves the whole undone; but those that never ran come first.
        return places if elementwise else unfinished or places

    # Upwards: what can no longer run --------------------------------------------------------------------------

    def _spread(self) -> None:
        for job in self.order:
            part = self.parts[job]
            if part.state is not WANTED:
                continue
            lost = next((dep for dep in job.arguments.takes if self._is_lost(dep)), None)
            if lost is None:
                self._spread_to(part)
            else:
                self._lose(part, lost, NEEDS)

    def _spread_to(self, part: Planned) -> None:
        lost = [dep for dep in part.edges if self._is_lost(dep)]
        if not lost:
            return
        over = [dep for dep in lost if part.edges[dep].status == "any"]
        if part.wait_for == "any":
            if over:
                part.edges = NO_EDGES
                return
            edges = {dep: edge for dep, edge in part.edges.items() if dep not in lost}
            if not edges:
                self._lose(part, lost[0], part.edges[lost[0]])
            part.edges = edges
        elif len(over) < len(lost):
            dep = next(dep for dep in lost if dep not in over)
            self._lose(part, dep, part.edges[dep])
        else:
            part.edges = {dep: edge for dep, edge in part.edges.items() if dep not in over}

    def _is_lost(self, job: AnyJob) -> bool:
        return self.parts[job].state is UNREACHABLE

    def _lose(self, part: Planned, dep: AnyJob, edge: Edge) -> None:
        part.state = UNREACHABLE
        part.why = f"{part.job.name!r} needs the {edge.status} of {dep.name!r}, which is never reached"

    # Downwards: what is needed --------------------------------------------------------------------------------

    def _want(self) -> None:
        wanted: set[AnyJob] = set()
        todo = list(self.asked)
        while todo:
            job = todo.pop()
            if job in wanted:
                continue
            wanted.add(job)
            part = self.parts[job]
            if part.state is WANTED:
                todo += part.edges
                todo += job.arguments.takes
        for job, part in self.parts.items():
            if part.state is WANTED and job not in wanted:
                part.state = IDLE
                part.places, part.edges = (), NO_EDGES


def ordered(jobs: Iterable[AnyJob]) -> list[AnyJob]:
    """`jobs` and all that they need, each after what it comes after.

    Raises:
        ArgumentError: (a TypeError) something that is no job.
        CycleError: (a ValueError) jobs that wait for each other.
    """
    needed = needed_by(jobs, "schedule")
    # Nearly always a job is declared after those that it comes after: then that order will do.
    if all(dep._number < job._number for job, deps in needed.items() for dep in deps):
        return sorted(needed, key=_number)
    return topological_order(needed)


_number = attrgetter("_number")


def _all(job: AnyJob) -> Places:
    return ALONE if job.left is None else job.left


def prune(*jobs: AnyJob) -> list[AnyJob]:
    """Cut from the graph of `jobs` what need not run; returns those of them that are not done. See `Job.prune`.

    A job that takes the result of a done job keeps that edge, and so does one that can never run for a done job.
    """
    plan = Plan(jobs)
    for part in plan:
        job = part.job
        if part.state is UP_TO_DATE:
            job.detach(*job.edges)
        elif part.state is WANTED:
            job.detach(*(dep for dep in job.edges if dep not in part.edges and dep not in job.arguments.takes))
            if job.left is not None:
                job.left = list(part.places)
    return [job for job in plan.asked if plan[job].state is not UP_TO_DATE]
