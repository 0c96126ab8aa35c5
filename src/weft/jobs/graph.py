"""Questions about a graph of jobs. All are linear in the size of the graph, and none is recursive."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from weft.engine import graph
from weft.jobs.node import Job, refuse_no_job

__all__ = ["ancestors", "cycles", "leaves", "needed_by", "roots", "terminal_nodes"]

AnyJob: TypeAlias = Job[..., Any]


def terminal_nodes(*jobs: AnyJob, prune: bool = False) -> list[AnyJob]:
    """The jobs at the ends: of all that come after `jobs`, directly or not, those that nothing comes after.

    Args:
        jobs: where to begin.
        prune: also `Job.prune` each, and leave out those that are done.
    """
    ends = leaves(*jobs)
    if not prune:
        return ends
    from weft.jobs.prune import prune as cut

    return cut(*ends)


def leaves(*jobs: AnyJob) -> list[AnyJob]:
    """Of `jobs` and all that come after them, those that nothing comes after, in the order in which they are met."""
    return [job for job in _reached(jobs, lambda job: job._dependents, "leaves") if not job._dependents]


def roots(*jobs: AnyJob) -> list[AnyJob]:
    """Of `jobs` and all that they come after, those that come after nothing, in the order in which they are met."""
    return [job for job, dependencies in needed_by(jobs, "roots").items() if not dependencies]


def ancestors(*jobs: AnyJob) -> set[AnyJob]:
    """All that `jobs` come after, directly or not; a given job is among them only if another one comes after it."""
    return graph.ancestors(needed_by(jobs, "ancestors"), *jobs)


def cycles(*jobs: AnyJob) -> list[list[AnyJob]]:
    """Jobs that wait for each other, among all that are connected with `jobs`; in a graph that can run there are none.

    One cycle of each knot of jobs, as ``[b, a, b]``: each comes after the one that follows it in the list.
    """
    connected = _reached(jobs, lambda job: (*job.dependencies, *job._dependents), "cycles")
    return graph.find_cycles({job: job.dependencies for job in connected})


def needed_by(jobs: Iterable[AnyJob], where: str) -> dict[AnyJob, list[AnyJob]]:
    """`jobs` and all that they come after, directly or not, each with what it comes after."""
    found = {job: job.dependencies for job in _jobs(jobs, where)}
    todo = list(found)
    for job in todo:  # which grows meanwhile
        for dep in found[job]:
            if dep not in found:
                found[dep] = dep.dependencies
                todo.append(dep)
    return found


def _jobs(jobs: Iterable[AnyJob], where: str) -> list[AnyJob]:
    """Each once; ArgumentError for what is none."""
    found: dict[AnyJob, None] = {}
    for job in jobs:
        if type(job) is not Job:
            refuse_no_job(job, where)
        found[job] = None
    return list(found)


def _reached(jobs: Iterable[AnyJob], next_to: Callable[[AnyJob], Iterable[AnyJob]], where: str) -> list[AnyJob]:
    order = _jobs(jobs, where)
    found = set(order)
    for job in order:  # which grows meanwhile
        for other in next_to(job):
            if other not in found:
                found.add(other)
                order.append(other)
    return order
