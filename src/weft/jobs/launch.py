"""`schedule`: check everything, see what is to be done, and have it run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from weft.engine.states import WANTED
from weft.errors import ArgumentError, ChoiceError
from weft.jobs.backends import check_options, default_backend, is_batch, is_dry, open_backend
from weft.jobs.bind import unbound
from weft.jobs.call import JobCall
from weft.jobs.earlier import Earlier, script
from weft.jobs.facts import SKETCH, facts_of, records_of, sketched
from weft.jobs.live import Live
from weft.jobs.names import Named
from weft.jobs.node import Job
from weft.jobs.prune import Plan, ordered
from weft.jobs.run import Run

__all__ = ["schedule"]

AnyJob = Job[..., Any]


def schedule(
    *jobs: AnyJob,
    backend: Any = None,
    name: str | None = None,
    wait: bool | None = None,
    raise_on_failure: bool = True,
    prune: bool = True,
    fresh: bool = False,
    dry: bool = False,
    **backend_options: Any,
) -> Run:
    """Run jobs and all that they need, each once; what is done already is left out.

    Args:
        jobs: what is asked for.
        backend: where jobs run that do not say so themselves: ``"local"`` (worker processes on this machine),
            ``"threads"``, ``"serial"``, ``"slurm"``, ``"condor"``, ``"dry"`` (nothing runs, the plan is printed), an
            executor, a batch system such as a `weft.executors.FakeCluster`, or an object with the methods of
            `weft.jobs.Backend`. Default: ``"local"``, or what the environment's WEFT_BACKEND says.
        name: of the run, for people; and runs of one script with different names do not stand in each other's way.
        wait: return when the run is over (default); else at once, and the interpreter waits for the run at exit. On a
            batch system, which runs the jobs alone, the default is to return at once, and nobody waits.
        raise_on_failure: raise at the end if jobs failed. Default: True.
        prune: leave out what is done. Default: True.
        fresh: ignore all earlier runs. Default: False: one that was cut short is taken over, and one that a batch
            system runs is gone on with: what is missing is submitted.
        dry: run nothing, and print what would be run there; ``backend="dry"`` does so for no backend in particular.
        backend_options: such as ``max_workers=4``; an unknown one is an error that lists them.

    Raises:
        ArgumentError: (a TypeError) something that is no job, parameters that nothing is bound to, what cannot travel.
        ChoiceError: (a ValueError) an unknown backend, or resources that are not to be had.
        ConditionError: (a RuntimeError) a postcondition that raises.
        CycleError: (a ValueError) jobs that wait for each other.
        RunInUse: (a RuntimeError) the script runs already, under this name and for these jobs.
        StorageError: (an OSError) the run cannot be written down.
        SubmitError: a batch system refuses a job; then what was submitted before it is cancelled.
        WorkflowError: an ExceptionGroup with one `JobFailed` for each job, or element of an array, that failed.
    """
    _check(jobs, name)
    if backend is None:
        backend = default_backend()
    order = ordered(jobs)
    _refuse_unbound(order)
    if dry or backend == "dry" or is_dry():
        return _dry(jobs, order, name, prune=prune, fresh=fresh, backend=backend, options=backend_options)
    with _Places(backend, backend_options, order) as places:
        if wait is False and backend == "serial":
            raise ChoiceError('backend="serial" runs jobs in the thread that waits for them; leave wait=False out')
        named = Named(order)
        sketch = SKETCH in os.environ  # for `weft graph`
        asked = [*dict.fromkeys(jobs)]
        with Earlier(named, asked, name, fresh=fresh or sketch, submits=places.submits) as earlier:
            plan = Plan(
                jobs,
                prune=prune,
                order=order,
                finished=earlier.finished if earlier.resumed else None,
                known=earlier.known,
                under_way=earlier.lives if earlier.survey is not None else None,
            )
            running = [part.job for part in plan if part.state is WANTED]
            calls = places.calls(running)
            earlier.look_at(running)
            records = records_of(plan, named, earlier)
            if sketch:
                sketched(facts_of(plan, records, earlier, backend))
            if places.submits:
                from weft.jobs.cluster.launch import submitted

                run = submitted(plan, records, earlier, places.of, calls, name)
                if run is not None:
                    return run.wait(raise_on_failure=raise_on_failure) if wait else run
            folder = earlier.open(name)
            folder.write_facts(facts_of(plan, records, earlier, backend))
            places.begin(folder.path)
            source = Live(
                folder,
                plan,
                records,
                calls,
                earlier.marks.place,
                places,
                at_once=wait is False or not raise_on_failure,
                how="taken over" if earlier.resumed else "started",
            )
            run = Run(list(records.values()), source)
            source.start()
            earlier.keep()
            places.keep()
    if wait is not False:
        run.wait(raise_on_failure=raise_on_failure)
    return run


def _dry(
    jobs: tuple[AnyJob, ...],
    order: list[AnyJob],
    name: str | None,
    *,
    prune: bool,
    fresh: bool,
    backend: Any,
    options: Mapping[str, Any],
) -> Run:
    """Print what would be run."""
    from weft.jobs.dry import Dry, Where, predict

    where = Where(backend, options)
    named = Named(order)
    with Earlier(named, [*dict.fromkeys(jobs)], name, fresh=fresh, look_only=True) as earlier:
        plan = Plan(jobs, prune=prune, order=order, finished=earlier.finished, known=earlier.known)
        records = records_of(plan, named, earlier)
    print(predict(plan, records, script(), where))
    if earlier.left is not None:
        print(f"run {earlier.left.name} may go on: what of it is in the queue would not be submitted again")
    return Run(list(records.values()), Dry(name or "dry"))


def _check(jobs: tuple[AnyJob, ...], name: Any) -> None:
    if not jobs:
        raise ArgumentError("schedule needs jobs: write schedule(last), or schedule(*terminal_nodes(first))")
    if name is not None and (not isinstance(name, str) or not name):
        raise ArgumentError(f"schedule(name=...) must be some text, got {name!r:.60}")


def _refuse_unbound(jobs: Iterable[AnyJob]) -> None:
    for job in jobs:
        missing = unbound(job)
        if missing:
            example = ", ".join(f"{parameter}=..." for parameter in missing)
            raise ArgumentError(
                f"{job.name} cannot be scheduled: nothing is bound to {', '.join(map(repr, missing))}; write "
                f"{job.function_name}.bind({example})"
            )


class _Places:
    """The backends of one run. Leaving the `with` block closes them, unless they are to be kept."""

    def __init__(self, backend: Any, options: Mapping[str, Any], jobs: Iterable[AnyJob]) -> None:
        check_options("schedule", backend, options)
        self._backend = backend
        self._options = options
        self._opened: list[tuple[Any, Any]] = []  # when there is a job for them
        self.of: dict[AnyJob, Any] = {}
        self._kept = False
        #: Whether there are jobs for a batch system.
        own = {id(job.spec.backend): job.spec.backend for job in jobs if job.spec.backend is not None}
        self.submits = any(map(is_batch, (backend, *own.values())))
        if is_batch(backend):
            self._open(backend, "schedule")

    def __enter__(self) -> _Places:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._kept:
            self.close(wait=True, interrupted=False)

    def keep(self) -> None:
        """The run has begun."""
        self._kept = True

    def calls(self, jobs: Iterable[AnyJob]) -> dict[AnyJob, JobCall]:
        """What is sent for each of these jobs, checked by the backend that it goes to; one for all that are alike."""
        calls: dict[AnyJob, JobCall] = {}
        alike: dict[Any, JobCall] = {}
        for job in jobs:
            place = self.of[job] = self._place(job)
            retries = None if place.retries else job.spec.resources.retries
            key: Any = (id(job.function), id(job.spec.env), retries)
            if job.conditions:
                key += tuple([(id(condition.function), condition.when) for condition in job.conditions])
            call = alike.get(key)
            if call is None:
                env = tuple(job.spec.env.items())
                call = alike[key] = JobCall(job.function, job.conditions, env, retries)
            place.check(job, call)
            calls[job] = call
        return calls

    def begin(self, run: Path) -> None:
        """The run is about to begin, in this folder."""
        for _, place in self._opened:
            if hasattr(place, "begin"):
                place.begin(run)

    @property
    def work(self) -> Any:
        """What the thread that waits has to do meanwhile, if anything."""
        found = [place.work for _, place in self._opened if getattr(place, "work", None) is not None]
        return found[0] if found else None

    def close(self, *, wait: bool, interrupted: bool) -> None:
        """No more jobs come."""
        for _, place in self._opened:
            place.close(wait=wait, interrupted=interrupted)

    def when_idle(self, function: Callable[[], object]) -> None:
        """After `close`: call it when nothing runs any more; now, where nothing does."""
        left = [place for _, place in self._opened if hasattr(place, "when_idle")]

        def next_one() -> None:
            if left:
                left.pop().when_idle(next_one)
            else:
                function()

        next_one()

    def _place(self, job: AnyJob) -> Any:
        backend = self._backend if job.spec.backend is None else job.spec.backend
        for known, place in self._opened:
            if known is backend or (isinstance(known, str) and known == backend):
                return place
        return self._open(backend, "schedule" if backend is self._backend else f"@job of {job.name}")

    def _open(self, backend: Any, where: str) -> Any:
        options = self._options if backend is self._backend else {}
        self._opened.append((backend, open_backend(backend, options, where)))
        return self._opened[-1][1]
