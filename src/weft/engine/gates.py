"""What may hold a ready task back: limits, slots of resources, named locks, waves, conditions.

A task passes its gates one after another, in the order in which the scheduler was given them, and keeps what it has
passed while it waits at the next. All tasks keep to the same order, so they cannot wait for each other in a circle,
and each passes each gate once: the cost per task is constant however many wait. (All-or-nothing over several gates
would let a task be woken by one only to be sent back by another, again and again.) A gate where tasks wait for the end
of other tasks, as `Waves`, must come before those where something is held.

A held task is parked in the gate and not looked at until something leaves that gate.

All methods that take a task are called by the scheduler's own thread only. A gate belongs to one scheduler.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from weft.engine.edges import choose
from weft.engine.states import State
from weft.errors import ArgumentError, ChoiceError, DeadlockError, DependencyNeverSatisfied

if TYPE_CHECKING:
    from weft.engine.task import ScheduledFuture

    Task: TypeAlias = ScheduledFuture[Any]

__all__ = ["Gate", "Limit", "Locks", "NoFailures", "Slots", "Waves", "When"]


class Gate:
    """The questions that the scheduler asks. `demand` is what a task asked of this gate, as `check` returned it."""

    #: What a task asks that says nothing about this gate; None: the gate has nothing to do with such a task.
    default: Any = None
    #: Whether it must come before the gates that hold something, because tasks wait in it for the end of others.
    first = False
    _bound = False

    def bind(self) -> None:
        """Called once, by the scheduler whose thread is to call everything below."""
        if self._bound:
            raise ArgumentError(f"{self!r} belongs to another scheduler; make a {type(self).__name__} for this one")
        self._bound = True

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def check(self, demand: Any) -> Any:
        """Refuse a demand that can never be met, on the user's line; returns it in the gate's own form."""
        return demand

    def check_dependency(self, demand: Any, dependency: Any) -> None:
        """Refuse a demand that could never be met by a task that depends on one with the demand `dependency`."""

    def expect(self, task: Task, demand: Any) -> None:
        """A task with this demand has been accepted."""

    def admit(self, task: Task, demand: Any) -> bool:
        """Let the task through, or park it (False) until a `leave` returns it. Raising ends the task."""
        raise NotImplementedError

    def leave(self, task: Task, demand: Any, admitted: bool) -> Iterable[Task]:
        """The task has ended, having passed this gate or not; returns parked tasks that are let through now."""
        raise NotImplementedError


class Slots(Gate):
    """So many of each named resource: ``Slots({"cpus": 8, "memory": 32}, default={"cpus": 1})``.

    A task's demand is a mapping such as ``{"cpus": 2}``. First come, first served among tasks that ask for the same
    resource: nothing overtakes, so a large task is not starved by small ones.
    """

    def __init__(self, capacity: Mapping[str, int | float], default: Mapping[str, int | float] | None = None) -> None:
        if not isinstance(capacity, Mapping):
            raise ArgumentError(f'capacity must be a mapping such as {{"cpus": 8}}, got {capacity!r}')
        self._capacity = {name: _amount(amount, f"capacity {name!r}") for name, amount in capacity.items()}
        self._used: dict[str, int | float] = {}
        # A parked task stands in the queue of each resource that it asks for; it goes when it heads all of them and
        # all have enough. No entry in either mapping once nobody uses or waits for a resource.
        self._queues: dict[str, deque[tuple[Task, Mapping[str, int | float]]]] = {}
        self.default = self.check(default) if default else None

    def capacity(self, name: str) -> int | float:
        """How much there is of a resource."""
        try:
            return self._capacity[name]
        except KeyError:
            choose(name, self._capacity, "a resource of this gate")
            raise

    def check(self, demand: Any) -> Mapping[str, int | float]:
        if not isinstance(demand, Mapping):
            raise ArgumentError(f'a demand must be a mapping such as {{"cpus": 2}}, got {demand!r}')
        checked = {name: _amount(amount, f"demand {name!r}") for name, amount in demand.items()}
        for name, amount in checked.items():
            if amount > self.capacity(name):
                raise ChoiceError(f"asks for {amount} of {name!r}; there are only {self.capacity(name)}")
        return {name: amount for name, amount in checked.items() if amount}

    def admit(self, task: Task, demand: Any) -> bool:
        if not any(name in self._queues for name in demand) and self._fits(demand):
            self._take(demand)
            return True
        for name in demand:
            self._queues.setdefault(name, deque()).append((task, demand))
        return False

    def leave(self, task: Task, demand: Any, admitted: bool) -> list[Task]:
        if admitted:
            for name, amount in demand.items():
                self._used[name] -= amount
                if self._used[name] < 1e-9:
                    del self._used[name]
        # A task that leaves without having been let in may have headed a queue.
        return self._let_in(demand) if self._queues else []

    def _let_in(self, names: Iterable[str]) -> list[Task]:
        admitted: list[Task] = []
        todo = list(names)
        while todo:
            head = self._head(todo[-1])
            if head is None or not self._may_go(*head):
                todo.pop()
                continue
            task, demand = head
            self._take(demand)
            for name in demand:
                self._queues[name].popleft()
            admitted.append(task)
            # Others of its queues have a new head, too.
            todo.extend(demand)
        return admitted

    def _head(self, name: str) -> tuple[Task, Mapping[str, int | float]] | None:
        """The first in the queue that is still wanted; those that were cancelled meanwhile are dropped here."""
        queue = self._queues.get(name)
        while queue and queue[0][0].done():
            queue.popleft()
        if queue:
            return queue[0]
        self._queues.pop(name, None)
        return None

    def _may_go(self, task: Task, demand: Mapping[str, int | float]) -> bool:
        for name in demand:
            head = self._head(name)
            if head is None or head[0] is not task:
                return False
        return self._fits(demand)

    def _fits(self, demand: Mapping[str, int | float]) -> bool:
        return all(self._room(name) >= amount for name, amount in demand.items())

    def _room(self, name: str) -> int | float:
        room = self.capacity(name) - self._used.get(name, 0)
        # With fractions a hair is rounding: of 0.3, after 0.1, there are 0.19999999999999998 left.
        return room if isinstance(room, int) else room + 1e-9

    def _take(self, demand: Mapping[str, int | float]) -> None:
        for name, amount in demand.items():
            self._used[name] = self._used.get(name, 0) + amount


class Limit(Slots):
    """At most `count` tasks at a time, from submission to the end of their work."""

    def __init__(self, count: int) -> None:
        if not isinstance(count, int) or count < 1:
            raise ChoiceError(f"a limit must be a whole number from 1 up, got {count!r}")
        super().__init__({"tasks": count}, default={"tasks": 1})

    def check(self, demand: Any) -> Mapping[str, int | float]:
        return super().check({"tasks": demand} if isinstance(demand, int) else demand)


class Locks(Slots):
    """Named locks: one holder for each name at a time, fair; `counts` gives some names more than one.

    A task's demand is a name, a list of names, or a mapping from names to how many of each. Any name will do: a lock
    is there once somebody asks for it.
    """

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        super().__init__(counts or {})

    def capacity(self, name: str) -> int | float:
        return self._capacity.get(name, 1)

    def check(self, demand: Any) -> Mapping[str, int | float]:
        if isinstance(demand, str):
            demand = [demand]
        if not isinstance(demand, Mapping) and isinstance(demand, Iterable):
            demand = dict.fromkeys(demand, 1)
        return super().check(demand)


class Waves(Gate):
    """A task of wave n starts when all accepted tasks of lower waves have ended, in whichever way.

    A task's demand is its wave, a whole number; 0 unless it says otherwise. A direct dependency on a higher wave is
    refused, since neither could start; one through futures that are not this scheduler's cannot be seen.
    """

    default = 0
    first = True

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._lowest: list[int] = []  # a heap of the waves in _open, and of some that have ended meanwhile
        self._parked: dict[int, list[Task]] = {}

    def check(self, demand: Any) -> int:
        if not isinstance(demand, int):
            raise ArgumentError(f"a wave must be a whole number, got {demand!r}")
        return demand

    def check_dependency(self, demand: Any, dependency: Any) -> None:
        if dependency > demand:
            raise DeadlockError(
                f"a task of wave {demand} cannot wait for one of wave {dependency}, which starts only when all of "
                f"wave {demand} have ended; give it wave {dependency} or higher"
            )

    def expect(self, task: Task, demand: Any) -> None:
        if demand not in self._open:
            self._open[demand] = 0
            heapq.heappush(self._lowest, demand)
        self._open[demand] += 1

    def admit(self, task: Task, demand: Any) -> bool:
        if demand <= self._lowest[0]:
            return True
        self._parked.setdefault(demand, []).append(task)
        return False

    def leave(self, task: Task, demand: Any, admitted: bool) -> list[Task]:
        self._open[demand] -= 1
        if not self._open[demand]:
            del self._open[demand]
        while self._lowest and self._lowest[0] not in self._open:
            heapq.heappop(self._lowest)
        if not self._lowest:
            return []
        return [parked for parked in self._parked.pop(self._lowest[0], ()) if not parked.done()]


class When(Gate):
    """A condition that is looked at once, when a task could start: it goes on, or it ends as UNREACHABLE.

    `condition` takes the task and says whether it may start; `otherwise` is the text of the error when it may not.
    It concerns the tasks that ask for it with the demand True, or all with ``default=True``.
    """

    def __init__(self, condition: Callable[[Task], bool], otherwise: str, default: bool = False) -> None:
        self._condition = condition
        self._otherwise = otherwise
        self.default = default or None

    def admit(self, task: Task, demand: Any) -> bool:
        if demand and not self._condition(task):
            raise DependencyNeverSatisfied(self._otherwise)
        return True

    def leave(self, task: Task, demand: Any, admitted: bool) -> Iterable[Task]:
        return ()


class NoFailures(When):
    """A task that asks for it (demand True) starts only if no task of the scheduler has failed by then."""

    def __init__(self) -> None:
        super().__init__(lambda _: not self._failures, "run aborted: a task has failed")
        self.default = False  # not None: it watches the ends of all tasks
        self._failures = 0

    def leave(self, task: Task, demand: Any, admitted: bool) -> Iterable[Task]:
        self._failures += task.state is State.FAILED
        return ()


def _amount(amount: object, what: str) -> int | float:
    if isinstance(amount, (int, float)) and 0 <= amount < math.inf:
        return amount
    raise ChoiceError(f"{what} must be a number from 0 up, got {amount!r}")
