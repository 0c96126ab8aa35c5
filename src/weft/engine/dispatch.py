"""The engine's one thread: it owns the graph of tasks that are under way and calls the user's submit function.

    callers, workers, cancellers        the dispatcher's thread
    ----------------------------        ---------------------------------------------------------
    submit ───────────> new      ──>    accept: look at the dependencies ─┐
    a future ends ──┐                   over:   take over the outcome,    ├─> ready ─> gates ─> submit(...)
    cancel ─────────┼─> inbox    ──>            tell the dependents      ─┘      │
    shutdown ───────┘                   end:    event, outcome, dependents  <────┘

A future in the inbox says that it has ended; a pair is a verb and its subject. Where submits may come from `anywhere`,
the thread in which a work has ended takes the outcome over itself, and goes on with what that makes ready, while ours
sleeps.

Every counter, queue and gate below belongs to that thread alone, or to the one in its place, so none of them needs a
lock, no two decisions can cross, and events come in the order in which things happened. What others may do is small:
put a message into the inbox, and decide a future (see `weft.engine.light`), which is the only thing that two threads
can compete for.

Nothing here is recursive: ends go through `_ended`, launches through `_ready`, one at a time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from concurrent.futures._base import FINISHED, PENDING
from queue import SimpleQueue
from typing import Any, TypeAlias

from weft.engine.actor import Actor
from weft.engine.complain import complain, told
from weft.engine.edges import short, verdict
from weft.engine.events import EventStream
from weft.engine.gates import Gate
from weft.engine.light import LightFuture, outcome
from weft.engine.states import CANCELLED, FAILED, RUNNING, SUCCEEDED, UNREACHABLE, WANTED, State, check_transition
from weft.engine.task import ScheduledFuture
from weft.engine.works import Works
from weft.errors import ArgumentError, DeadlockError, DependencyNeverSatisfied

__all__ = ["Dispatcher"]

Task: TypeAlias = ScheduledFuture[Any]
MANY = 64  # dependents of one future from which on those that no longer wait, being cancelled, are dropped
_NO_KWARGS: Mapping[str, Any] = {}


class Dispatcher(Actor[Task]):
    """What a Scheduler and its futures share; it lives until everything accepted has ended."""

    def __init__(
        self, submit: Callable[..., Future[Any]], events: EventStream, name: str, *, anywhere: bool = False
    ) -> None:
        super().__init__(name)
        self._hear = self._take_over if anywhere else self._inbox.put  # of the end of a work
        self.events = events
        self._submit = submit
        self._waiting: set[Task] = set()  # accepted, not ended, not yet handed to the submit function
        self._dependents: dict[Future[Any], list[Task]] = {}  # of futures that have not ended, ours or not
        self._ready: deque[Task] = deque()  # to be launched, or to go on to their next gate
        self._ended: deque[Future[Any]] = deque()  # whose dependents have still to be told
        self._works = Works()  # submitted and not done
        self._drained: list[threading.Event] = []  # to be set when nothing waits any more
        self._subject: Any = None  # what this turn is about, should it go wrong

    # From any thread ------------------------------------------------------------------------------------------

    def cancelled(self, task: Task, needed: tuple[Future[Any], ...] = ()) -> None:
        """`task` has just been cancelled by somebody; of `needed`, cancel what nobody else needs."""
        # A work that may be a task itself is left to the message: through a chain of these this would be recursive.
        if not isinstance(task._work, LightFuture):
            self._works.cancel(task)
        self.put(self._cancelled, task)
        if needed:
            self.put(self._cancel_unneeded, needed)

    def cancel_pending(self) -> None:
        """Cancel what waits, and what its executor has not started."""
        self.put(self._cancel_pending, None)

    def give_back(self, task: Task, gate: Gate) -> None:
        """`task`, which runs, holds nothing of `gate` any more."""
        self.put(self._give_back, (task, gate))

    def drained(self) -> threading.Event:
        """An event that is set once everything accepted so far has been submitted or has ended."""
        return self.event_after(self._drained.append)

    def flushed(self) -> threading.Event:
        """An event that is set once all that is in the inbox by now has been dealt with."""
        return self.event_after(threading.Event.set)

    def waiting(self) -> list[str]:
        """Names of the tasks that wait: a glance from another thread, for messages."""
        return sorted(task.name for task in tuple(self._waiting))

    def resting(self) -> bool:
        """Whether nothing is under way but waiting for others: a glance from another thread."""
        return self.thread is None or (
            self._asleep and not (self._works or self._new or self._helper) and self._inbox.empty()
        )

    def _take_over(self, work: Future[Any]) -> None:
        """A work has ended, in this thread."""
        if not self.helps():
            self._inbox.put(work)
            return
        try:
            self._subject = work
            self._future_ended(work)
            self._work_off()
            if self.events.pauses:
                self.events.pause()
        except BaseException as exception:  # noqa: BLE001
            complain("unexpected error where %s is helped", self._name)
            self._went_wrong(exception)
        finally:
            self._subject = None
            left = self._ready or self._ended  # when something went wrong
            self.has_helped(wake=bool(left) or (not self._waiting and bool(self._drained or not self._works)))

    # The thread -----------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        while True:
            self._work_off(self._inbox)
            if self._idle():
                if self._over:
                    return
                self._subject = self._message(in_hand=bool(self._waiting or self._works))
                self._asleep = False
                self._read(self._subject)

    def _work_off(self, inbox: SimpleQueue[Any] | None = None) -> None:
        """Until nothing is left to do for the moment. What is in the inbox is for the thread itself."""
        new, ready, ended = self._new, self._ready, self._ended
        while True:
            while ended:
                self._tell_dependents(ended.popleft())
            # What has ended comes first, so that no work future lives longer than it has to: with 100,000 of them
            # the garbage collector would take more time than everything else.
            if inbox is not None and not inbox.empty():
                self._subject = message = inbox.get_nowait()
                if isinstance(message, Future):  # nearly always: without a further call
                    self._future_ended(message)
                else:
                    self._read(message)
                continue
            if not (new or ready):
                return
            # Then by turns, so that neither a flood of submits nor one of ready tasks holds up the other.
            if new:
                self._subject = new.popleft()
                self._accept(self._subject)
            if ready:
                self._subject = ready.popleft()
                self._launch(self._subject)

    def _idle(self) -> bool:
        """Whether there is nothing to do but to wait for a message, or to end; those who wait for this are told."""
        if self._ready or self._new:
            return False
        self._subject = None
        if not self._waiting:
            while self._drained:
                self._drained.pop().set()
            if not self._works and self._stop():
                return True
        if self.events.pauses:
            self.events.pause()
        return self._may_sleep()

    def _read(self, message: Any) -> None:
        if isinstance(message, Future):
            self._future_ended(message)
        elif message is not None:
            verb, subject = message
            while self._new:  # whatever is asked, it is about these, too
                self._accept(self._new.popleft())
            verb(subject)

    def _went_wrong(self, exception: BaseException) -> None:
        if isinstance(self._subject, ScheduledFuture) and not self._subject._state_now.is_end:
            self._end(self._subject, FAILED, exception=exception)

    # Messages -------------------------------------------------------------------------------------------------

    def _accept(self, task: Task) -> None:
        self._waiting.add(task)
        if self.events.early:
            self.events.emit(task, WANTED)
        try:
            if task._claims:
                for gate, demand in task._claims:
                    gate.expect(task, demand)
            self._link(task)
        except BaseException as exception:  # noqa: BLE001 - a gate or a future of the user's
            self._end(task, FAILED, exception=exception)

    def _link(self, task: Task) -> None:
        task._open = len(task._dependencies)
        if not task._open:
            self._ready.append(task)
        known = self._dependents
        for dependency in task._dependencies:
            dependents = known.get(dependency)
            if dependents is not None:
                dependents.append(task)
                size = len(dependents)
                if size >= MANY and not size & (size - 1):  # at each doubling, so that it costs next to nothing
                    dependents[:] = [waiting for waiting in dependents if waiting._open]
            elif not dependency.done():
                self._await(dependency, task)
            else:
                self._count(task, dependency)
                if not task._open:
                    break

    def _await(self, dependency: Future[Any], task: Task) -> None:
        """Be told of the end of `dependency`; once, however many tasks wait for it."""
        if not (isinstance(dependency, ScheduledFuture) and dependency._dispatcher is self):
            dependency.add_done_callback(self._inbox.put)
        self._dependents[dependency] = [task]

    def _future_ended(self, future: Future[Any]) -> None:
        """The message of a future: a foreign dependency, the work of one task or of several, or both."""
        if future in self._dependents:
            self._ended.append(future)
        owners = self._works.remove(future)
        if isinstance(owners, list):
            for task in owners:
                self._finish(task, future)
        elif owners is not None:
            self._finish(owners, future)

    def _tell_dependents(self, future: Future[Any]) -> None:
        """A future that others wait for has ended: what does that mean for them?"""
        if isinstance(future, ScheduledFuture):
            succeeded = future._state_now is SUCCEEDED
        else:
            succeeded = isinstance(future, LightFuture) and future._state == FINISHED and future._exception is None
        for task in self._dependents.pop(future, ()):
            left = task._open
            if not left:
                continue
            if succeeded and task._plain:
                # By far the most common case, without asking the future again for each edge.
                task._open = left = left - 1
                if not left:
                    self._ready.append(task)
            else:
                self._count(task, future)

    def _count(self, task: Task, dependency: Future[Any]) -> None:
        """One dependency less to know about. `_open` is 0 once it is decided whether the task may start."""
        conditions = task._conditions
        condition = conditions if isinstance(conditions, str) else conditions[dependency]
        try:
            never = verdict(condition, dependency, task)
        except BaseException as exception:  # noqa: BLE001 - a future from anywhere may be of any make
            self._end(task, FAILED, exception=exception)
            return
        decides = (never is None) if task._any else (never is not None)
        task._open = 0 if decides else task._open - 1
        if task._open:
            return
        if never is None:
            self._ready.append(task)
        else:
            self._end(task, UNREACHABLE, exception=never)

    def _finish(self, task: Task, work: Future[Any]) -> None:
        """The work of a task is done: its outcome is the task's."""
        task._work = None
        if task._state_now.is_end:  # cancelled while its work could not be stopped: the late result is dropped
            self._leave_gates(task)
            return
        try:
            result, exception = outcome(work)
        except CancelledError:
            self._end(task, CANCELLED)
        except BaseException as error:  # noqa: BLE001 - a future from anywhere may be of any make
            self._end(task, FAILED, exception=error)
        else:
            if exception is None and not task._claims and not self.events.observers:
                self._succeed(task, result)
            else:
                self._end(task, SUCCEEDED if exception is None else FAILED, result, exception)

    def _succeed(self, task: Task, result: Any) -> None:
        """What `_end` does, for the most common case: nobody is to be told but those who hold the future."""
        if task in self._dependents:
            self._ended.append(task)
        try:
            state = SUCCEEDED if task._conclude(result, None) else CANCELLED
        except BaseException:  # noqa: BLE001
            complain("a done-callback of %r raised what is meant to end a thread; ignored here", task.name)
            state = SUCCEEDED
        task._state_now = state

    def _cancelled(self, task: Task) -> None:
        if task._state_now.is_end:
            return
        self._works.cancel(task)  # again: when the canceller looked, the submit function may not have returned yet
        self._end(task, CANCELLED)

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
            self._cancelled(task)
        self._works.cancel_queued()

    # A task's way ---------------------------------------------------------------------------------------------

    def _launch(self, task: Task) -> None:
        if task._claims and not self._pass_gates(task):
            return
        if task._decided:  # cancelled on its way here; usually, but not after a Ctrl-C, a message follows
            self._cancelled(task)
            return
        try:
            work = self._submit(*task._args, **task._kwargs)
            if not isinstance(work, Future):
                raise ArgumentError(
                    f"the submit function returned {type(work).__name__} {short(work)} for {task.name!r}; "
                    "it must return a Future of concurrent.futures, as executor.submit(...) does"
                )
            if work is task:
                raise DeadlockError(f"the submit function returned the very future it was called for: {task.name!r}")
            # Nobody calls back from where we are: that would be a message to ourselves.
            is_done = isinstance(work, LightFuture) and work._state != PENDING
            if self._works.add(work, task) and not is_done:
                try:
                    work.add_done_callback(self._hear)
                except BaseException:  # nothing will ever be heard of it
                    self._works.remove(work)
                    raise
        except BaseException as exception:  # noqa: BLE001 - it ends in the future, whatever it is
            self._end(task, FAILED, exception=exception)
            return
        self._waiting.discard(task)
        self._move(task, RUNNING)
        task._args, task._kwargs, task._dependencies = (), _NO_KWARGS, ()
        task._work = work
        if is_done:
            self._future_ended(work)

    def _pass_gates(self, task: Task) -> bool:
        claims = task._claims
        while task._passed < len(claims):
            gate, demand = claims[task._passed]
            try:
                if not gate.admit(task, demand):
                    return False
            except DependencyNeverSatisfied as never:
                self._end(task, UNREACHABLE, exception=never)
                return False
            except BaseException as exception:  # noqa: BLE001 - a condition of the user's: it ends in the future
                self._end(task, FAILED, exception=exception)
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

    def _give_back(self, subject: tuple[Task, Gate]) -> None:
        task, gate = subject
        for index, (held, demand) in enumerate(task._claims[: task._passed]):
            if held is gate:
                task._claims = task._claims[:index] + task._claims[index + 1 :]
                task._passed -= 1
                for admitted in gate.leave(task, demand, True):  # noqa: FBT003
                    admitted._passed += 1
                    self._ready.append(admitted)
                return

    def _move(self, task: Task, state: State, exception: BaseException | None = None) -> None:
        """The one place where a task's state changes."""
        if state not in task._state_now.following:  # looked at here: a call for each task would cost more
            check_transition(task._state_now, state)
        task._state_now = state
        if self.events.observers:
            self.events.emit(task, state, "" if exception is None else told(exception))

    def _end(self, task: Task, state: State, result: Any = None, exception: BaseException | None = None) -> None:
        """Record, publish, and see to those that wait for it; called once for each task. It never raises."""
        if not task._decide():  # somebody cancelled it
            state, exception = CANCELLED, None
        self._waiting.discard(task)
        task._open = 0
        task._args, task._kwargs, task._dependencies = (), _NO_KWARGS, ()
        if task in self._dependents:
            self._ended.append(task)
        self._move(task, state, exception)
        try:
            # Resources that a work still uses, though nobody wants its result, are not free yet.
            if task._claims and (task._work is None or task._work.done()):
                self._leave_gates(task)
        except BaseException:  # noqa: BLE001
            complain("a gate of %s raised at the end of %r", self._name, task.name)
        try:
            if state is CANCELLED:
                task._publish_cancelled()  # usually it has been published by whoever cancelled it
            else:
                task._publish(result, exception)
        except BaseException:  # noqa: BLE001
            complain("a done-callback of %r raised what is meant to end a thread; ignored here", task.name)
