"""Launching a run on a batch system, which then runs it alone; or saying why it needs a driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from weft.engine.states import State
from weft.errors import RunInUse, SubmitError
from weft.executors.cluster.system import Busy
from weft.jobs.cluster.detached import Detached
from weft.jobs.cluster.layout import Layout, Never, Unsayable
from weft.jobs.cluster.papers import Papers
from weft.jobs.cluster.place import Cluster
from weft.jobs.cluster.register import Register
from weft.jobs.cluster.submitting import Patience, Submitter
from weft.jobs.cluster.systems import DETACHED, remember_system
from weft.jobs.facts import facts_of
from weft.jobs.node import Job
from weft.jobs.run import Run
from weft.jobs.scribe import say

if TYPE_CHECKING:
    from weft.executors.cluster.system import BatchSystem
    from weft.jobs.call import JobCall
    from weft.jobs.cluster.register import Submission
    from weft.jobs.earlier import Earlier
    from weft.jobs.prune import Plan
    from weft.jobs.records import Record

__all__ = ["laid_out", "submitted", "why_elsewhere"]

AnyJob: TypeAlias = Job[..., Any]


def submitted(
    plan: Plan,
    records: Mapping[AnyJob, Record],
    earlier: Earlier,
    places: Mapping[AnyJob, Any],
    calls: Mapping[AnyJob, JobCall],
    name: str | None,
) -> Run | None:
    """The run, which goes on by itself; None where there is nothing to run, or it needs a driver.

    Raises what `Submitter.submit` does; RunInUse where a run that goes on cannot be gone on with.
    """
    clusters = {job: place for job, place in places.items() if isinstance(place, Cluster)}
    if not clusters:
        return None
    system = next(iter(clusters.values())).system
    size = 1
    why = why_elsewhere(records, places)
    if why is None:
        size = _size(system)
        why = _why_unsayable(plan, records, earlier, size, system)
    if why is not None:
        if earlier.survey is not None:
            run = earlier.open(None).name
            raise RunInUse(
                f"run {run} goes on, and what is missing cannot be submitted meanwhile: {why}; wait for its end, or: "
                f"weft cancel {run}",
                run=run,
            )
        if why:
            say(f"weft: this process has to stay until the run is over, as {system.name} cannot do it all: {why}")
        return None
    folder = earlier.open(name)
    facts = {**facts_of(plan, records, earlier, system.name), DETACHED: system.name}
    if earlier.survey is not None:
        facts["created"] = folder.facts()["created"]
    folder.write_facts(facts)
    remember_system(folder, system)
    source = Detached(folder, list(records.values()), system)
    get = source.survey.standing.register.get
    lives = {job: {place: get(sub.number) for place, sub in earlier.lives(job).items()} for job in plan.order}
    papers = Papers(folder.path, records, clusters, calls, earlier.marks.place)
    submitter = Submitter(folder, plan, records, system, papers, source.survey, lives, size)
    submitter.submit()
    count = len(submitter.made)
    said = f"{count} submission{'s' * (count != 1)}" if count else "nothing is missing"
    say(f"weft: run {folder.name} is in the hands of {system.name} ({said}); look at it: weft status {folder.name}")
    return Run(list(records.values()), source)


def _size(system: BatchSystem) -> int:
    """The largest array. Raises SubmitError when nobody has answered for minutes."""
    patience, said = Patience(system.clock), False
    while True:
        try:
            return system.limits().array
        except Busy as busy:
            if patience.is_over(busy):
                what = f"{system.name} does not answer: {busy}; nothing was submitted"
                raise SubmitError(what, said=str(busy)) from None
            if not said:
                said = True
                say(f"weft: {system.name} does not answer; nothing is submitted so far, trying again: {busy}")
        patience.pause()


def why_elsewhere(records: Mapping[AnyJob, Record], places: Mapping[AnyJob, Any]) -> str | None:
    """Why jobs need a driver, by what each of them asks for; empty: that goes without saying; None: none does."""
    first: Cluster | None = None
    for job, place in places.items():
        if not isinstance(place, Cluster):
            return f"{records[job].name} runs elsewhere"
        if place.given:
            return ""
        first = first or place
        if place.system is not first.system:
            return f"{records[job].name} runs on another batch system"
        why = _why_retried(job, place)
        if why:
            return f"{records[job].name} is to be tried again {why}"
    return None


def _why_retried(job: AnyJob, place: Cluster) -> str:
    """What of its retries a batch system does not do."""
    retries = place.terms(job).resources.retries
    if retries is None:
        return ""
    if retries.total:
        return f"whatever it fails of (retries={retries.total})"
    causes = [cause for cause, retry in retries.by_cause if cause != "user" and retry.times]
    return f"when it fails of: {', '.join(causes)}" if causes else ""


def _why_unsayable(
    plan: Plan, records: Mapping[AnyJob, Record], earlier: Earlier, size: int, system: BatchSystem
) -> str | None:
    """What a batch system cannot be told of a plan; None: it can be told everything."""
    survey = earlier.survey
    register = Register(None if survey is None else earlier.open(None).path)
    lives = {job: earlier.lives(job) for job in plan.order}
    fate = _unknown if survey is None else survey.standing.fate
    try:
        for record, sub in laid_out(plan, records, register, size, system, lives, fate):
            if sub.after and not system.orders:
                return f"what {record.name} waits for"
    except Unsayable as said:
        return str(said)
    return None


def laid_out(
    plan: Plan,
    records: Mapping[AnyJob, Record],
    register: Register,
    size: int,
    system: BatchSystem,
    lives: Mapping[AnyJob, Mapping[int, Submission]] | None = None,
    fate: Callable[[Submission, int], bool | None] | None = None,
) -> Iterator[tuple[Record, Submission]]:
    """What would be submitted for a plan, and of which job it is, by `Layout`; nothing is. Raises Unsayable."""
    layout = Layout(plan, records, register, size, lives or {}, fate or _unknown, getattr(system, "pieces", None))
    for part in plan:
        if part.state is State.WANTED:
            try:
                made = layout.lay(part)
            except Never:
                continue
            yield from ((records[part.job], sub) for sub in made)


def _unknown(sub: Submission, place: int) -> None:
    """Nothing has ended yet."""
