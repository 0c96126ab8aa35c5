"""The door to the engine: submit a task now, have it run once others are done."""

from __future__ import annotations

import itertools
import logging
import weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import Any, Generic, TypeVar

from weft.engine.dispatch import Dispatcher
from weft.engine.edges import WAIT_FOR, Condition, WaitFor, choose, conditions_of, futures_in
from weft.engine.events import EventStream, Observer
from weft.engine.exit import look_after
from weft.engine.gates import Gate
from weft.engine.states import State
from weft.engine.task import ScheduledFuture
from weft.engine.waiting import WaitGraph
from weft.errors import ArgumentError

__all__ = ["Scheduler"]

LOGGER = logging.getLogger("weft")
T = TypeVar("T")
_NAMES = itertools.count(1)
_NO_KWARGS: Mapping[str, Any] = {}


class Scheduler(Generic[T]):
    """Calls ``submit(*args, **kwargs)``, which returns a future, for each task whose dependencies are done.

    ::

        with ThreadPoolExecutor() as pool, Scheduler(pool.submit) as scheduler:
            a = scheduler.submit([load, "a.dat"])
            b = scheduler.submit([plot], dependencies=[a])

    Args:
        submit: the user's function. It is always called from one and the same thread (but see `anywhere`), which is
            not the caller's, so it needs no locking of its own; it should return soon and must return a
            `concurrent.futures.Future`.
        wait_graph: kept as the attribute `wait_graph`, for futures that wait for several tasks of this scheduler;
            default: a new one.
        gates: what may hold ready tasks back, in the order in which they are to be passed; see `weft.engine.gates`.
        observers: functions that are called with each `Event`.
        anywhere: submit, observers and gates may be called from any thread in which a work ends, one at a time: so
            a chain of tasks needs no other thread. Default: False.
        name: for the thread and for messages; default ``scheduler-1`` and so on.

    A slow done-callback or observer holds up the scheduler's thread, as one of a process pool holds up the pool's.
    """

    def __init__(
        self,
        submit: Callable[..., Future[T]],
        wait_graph: WaitGraph | None = None,
        *,
        gates: Iterable[Gate] = (),
        observers: Iterable[Observer] = (),
        anywhere: bool = False,
        name: str | None = None,
    ) -> None:
        _check_callable(submit)
        self.wait_graph = WaitGraph() if wait_graph is None else wait_graph
        self.name = name or f"scheduler-{next(_NAMES)}"
        self._gates = _checked_gates(gates)
        self._default_claims = tuple((g, g.default) for g in self._gates if g.default is not None)
        self._numbers = itertools.count(1)
        self._dispatcher = Dispatcher(submit, EventStream(observers), self.name, anywhere=anywhere)
        look_after(self._dispatcher)
        # Without a scheduler nobody can submit any more: the thread may end once all is done.
        closer = weakref.finalize(self, _close, weakref.ref(self._dispatcher), f"{self.name} is no more")
        closer.atexit = False

    def submit(
        self,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        dependencies: Iterable[Future[Any]] | Mapping[Future[Any], Condition] = (),
        *,
        name: str | None = None,
        condition: Condition = "value",
        wait_for: WaitFor = "all",
        gates: Mapping[Gate, Any] | None = None,
    ) -> ScheduledFuture[T]:
        """Accept a task and return its future at once.

        Args:
            args, kwargs: for the submit function, once the task may start. Futures among them are handed over as
                they are: the submit function asks them for their results.
            dependencies: futures from anywhere, duplicates kept; or a mapping from each to its own condition.
            name: for events and messages; default ``task-<n>``.
            condition: what is asked of each dependency: ``"value"`` (default: a failed one fails this task with the
                same exception, a cancelled one counts as done), ``"success"``, ``"failure"`` or ``"any"``. A task
                whose condition can no longer hold ends at once with `DependencyNeverSatisfied`.
            wait_for: ``"all"`` dependencies (default), or ``"any"``: the first that meets its condition.
            gates: what the task asks of which of the scheduler's gates, such as ``{locks: "db", slots: {"cpus": 2}}``.

        Raises:
            ArgumentError: (a TypeError) of the wrong kind, such as a dependency that is no future.
            ChoiceError: (a ValueError) an unknown condition, or a demand that a gate can never meet.
            ClosedError: (a RuntimeError) after `shutdown()`.
        """
        if type(args) is not tuple:
            args = tuple(args) if type(args) is list else _checked_args(args)
        if kwargs is None:
            kwargs = _NO_KWARGS
        elif isinstance(kwargs, Mapping):
            kwargs = dict(kwargs)
        else:
            raise ArgumentError(f"kwargs must be a mapping of names to values, got {kwargs!r}")
        futures = () if dependencies is None else futures_in(dependencies)
        task: ScheduledFuture[T] = ScheduledFuture(
            self._dispatcher,
            next(self._numbers) if name is None else str(name),
            args,
            kwargs,
            futures,
            conditions_of(dependencies, condition),
            choose(wait_for, WAIT_FOR, "wait_for") == "any" if wait_for != "all" else False,
            self._claims(gates, futures) if self._gates or gates else (),
        )
        self._dispatcher.bring(task)
        return task

    def observe(self, observer: Observer, *, early: bool = True) -> Callable[[], None]:
        """Call `observer` with each `Event` from now on; returns a function that ends this.

        Args:
            observer: the function.
            early: also with the first event of each task, WANTED: that it has been accepted.
        """
        return self._dispatcher.events.subscribe(observer, early=early)

    def give_back(self, task: ScheduledFuture[Any], gate: Gate) -> None:
        """Let others have what `task`, which runs, holds of `gate`: a `Slots`, `Limit` or `Locks`.

        For a task that waits for others for a while. To have it again, submit another task that asks for it and whose
        work lasts until then. Nothing happens where the task has ended, or holds nothing of it.
        """
        self._dispatcher.give_back(task, gate)

    def at_pauses(self, function: Callable[[], object]) -> None:
        """Call `function`, in the thread of the observers, whenever no further event follows for the moment."""
        self._dispatcher.events.pauses += (function,)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more tasks. May be called again.

        Args:
            wait: return only when everything accepted has been submitted (or has ended). Results may still be
                under way; the executor's own shutdown waits for those. From the scheduler's own thread (a
                done-callback) there is nothing to wait with, so it returns at once.
            cancel_futures: cancel what waits, and what its executor has not started yet.
        """
        self._dispatcher.close(f"cannot submit: {self.name} has been shut down")
        if cancel_futures:
            self._dispatcher.cancel_pending()
        if wait and not self._dispatcher.is_here():
            try:
                self._dispatcher.drained().wait()
            except KeyboardInterrupt:
                self._interrupted()
                raise

    def _interrupted(self) -> None:
        """After Ctrl-C nobody wants to wait for hours of tasks that have not even started."""
        if waiting := len(self._dispatcher.waiting()):
            LOGGER.warning(
                "interrupted: %s of %s cancelled", "1 task" if waiting == 1 else f"{waiting} tasks", self.name
            )
        self._dispatcher.cancel_pending()

    def __enter__(self) -> Scheduler[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._interrupted()
        self.shutdown()

    def _claims(
        self, demands: Mapping[Gate, Any] | None, dependencies: tuple[Future[Any], ...]
    ) -> tuple[tuple[Gate, Any], ...]:
        if not demands:
            claims = self._default_claims
        elif not isinstance(demands, Mapping):
            raise ArgumentError(f'gates must say what is asked of which gate, as {{locks: "db"}}; got {demands!r}')
        else:
            for gate in demands:
                if gate not in self._gates:
                    raise ArgumentError(
                        f"{gate!r} is not a gate of {self.name}; give it as Scheduler(..., gates=[...])"
                    )
            claims = tuple(
                (gate, gate.check(demands[gate]) if gate in demands else gate.default)
                for gate in self._gates
                if gate in demands or gate.default is not None
            )
        if dependencies:
            _check_against(dependencies, claims)
        return claims

    def __repr__(self) -> str:
        return f"<Scheduler {self.name!r}>"


def _close(dispatcher: weakref.ref[Dispatcher], why: str) -> None:
    # Weak, because a strong one would reach, through the submit function, whoever owns the scheduler.
    if (living := dispatcher()) is not None:
        living.close(why)


def _check_callable(submit: object) -> None:
    if not callable(submit):
        hint = "; write Scheduler(executor.submit)" if isinstance(submit, Executor) else ""
        raise ArgumentError(f"submit must be a function that returns a future, got {submit!r}{hint}")


def _checked_args(args: Any) -> tuple[Any, ...]:
    if not isinstance(args, (str, bytes, Mapping)) and isinstance(args, Iterable):
        return tuple(args)
    raise ArgumentError(
        f"args must be a list of arguments for the submit function, got {args!r}; "
        "write scheduler.submit([x, ...], {...}, dependencies=[...])"
    )


def _checked_gates(gates: Iterable[Gate]) -> tuple[Gate, ...]:
    if isinstance(gates, Gate):
        raise ArgumentError(f"gates must be a list, got one gate: write gates=[{gates!r}]")
    checked = tuple(gates)
    for place, gate in enumerate(checked):
        if not isinstance(gate, Gate):
            raise ArgumentError(f"a gate must be a weft gate such as Limit(4) or Locks(), got {gate!r}")
        if gate in checked[:place]:
            raise ArgumentError(f"{gate!r} is given twice in gates=[...]")
        if gate.first and not all(before.first for before in checked[:place]):
            raise ArgumentError(
                f"put {gate!r} first in gates=[...]: a task that waits there for other tasks to end "
                "must not hold what those may need"
            )
    for gate in checked:
        gate.bind()
    return checked


def _check_against(dependencies: tuple[Future[Any], ...], claims: tuple[tuple[Gate, Any], ...]) -> None:
    for gate, demand in claims:
        for dependency in dependencies:
            # One that has been launched waits for nobody any more.
            if isinstance(dependency, ScheduledFuture) and dependency.state is State.WANTED:
                for other, its_demand in dependency._claims:
                    if other is gate:
                        gate.check_dependency(demand, its_demand)
