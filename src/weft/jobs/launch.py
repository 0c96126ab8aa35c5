"""`schedule`: check everything, see what is to be done, and have it run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.engine.states import State
from weft.errors import ArgumentError, ChoiceError, DependencyNeverSatisfied
from weft.jobs.backends import default_backend, open_backend
from weft.jobs.bind import unbound
from weft.jobs.call import JobCall
from weft.jobs.driver import Driver
from weft.jobs.node import Job
from weft.jobs.prune import Plan, ordered
from weft.jobs.records import Record, names_of
from weft.jobs.run import Run
from weft.jobs.scribe import Scribe, say

if TYPE_CHECKING:
    from weft.jobs.site import Site

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
    **backend_options: Any,
) -> Run:
    """Run jobs and all that they need, each once; what is done already is left out.

    Args:
        jobs: what is asked for.
        backend: where jobs run that do not say so themselves: ``"local"`` (worker processes on this machine),
            ``"threads"``, ``"serial"``, ``"dry"`` (nothing runs, the plan is printed), an executor, or an object with
            the methods of `weft.jobs.Backend`. Default: ``"local"``, or what the environment's WEFT_BACKEND says.
        name: of the run, beside that of the script.
        wait: return when the run is over (default); else at once, and the interpreter waits for the run at exit.
        raise_on_failure: raise at the end if jobs failed. Default: True.
        prune: leave out what is done. Default: True.
        fresh: ignore all earlier runs. Default: False: one that was cut short is taken over.
        backend_options: such as ``max_workers=4``; an unknown one is an error that lists them.

    Raises:
        ArgumentError: (a TypeError) something that is no job, parameters that nothing is bound to, what cannot travel.
        ChoiceError: (a ValueError) an unknown backend, or resources that are not to be had.
        ConditionError: (a RuntimeError) a postcondition that raises.
        CycleError: (a ValueError) jobs that wait for each other.
        WorkflowError: an ExceptionGroup with one `JobFailed` for each job, or element of an array, that failed.
    """
    _check(jobs, name)
    backend = default_backend() if backend is None else backend
    order = ordered(jobs)
    _refuse_unbound(order)
    places = _Places(backend, backend_options)
    try:
        plan = Plan(jobs, prune=prune, order=order)
        running = [part.job for part in plan if part.state is State.WANTED]
        calls = places.calls(running, None)
        if wait is False and places.work is not None:
            raise ChoiceError('backend="serial" runs jobs in the thread that waits for them; leave wait=False out')
        source = _Live(plan, places, calls, at_once=wait is False or not raise_on_failure, name=name or "run")
    except BaseException:
        places.close(wait=True, interrupted=False)
        raise
    run = Run(list(source.records.values()), source)
    source.start()
    if wait is not False:
        run.wait(raise_on_failure=raise_on_failure)
    return run


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
    """The backends of one run."""

    def __init__(self, backend: Any, options: Mapping[str, Any]) -> None:
        self._backend = backend
        self._opened: dict[Any, Any] = {backend: open_backend(backend, options)}
        self.of: dict[AnyJob, Any] = {}

    def calls(self, jobs: Iterable[AnyJob], site: Site | None) -> dict[AnyJob, JobCall]:
        """What is sent for each of these jobs, checked by the backend that it goes to; one for all that are alike."""
        calls: dict[AnyJob, JobCall] = {}
        alike: dict[Any, JobCall] = {}
        for job in jobs:
            place = self.of[job] = self._place(job)
            retries = None if place.retries else job.spec.resources.retries
            conditions = tuple((id(condition.function), condition.when) for condition in job.conditions)
            key = (id(job.function), conditions, id(job.spec.env), retries)
            call = alike.get(key)
            if call is None:
                env = tuple(job.spec.env.items())
                call = alike[key] = JobCall(job.function, job.conditions, env, retries, site)
            place.check(job, call)
            calls[job] = call
        return calls

    @property
    def work(self) -> Any:
        """What the thread that waits has to do meanwhile, if anything."""
        found = [place.work for place in self._opened.values() if getattr(place, "work", None) is not None]
        return found[0] if found else None

    def close(self, *, wait: bool, interrupted: bool) -> None:
        """No more jobs come."""
        for place in self._opened.values():
            place.close(wait=wait, interrupted=interrupted)

    def _place(self, job: AnyJob) -> Any:
        backend = self._backend if job.spec.backend is None else job.spec.backend
        if backend not in self._opened:
            self._opened[backend] = open_backend(backend, {}, f"@job of {job.name}")
        return self._opened[backend]


class _Live:
    """A run that goes on in this process."""

    path: Path | None = None

    def __init__(self, plan: Plan, places: _Places, calls: dict[AnyJob, JobCall], *, at_once: bool, name: str) -> None:
        self.name = name
        self.records = _records(plan)
        self._places = places
        self._scribe = _Closing(at_once=at_once, places=places)
        self._driver = Driver(plan, self.records, places.of, calls, lambda job, place: b"", self._scribe, name)

    def start(self) -> None:
        try:
            self._driver.start()
        except BaseException:
            self._driver.cancel()
            self._places.close(wait=True, interrupted=True)
            raise

    def wait(self, timeout: float | None) -> bool:
        try:
            if timeout is None and self._places.work is not None:
                self._places.work(self._driver.over)
            if not self._driver.over.wait(timeout):
                return False
        except KeyboardInterrupt:
            self._interrupted()
            raise
        self._places.close(wait=True, interrupted=False)
        return True

    def cancel(self) -> None:
        self._driver.cancel()
        self._places.close(wait=False, interrupted=True)
        self._driver.over.wait()
        self._places.close(wait=True, interrupted=True)

    def _interrupted(self) -> None:
        before = sum(record.state.is_end for record in self.records.values())
        self._driver.cancel(interrupted=True)
        self._places.close(wait=False, interrupted=True)
        self._driver.over.wait()
        self._places.close(wait=True, interrupted=True)
        ended = sum(record.state is State.CANCELLED for record in self.records.values())
        say(f"weft: run {self.name} interrupted: {ended} of {len(self.records)} jobs cancelled, {before} were over")

    def log_path(self, record: Record, place: int | None) -> Path | None:
        return None


class _Closing(Scribe):
    def __init__(self, *, at_once: bool, places: _Places) -> None:
        super().__init__(at_once=at_once)
        self._places = places

    def ended(self, interrupted: bool) -> None:
        super().ended(interrupted)
        self._places.close(wait=False, interrupted=False)


def _records(plan: Plan) -> dict[AnyJob, Record]:
    records: dict[AnyJob, Record] = {}
    for part, name in zip(plan, names_of(plan.order), strict=True):
        job = part.job
        record = Record(job, name, name, job.elements, range(1) if job.left is None else job.left)
        record.whole = part.state
        running = set(part.places) if part.state is State.WANTED else ()
        other = part.state if part.state is not State.WANTED else State.UP_TO_DATE
        record.states = {place: State.WANTED if place in running else other for place in record.places}
        if part.state is State.UNREACHABLE:
            record.why = DependencyNeverSatisfied(part.why)
        records[job] = record
    return records
