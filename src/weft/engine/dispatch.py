"""The engine's one thread: it owns the graph of tasks that are under way and calls the user's submit function.

    callers, workers, cancellers            the dispatcher's thread
    ----------------------------            -----------------------------------------------------------
    submit    ──┐                           accept:  look at the dependencies ─┐
    work done ──┼──> inbox (SimpleQueue) ──>  finish:  take over the outcome   ├─> ready ─> gates ─> submit(...)
    cancel    ──┤                           arrived: a dependency has ended  ──┘     │
    shutdown  ──┘                           end: event, outcome, dependents  <───────┘

Every counter, queue and gate below belongs to that thread alone, so none of them needs a lock, no two decisions can
cross, and events come in the order in which things happened. What others may do is small: put a message into the
inbox, and decide a future (see `weft.engine.light`), which is the only thing that two threads can compete for.

Nothing here is recursive: ends go through `_ended`, launches through `_ready`, one at a time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, TypeAlias

from weft.engine.actor import Actor
from weft.engine.edges import verdict
from weft.engine.events import EventStream
from weft.engine.states import State, check_transition
from weft.engine.task import ScheduledFuture
from weft.errors import ArgumentError, DeadlockError, DependencyNeverSatisfied

__all__ = ["Dispatcher"]

Task: TypeAlias = ScheduledFuture[Any]


class Dispatcher(Actor):
    """What a Scheduler and its futures share; it lives until everything accepted has ended."""

    def __init__(self, submit: Callable[..., Future[Any]], events: EventStream, name: str) -> None:
        super().__init__(name)
        self.events = events
        self._submit = submit
        self._waiting: set[Task] = set()  # accepted, not ended, not yet handed to the submit function
        self._dependents: dict[Future[Any], list[Task]] = {}  # of futures that have not ended, ours or not
        self._ready: deque[Task] = deque()  # to be launched, or to go on to their next gate
        self._ended: deque[Task] = deque()  # whose dependents have still to be told
        self._works: dict[Future[Any], int] = {}  # submitted and not done; how many tasks share each
        self._drained: list[threading.Event] = []  # to be set when nothing waits any more

    # From any thread ------------------------------------------------------------------------------------------

    def accept(self, task: Task) -> None:
        """Take responsibility for a new task: from now on it will end, whatever happens."""
        self.put_if_open(self._accept, task)

    def cancelled(self, task: Task, needed: tuple[Future[Any], ...] = ()) -> None:
        """`task` has just been cancelled by somebody; of `needed`, cancel what nobody else needs."""
        work = task._work
        # A work that several tasks share goes on for the others.
        if work is not None and self._works.get(work, 1) == 1:
            work.cancel()
        self.put(self._cancelled, task)
        if needed:
            self.put(self._cancel_unneeded, needed)

    def cancel_pending(self) -> None:
        """Cancel what waits, and what its executor has not started."""
        self.put(self._cancel_pending, None)

    def drained(self) -> threading.Event:
        """An event that is set once everything accepted so far has been submitted or has ended."""
        return self.event_after(self._drained.append)

    def flushed(self) -> threading.Event:
        """An event that is set once all that is in the inbox by now has been dealt with."""
        return self.event_after(threading.Event.set)

    def waiting(self) -> list[str]:
        """Names of the tasks that wait: a glance from another thread, for messages."""
        return sorted(task.name for task in tuple(self._waiting))

    def busy(self) -> bool:
        """Whether submitted work is under way: a glance from another thread."""
        return bool(self._works)

    # The thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        inbox, ready = self._inbox, self._ready
        while True:
            # By turns, so that neither a flood of submits nor a flood of ready tasks holds up the other.
            if not ready or not inbox.empty():
                verb, subject = inbox.get()
                self._do(verb, subject)
                del subject  # the last task must not be kept alive by an idle thread
            if ready:
                self._do(self._launch, ready.popleft())
            while self._ended:
                self._do(self._tell_dependents, self._ended.popleft())
            if self._waiting:
                continue
            if self._drained:
                for event in self._drained:
                    event.set()
                self._drained.clear()
            if not self._works and not ready and self._stop():
                return

    def _went_wrong(self, subject: Any, exception: BaseException) -> None:
        if isinstance(subject, ScheduledFuture) and not subject._state_now.is_end:
            self._end(subject, State.FAILED, exception=exception)

    # Messages -------------------------------------------------------------------------------------------------

    def _accept(self, task: Task) -> None:
        self._waiting.add(task)
        if self.events:
            self.events.emit(task, State.WANTED)
        for gate, demand in task._claims:
            gate.expect(task, demand)
        if not task._dependencies:
            self._ready.append(task)
            return
        task._open = len(task._dependencies)
        for dependency in task._dependencies:
            if dependency.done():
                self._count(task, dependency)
                if not task._open:
                    break
            else:
                self._wait_for(task, dependency)

    def _wait_for(self, task: Task, dependency: Future[Any]) -> None:
        dependents = self._dependents.get(dependency)
        if dependents is not None:
            dependents.append(task)
            return
        self._dependents[dependency] = [task]
        if not (isinstance(dependency, ScheduledFuture) and dependency._dispatcher is self):
            # One callback for a foreign future, however many tasks wait for it.
            dependency.add_done_callback(self._foreign_done)

    def _foreign_done(self, dependency: Future[Any]) -> None:
        self._inbox.put((self._arrived, dependency))

    def _arrived(self, dependency: Future[Any]) -> None:
        """A dependency has ended: what does that mean for those that wait for it?"""
        for task in self._dependents.pop(dependency, ()):
            if task._open:
                self._count(task, dependency)

    def _count(self, task: Task, dependency: Future[Any]) -> None:
        """One dependency less to know about. `_open` is 0 once it is decided whether the task may start."""
        conditions = task._conditions
        condition = conditions if isinstance(conditions, str) else conditions[dependency]
        try:
            never = verdict(condition, dependency, task)
        except BaseException as exception:  # noqa: BLE001 - a future from anywhere may be of any make
            self._end(task, State.FAILED, exception=exception)
            return
        decides = (never is None) if task._any else (never is not None)
        task._open = 0 if decides else task._open - 1
        if task._open:
            return
        if never is None:
            self._ready.append(task)
        else:
            self._end(task, State.UNREACHABLE, exception=never)

    def _finish(self, task: Task) -> None:
        """The work of a task is done: its outcome is the task's."""
        work = task._work
        assert work is not None
        if self._works[work] == 1:
            del self._works[work]
        else:
            self._works[work] -= 1
        task._work = None
        if task._state_now.is_end:  # cancelled while its work could not be stopped: the late result is dropped
            self._leave_gates(task)
            return
        try:
            exception = work.exception()
        except CancelledError:
            self._end(task, State.CANCELLED)
            return
        if exception is None:
            self._end(task, State.SUCCEEDED, result=work.result())
        else:
            self._end(task, State.FAILED, exception=exception)

    def _cancelled(self, task: Task) -> None:
        if task._state_now.is_end:
            return
        work = task._work
        if work is not None and self._works.get(work) == 1:
            work.cancel()  # again: when the canceller looked, the submit function may not have returned yet
        self._end(task, State.CANCELLED)

    def _cancel_unneeded(self, needed: tuple[Future[Any], ...]) -> None:
        todo = list(needed)
        while todo:
            task = todo.pop()
            if not isinstance(task, ScheduledFuture) or task._dispatcher is not self or task.done():
                continue
            if all(dependent.done() for dependent in self._dependents.get(task, ())):
                todo.extend(task._dependencies)
                task.cancel()

    def _cancel_pending(self, _: None) -> None:
        for task in tuple(self._waiting):
            task.cancel()
        for work in tuple(self._works):
            if not work.running():
                work.cancel()

    # A task's way ---------------------------------------------------------------------------------------------

    def _launch(self, task: Task) -> None:
        # Decided: cancelled while it was on its way here; its own message sees to the rest.
        if not self._pass_gates(task) or task._decided:
            return
        try:
            work = self._submit(*task._args, **task._kwargs)
            if not isinstance(work, Future):
                raise ArgumentError(
                    f"the submit function returned {type(work).__name__} {_short(work)} for {task.name!r}; "
                    "it must return a Future, as executor.submit(...) does"
                )
            if work is task:
                raise DeadlockError(f"the submit function returned the very future it was called for: {task.name!r}")
        except BaseException as exception:  # noqa: BLE001 - it ends in the future, whatever it is
            self._end(task, State.FAILED, exception=exception)
            return
        self._waiting.discard(task)
        self._move(task, State.RUNNING)
        task._args, task._kwargs, task._dependencies = (), {}, ()
        task._work = work
        work.add_done_callback(_Done(self, task))
        self._works[work] = self._works.get(work, 0) + 1

    def _pass_gates(self, task: Task) -> bool:
        claims = task._claims
        while task._passed < len(claims):
            gate, demand = claims[task._passed]
            try:
                if not gate.admit(task, demand):
                    return False
            except DependencyNeverSatisfied as never:
                self._end(task, State.UNREACHABLE, exception=never)
                return False
            except BaseException as exception:  # noqa: BLE001 - a condition of the user's: it ends in the future
                self._end(task, State.FAILED, exception=exception)
                return False
            task._passed += 1
        return True

    def _leave_gates(self, task: Task) -> None:
        passed, claims = task._passed, task._claims
        task._claims = ()
        for index, (gate, demand) in enumerate(claims):
            for admitted in gate.leave(task, demand, index < passed):
                admitted._passed += 1
                self._ready.append(admitted)

    def _move(self, task: Task, state: State, exception: BaseException | None = None) -> None:
        """The one place where a task's state changes."""
        check_transition(task._state_now, state)
        task._state_now = state
        if self.events:
            self.events.emit(task, state, "" if exception is None else _told(exception))

    def _end(self, task: Task, state: State, *, result: Any = None, exception: BaseException | None = None) -> None:
        """Record, publish, and see to those that wait for it; called once for each task."""
        mine = task._decide()
        if not mine:  # somebody cancelled it in this very moment
            state, exception = State.CANCELLED, None
        self._waiting.discard(task)
        task._open = 0
        task._args, task._kwargs, task._dependencies = (), {}, ()
        self._ended.append(task)
        try:
            self._move(task, state, exception)
            # Resources that a work still uses, though nobody wants its result, are not free yet.
            if task._work is None or task._work.done():
                self._leave_gates(task)
        finally:  # even if a gate of the user's raises
            if mine and state is State.CANCELLED:
                task._publish_cancelled()
            elif mine:
                task._publish(result, exception)

    def _tell_dependents(self, task: Task) -> None:
        if task in self._dependents:
            self._arrived(task)


class _Done:
    """Reports that the work of a task is done; smaller and quicker than a closure, and it reads well in a debugger."""

    __slots__ = ("dispatcher", "task")

    def __init__(self, dispatcher: Dispatcher, task: Task) -> None:
        self.dispatcher = dispatcher
        self.task = task

    def __call__(self, _: Future[Any]) -> None:
        self.dispatcher.put(self.dispatcher._finish, self.task)


def _told(exception: BaseException) -> str:
    try:
        return f"{type(exception).__name__}: {exception}"
    except Exception:  # noqa: BLE001 - its __str__ is somebody's code
        return type(exception).__name__


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
