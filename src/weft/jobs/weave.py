"""Makes the tasks of a plan: which of them there are for a job, and which waits for which.

A job without an array is one task. An array is a task for each element and one that joins them; the conditions that it
has as a whole are two more, before and after. The last task of a job is what others wait for::

    before ──> element 0 ──┐
          └──> element 1 ──┴─> join ──> after

No task starts before all have been made: until then all wait for one future, `_start`. So nothing has happened yet
where making them fails or is interrupted, and every event finds its unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from weft.engine.gates import Gate, Locks, Slots
from weft.engine.light import LightFuture
from weft.engine.scheduler import Scheduler
from weft.engine.states import WANTED
from weft.engine.task import ScheduledFuture

if TYPE_CHECKING:
    from weft.engine.events import Observer
    from weft.jobs.node import Job
    from weft.jobs.prune import Plan, Planned
    from weft.jobs.records import Record

__all__ = ["Role", "Unit", "Weave"]

Task: TypeAlias = ScheduledFuture[Any]


#: What a task is to its job.
Role: TypeAlias = Literal[
    "call",  # an element, or a job without an array
    "before",  # the preconditions of an array as a whole
    "join",  # all elements of an array are over
    "after",  # the postconditions of an array as a whole
    "gate",  # one of the jobs that it waits for has ended as it should
    "end",  # all jobs are over
]


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


class Weave:
    """The tasks of one plan.

    Args:
        plan: what is to run.
        records: of all jobs of the plan.
        places: the backend of each job that runs.
        launch: starts a unit; called by the scheduler's thread, or by one in whose place it is.
        observer: is told of what becomes of tasks, by that thread, too.
        name: of the run.
    """

    def __init__(
        self,
        plan: Plan,
        records: Mapping[Job[..., Any], Record],
        places: Mapping[Job[..., Any], Any],
        launch: Callable[[Unit], Future[Any]],
        observer: Observer,
        name: str,
    ) -> None:
        self.units: dict[Future[Any], Unit] = {}  #: Of tasks that are not over.
        self.ends: dict[Job[..., Any], Task] = {}  #: The last task of each job.
        self._plan = plan
        self._records = records
        self._places = places
        self._start = Marker(f"the start of {name}")
        self._first = (self._start,)
        # Not all tasks one by one, which the engine would have to count for each of them.
        self._rest = Marker(f"the jobs of {name}")
        self._markers: list[Marker] = [self._start]
        self._elements: dict[Job[..., Any], dict[int, Task]] = {}  # the tasks of an array's elements, by place
        self._locks, self._slots = self._gates()
        gates: list[Gate] = [gate for gate in (self._locks, self._slots) if gate is not None]
        self._gated = bool(gates)
        anywhere = all(getattr(place, "anywhere", False) for place in set(places.values()))
        self.scheduler: Scheduler[Any] = Scheduler(launch, gates=gates, anywhere=anywhere, name=name)
        self.scheduler.observe(observer, early=False)

    def make(self) -> None:
        """Make all tasks. None of them starts yet."""
        try:
            for part in self._plan:
                if part.state is WANTED:
                    self._build(part)
            self._submit(Unit(None, "end"), {self._rest: "any"}, name="the end")
        except BaseException:
            self.scheduler.shutdown(wait=False, cancel_futures=True)
            raise
        self.scheduler.shutdown(wait=False)  # nothing more comes

    def begin(self) -> None:
        """Let them go."""
        for marker in self._markers:
            marker._conclude(None, None)
        self._markers.clear()
        self.look()

    def look(self) -> None:
        """Whether all tasks are over but the last, which then may end, too."""
        if len(self.units) == 1:
            self._rest._conclude(None, None)

    def _gates(self) -> tuple[Locks | None, Slots | None]:
        counts = {
            part.job: part.job.spec.throttle
            for part in self._plan
            if part.job.spec.throttle is not None and part.state is WANTED
        }
        locks = Locks({self._records[job].key: count for job, count in counts.items()}) if counts else None
        slots: dict[str, int] = {}
        for job, place in self._places.items():
            if getattr(place, "slots", None) and place.cpus(job) > 1:
                slots[_slot(place)] = place.slots
        return locks, Slots(slots) if slots else None

    def _build(self, part: Planned) -> None:
        job, record = part.job, self._records[part.job]
        whole, each = self._edges(part) if part.edges else ({}, {})
        takes = job.arguments.takes
        data = {self.ends[dep]: "success" for dep in takes if dep in self.ends} if takes else {}
        if job.elements is None:
            unit = Unit(record, "call", 0)
            self.ends[job] = self._submit(unit, self._joined(record, part, whole, data), name=record.name, job=job)
            return
        if any(c.when == "before" and not c.per_element for c in job.conditions) and part.places:
            before = self._submit(
                Unit(record, "before"),
                self._joined(record, part, whole, data),
                name=f"{record.name} (preconditions)",
            )
            whole, data = {}, {before: "success"}
        elements: dict[int, Task] = {}
        shared = None if each else self._joined(record, part, whole, data)
        for place in part.places:
            edges = {**whole, **{self._of_place(dep, place): status for dep, status in each.items()}}
            deps = self._joined(record, part, edges, data) if shared is None else shared
            elements[place] = self._submit(Unit(record, "call", place), deps, name=record.title(place), job=job)
        self._elements[job] = elements
        # Of an empty array the end comes after what the elements would come after.
        ends = dict.fromkeys(elements.values(), "any") or (shared or self._joined(record, part, whole, data))
        end = self._submit(Unit(record, "join"), ends, name=record.name)
        if any(c.when == "after" and not c.per_element for c in job.conditions) and elements:
            end = self._submit(Unit(record, "after"), {end: "any"}, name=record.name)
        self.ends[job] = end

    def _edges(self, part: Planned) -> tuple[dict[Any, str], dict[Job[..., Any], str]]:
        """What it comes after as a whole, and what element by element."""
        whole: dict[Any, str] = {}
        each: dict[Job[..., Any], str] = {}
        for dep, edge in part.edges.items():
            if edge.each:
                each[dep] = edge.status
            else:
                whole[self.ends[dep]] = edge.status
        return whole, each

    def _of_place(self, dep: Job[..., Any], place: int) -> Future[Any]:
        """The task of one element, or what stands for an element that is done."""
        task = self._elements[dep].get(place)
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
            return {**edges, **data} if data else edges, "all"
        if not data:
            return edges, "any"
        gate = self._submit(Unit(record, "gate"), (edges, "any"), name=f"{record.name} (any)")
        return {gate: "success", **data}, "all"

    def _submit(self, unit: Unit, deps: Any, *, name: str, job: Job[..., Any] | None = None) -> Task:
        edges, wait_for = deps if isinstance(deps, tuple) else (deps, "all")
        statuses = set(edges.values())  # nearly always one: then the engine need not look at each edge
        task = self.scheduler.submit(
            (unit,),
            dependencies=edges if len(statuses) > 1 else tuple(edges) or self._first,
            name=name,
            condition=statuses.pop() if len(statuses) == 1 else "any",
            wait_for=wait_for,
            gates=self._claims(job) if self._gated and job is not None else None,
        )
        self.units[task] = unit
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


def _slot(place: Any) -> str:
    return f"cpus of {type(place).__name__} {id(place):x}"
