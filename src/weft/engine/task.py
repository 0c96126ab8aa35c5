"""A task is a future: submitted to the user's function once its dependencies are done."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from weft.engine.light import LightFuture
from weft.engine.states import CANCELLED, FAILED, RUNNING, SUCCEEDED, WANTED, State
from weft.errors import DeadlockError

if TYPE_CHECKING:
    from weft.engine.dispatch import Dispatcher
    from weft.engine.gates import Gate

__all__ = ["ScheduledFuture"]

T = TypeVar("T")


class ScheduledFuture(LightFuture[T]):
    """The outcome of a task that may still wait for others. Made by `Scheduler.submit`.

    It is a `concurrent.futures.Future`. Beyond that it has a `name` and a `state`.
    """

    # Everything below but `_work` belongs to the dispatcher's thread once the task has been accepted.
    __slots__ = (
        "_any",
        "_args",
        "_claims",
        "_conditions",
        "_dependencies",
        "_dispatcher",
        "_kwargs",
        "_name",
        "_open",
        "_passed",
        "_plain",
        "_state_now",
        "_work",
    )

    def __init__(
        self,
        dispatcher: Dispatcher,
        name: str | int,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        dependencies: tuple[Future[Any], ...],
        conditions: str | dict[Future[Any], str],
        wait_for_any: bool,
        claims: tuple[tuple[Gate, Any], ...],
    ) -> None:
        LightFuture.__init__(self)
        self._dispatcher = dispatcher
        self._name = name
        self._args = args
        self._kwargs = kwargs
        self._dependencies = dependencies
        self._conditions = conditions
        self._any = wait_for_any
        # One that has succeeded meets any condition but that it fails.
        asked = (conditions,) if isinstance(conditions, str) else conditions.values()
        self._plain = not wait_for_any and "failure" not in asked  # waits for all, and counts those that succeed
        self._claims = claims
        self._open = 0  # dependencies of which it is not known yet what they mean for this task
        self._passed = 0  # gates passed; they are held until the task's work has ended
        self._work: Future[T] | None = None
        self._state_now = WANTED

    @property
    def name(self) -> str:
        """The name given at submit, or ``task-7`` for the seventh without one."""
        return self._name if isinstance(self._name, str) else f"task-{self._name}"

    @property
    def state(self) -> State:
        """Where the task stands now."""
        if self.done():  # its outcome is published, and may not be noted yet
            if self.cancelled():
                return CANCELLED
            if self._state_now is RUNNING:
                return SUCCEEDED if self._exception is None else FAILED
        return self._state_now

    def running(self) -> bool:
        """True while the work future says that it runs; never before the task has been submitted."""
        future: Future[Any] | None = self
        while isinstance(future, ScheduledFuture):  # the work of a task may be another task, and so on
            if future.done():
                return False
            future = future._work
        return future is not None and future.running()

    def cancel(self, upstream: bool = False) -> bool:
        """Cancel this task; True unless it was done before.

        Waiting: it never runs. Submitted: a work that has a method `kill()`, as those of `LocalExecutor` have, is
        stopped, even if it runs. Otherwise its `cancel()` is tried; if that refuses because it runs, the late result is
        dropped. Dependents see a cancelled dependency.

        Args:
            upstream: also cancel the tasks of this scheduler that only this one needed, and what only they needed.
                Default: this one only.
        """
        needed = self._dependencies if upstream else ()
        if self._decide():
            try:
                self._publish_cancelled()
            finally:  # even if a done-callback raises what is meant to end the thread
                self._dispatcher.cancelled(self, needed)
        return self.cancelled()

    def _refuse_deadlock(self, timeout: float | None) -> None:
        if timeout is None and not self.done() and self._dispatcher.is_here():
            raise DeadlockError(
                f"waiting for {self.name!r} here would never end: this is the thread that would have to submit it "
                "(a submit function, done-callback or observer); make it a dependency, or use add_done_callback"
            )

    def __repr__(self) -> str:
        return f"<ScheduledFuture {self.name!r} {self.state.value}>"
