"""Runs a plan: each job, or element of an array, is a task of the engine, started once what it comes after allows it.

    plan ─> build: a task for each element, one that joins the elements of an array, one at the very end
    scheduler's thread: launch ─> backend.submit ... ─> observe: record what became of it, tell, write it down

No task starts before all have been submitted: until then all wait for one future, `_start`. So nothing has happened
yet where building fails or is interrupted, and every event finds its unit.

The thread of the scheduler fills in the records. Others read them, and may ask to cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from enum import Enum
from threading import Event as ThreadEvent
from typing import TYPE_CHECKING, Any

from weft.engine.complain import complain
from weft.engine.events import Event
from weft.engine.gates import Gate, Locks, Slots
from weft.engine.light import LightFuture, outcome
from weft.engine.scheduler import Scheduler
from weft.engine.states import State
from weft.engine.task import ScheduledFuture
from weft.errors import JobFailed, told
from weft.jobs.bind import with_results
from weft.jobs.call import AskCall, JobCall
from weft.jobs.conditions import NO_ELEMENT

if TYPE_CHECKING:
    from weft.jobs.node import Job
    from weft.jobs.prune import Plan, Planned
    from weft.jobs.records import Record
    from weft.jobs.scribe import Scribe

__all__ = ["Driver"]

Task = ScheduledFuture[Any]


class Role(Enum):
    """What a task is to its job."""

    CALL = "call"  # an element, or a job without an array
    BEFORE = "before"  # the preconditions of an array as a whole
    JOIN = "join"  # all elements of an array are over
    AFTER = "after"  # the postconditions of an array as a whole
    GATE = "gate"  # one of the jobs that it waits for has ended as it should
    END = "end"  # all jobs are over


class Unit:
    """What a task is about."""

    __slots__ = ("error", "place", "record", "role", "work")

    def __init__(self, record: Record | None, role: Role, place: int | None = None) -> None:
        self.record = record
        self.role = role
        self.place = place
        self.work: Future[Any] | None = None
        self.error: BaseException | None = None  # it could not even be submitted


class Marker(LightFuture[None]):
    """Stands for something that is so from the start: that the run has begun, that a job is done."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class Driver:
    """Runs what a plan says.

    Args:
        plan: what is to run.
        records: of all jobs of the plan.
        places: the backend of each job that runs.
        calls: what is sent there for it.
        marks: fingerprint of each place of a job.
        scribe: keeps what happens.
        name: of the run.
    """

    def __init__(
        self,
        plan: Plan,
        records: Mapping[Job[..., Any], Record],
        places: Mapping[Job[..., Any], Any],
        calls: Mapping[Job[..., Any], JobCall],
        marks: Callable[[Job[..., Any], int | None], bytes],
        scribe: Scribe,
        name: str,
    ) -> None:
        self.over = ThreadEvent()
        #: Called, in the scheduler's thread, when all is over, with why before its time, if so.
        self.at_end: Callable[[str | None], object] = str
        self._stopped: str | None = None
        self._plan = plan
        self._records = records
        self._places = places
        self._calls = calls
        self._marks = marks
        self._scribe = scribe
        self._context = copy_context()  # jobs find the context variables of where the run was started
        self._start = Marker(f"the start of {name}")
        self._markers: list[Marker] = [self._start]
        self._units: dict[Future[Any], Unit] = {}  # of tasks that are not over
        self._calls_of: dict[Job[..., Any], dict[int, Task]] = {}  # the tasks of an array's elements, by place
        self._ends: dict[Job[..., Any], Task] = {}  # the last task of each job
        self._locks, self._slots = self._gates()
        gates: list[Gate] = [gate for gate in (self._locks, self._slots) if gate is not None]
        self._scheduler: Scheduler[Any] = Scheduler(self._launch, gates=gates, observers=[self._observe], name=name)
        self._scheduler.at_pauses(scribe.flush)

    # From the thread that starts the run ----------------------------------------------------------------------

    def start(self) -> None:
        """Build all tasks, and let them go."""
        try:
            for part in self._plan:
                if part.state is State.WANTED:
                    self._build(part)
            ends: Any = dict.fromkeys(self._ends.values(), "any")
            self._submit(Unit(None, Role.END), ends, name="the end")
        except BaseException:
            self._scheduler.shutdown(wait=False, cancel_futures=True)
            raise
        self._scheduler.shutdown(wait=False)  # nothing more comes
        for marker in self._markers:
            marker._conclude(None, None)
        self._markers.clear()

    def cancel(self, *, interrupted: bool = False) -> None:
        """Cancel all that is not over; what runs is stopped, as far as that can be done."""
        if not self.over.is_set():
            self._stopped = self._stopped or ("interrupted" if interrupted else "cancelled")
        # The last ones first: what comes after a cancelled job is cancelled, too, and not merely unreachable. What only
        # puts things together ends by itself, and after what it waits for; so the end of all stays the last.
        for future, unit in reversed(list(self._units.items())):
            if unit.role in (Role.CALL, Role.BEFORE) or (unit.role is Role.AFTER and unit.work is not None):
                future.cancel()

    def _gates(self) -> tuple[Locks | None, Slots | None]:
        counts = {
            part.job: part.job.spec.throttle
            for part in self._plan
            if part.job.spec.throttle is not None and part.state is State.WANTED
        }
        locks = Locks({self._records[job].key: count for job, count in counts.items()}) if counts else None
        slots: dict[str, int] = {}
        for job, place in self._places.items():
            if getattr(place, "slots", None) and place.cpus(job) > 1:
                slots[_slot(place)] = place.slots
        return locks, Slots(slots) if slots else None

    # Tasks ----------------------------------------------------------------------------------------------------

    def _build(self, part: Planned) -> None:
        job, record = part.job, self._records[part.job]
        whole, each = self._edges(part)
        data = {self._ends[dep]: "success" for dep in job.arguments.takes if dep in self._ends}
        if job.elements is None:
            unit = Unit(record, Role.CALL, 0)
            self._ends[job] = self._submit(unit, self._joined(record, part, whole, data), name=record.name, job=job)
            return
        if any(c.when == "before" and not c.per_element for c in job.conditions) and part.places:
            before = self._submit(
                Unit(record, Role.BEFORE),
                self._joined(record, part, whole, data),
                name=f"{record.name} (preconditions)",
            )
            whole, data = {}, {before: "success"}
        elements: dict[int, Task] = {}
        shared = None if each else self._joined(record, part, whole, data)
        for place in part.places:
            edges = {**whole, **{self._of_place(dep, place): status for dep, status in each.items()}}
            deps = self._joined(record, part, edges, data) if shared is None else shared
            elements[place] = self._submit(Unit(record, Role.CALL, place), deps, name=record.title(place), job=job)
        self._calls_of[job] = elements
        # Of an empty array the end comes after what the elements would come after.
        ends = dict.fromkeys(elements.values(), "any") or (shared or self._joined(record, part, whole, data))
        end = self._submit(Unit(record, Role.JOIN), ends, name=record.name)
        if any(c.when == "after" and not c.per_element for c in job.conditions) and elements:
            end = self._submit(Unit(record, Role.AFTER), {end: "success"}, name=record.name)
        self._ends[job] = end

    def _edges(self, part: Planned) -> tuple[dict[Any, str], dict[Job[..., Any], str]]:
        """What it comes after as a whole, and what element by element."""
        whole: dict[Any, str] = {}
        each: dict[Job[..., Any], str] = {}
        for dep, edge in part.edges.items():
            if edge.each:
                each[dep] = edge.status
            else:
                whole[self._ends[dep]] = edge.status
        return whole, each

    def _of_place(self, dep: Job[..., Any], place: int) -> Future[Any]:
        """The task of one element, or what stands for an element that is done."""
        task = self._calls_of[dep].get(place)
        if task is not None:
            return task
        marker = Marker(self._records[dep].title(place))
        self._markers.append(marker)
        return marker

    def _joined(
        self, record: Record, part: Planned, edges: dict[Any, str], data: dict[Any, str]
    ) -> tuple[dict[Any, str], str]:
        """Edges, of which one or all count, and results, which are needed, as the engine takes them."""
        if part.wait_for != "any" or len(edges) < 2:
            return {**edges, **data}, "all"
        if not data:
            return edges, "any"
        gate = self._submit(Unit(record, Role.GATE), (edges, "any"), name=f"{record.name} (any)")
        return {gate: "success", **data}, "all"

    def _submit(self, unit: Unit, deps: Any, *, name: str, job: Job[..., Any] | None = None) -> Task:
        edges, wait_for = deps if isinstance(deps, tuple) else (deps, "all")
        task = self._scheduler.submit(
            (unit,),
            dependencies=edges or {self._start: "any"},
            name=name,
            wait_for=wait_for,
            gates=None if job is None else self._claims(job),
        )
        self._units[task] = unit
        return task

    def _claims(self, job: Job[..., Any]) -> dict[Gate, Any] | None:
        claims: dict[Gate, Any] = {}
        if self._locks is not None and job.spec.throttle is not None:
            claims[self._locks] = self._records[job].key
        if self._slots is not None:
            place = self._places[job]
            if getattr(place, "slots", None):
                claims[self._slots] = {_slot(place): place.cpus(job)}
        return claims or None

    # In the scheduler's thread: starting ----------------------------------------------------------------------

    def _launch(self, unit: Unit) -> Future[Any]:
        if unit.role in (Role.JOIN, Role.GATE, Role.END):
            return self._join(unit)
        try:
            unit.work = self._context.run(self._call if unit.role is Role.CALL else self._ask, unit)
        except BaseException as error:
            unit.error = error
            raise
        return unit.work

    def _call(self, unit: Unit) -> Future[Any]:
        record, place = unit.record, unit.place
        assert record is not None
        job = record.job
        assert job is not None
        args: tuple[Any, ...] = (record.name, record.key, None if job.elements is None else place)
        args += (self._marks(job, place),)
        if job.elements is not None:
            args += (record.element(place),)
        given, kwargs = with_results(job.arguments, self._result)
        if given or kwargs:
            args = (*args, *((NO_ELEMENT,) if job.elements is None else ()), given, kwargs)
        work: Future[Any] = self._places[job].submit(self._calls[job], args, job)
        return work

    def _ask(self, unit: Unit) -> Future[Any]:
        record = unit.record
        assert record is not None
        job = record.job
        assert job is not None
        conditions = tuple(c for c in job.conditions if c.when == unit.role.value and not c.per_element)
        work: Future[Any] = self._places[job].submit(
            AskCall(None, conditions, record.name), (record.name, unit.role.value), job
        )
        return work

    def _result(self, job: Job[..., Any]) -> Any:
        return self._records[job].known()

    def _join(self, unit: Unit) -> Future[Any]:
        """What the end of all that it waits for makes of an array. A gate, and the end of all, are merely reached."""
        done: LightFuture[Any] = LightFuture()
        record = unit.record
        if unit.role is not Role.JOIN or record is None:
            done._conclude(None, None)
            return done
        end = record.end()
        if end is State.CANCELLED:
            done.cancel()
        elif end is State.FAILED:
            done._conclude(None, record.failed()[0])
        else:
            done._conclude(None, None if end.is_success else record.reason())
        return done

    # In the scheduler's thread: what has happened -------------------------------------------------------------

    def _observe(self, event: Event) -> None:
        unit = self._units.get(event.task)
        if unit is None or event.state is State.WANTED:
            return
        if event.state.is_end:
            del self._units[event.task]
        try:
            self._note(unit, event)
        except BaseException:  # noqa: BLE001 - a run goes on whatever becomes of the notes about it
            complain("cannot keep what became of %s", event.name)
        if unit.role is Role.END and event.state.is_end:
            self._end()

    def _note(self, unit: Unit, event: Event) -> None:
        record, state = unit.record, event.state
        if record is None or unit.role is Role.GATE:
            return
        if state is State.FAILED and unit.role is not Role.JOIN:
            self._fail(unit, record, event.detail)
        if unit.role is Role.CALL:
            self._note_call(unit, record, event)
        elif state.is_end and self._ends[record.job] is event.task:  # type: ignore[index]
            record.whole = record.end() if record.states else state
            if state is State.UNREACHABLE and record.why is None:
                record.why = event.task
            if state is State.CANCELLED and record.whole is State.SUCCEEDED:
                record.whole = state  # while its conditions were asked
            self._scribe.state(event.time, record, None, record.whole, event.detail)

    def _note_call(self, unit: Unit, record: Record, event: Event) -> None:
        state, place = event.state, unit.place
        assert place is not None
        if state is State.SUCCEEDED:
            assert unit.work is not None
            record.values[place] = self._scribe.result(record, place, unit.work.result())
        elif state is State.UNREACHABLE and record.why is None:
            record.why = event.task
        record.states[place] = state
        if record.elements is None:
            record.whole = state
        self._scribe.state(event.time, record, place, state, event.detail)

    def _fail(self, unit: Unit, record: Record, detail: str) -> None:
        error = unit.error if unit.work is None else outcome(unit.work)[1]
        text = f"{record.title(unit.place)} failed: {detail if error is None else told(error)}"
        failure = JobFailed(text, job=record.job, element=record.element(unit.place))
        failure.__cause__ = error
        record.failures[unit.place] = self._scribe.failed(failure, record, unit.place)

    def _end(self) -> None:
        try:
            self.at_end(self._stopped)
        except BaseException:  # noqa: BLE001 - those who wait are told in any case
            complain("cannot keep the end of a run")
        finally:
            self.over.set()


def _slot(place: Any) -> str:
    return f"cpus of {type(place).__name__} {id(place):x}"
