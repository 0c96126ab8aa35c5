"""Calls through any executor."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from weft.calls.closure import Closure
from weft.errors import ArgumentError, DeadlockError
from weft.futures import Gate, Observer
from weft.runners.futures import FuturesRunner
from weft.runners.remote import RemoteFuture, pack_call, run_packed

__all__ = ["ConcurrentRunner"]


class ConcurrentRunner(FuturesRunner):
    """Calls functions through an executor.

    Args:
        schedule: whether a call returns at once and is started when the futures among its arguments are done.
            Otherwise the caller waits for them, and its call raises what they raise.
        executor: any `concurrent.futures.Executor`, which stays the user's to shut down. Default: threads, which are
            the runner's own.
        observers, gates, name: for the scheduler, so with ``schedule=True`` only; see `weft.futures.Scheduler`.

    `FuturesRunner` says what comes back. Lambdas, nested functions and functions of the main script travel to
    processes, too. What calls ask for (`@task(cpus=4)`) reaches an executor that has a method `using`. An executor
    that is no ThreadPoolExecutor gets calls and gives outcomes as bytes, unless it has the attribute
    ``shares_memory = True``.
    """

    def __init__(
        self,
        schedule: bool = False,
        executor: Executor | None = None,
        observers: Iterable[Observer] = (),
        gates: Iterable[Gate] = (),
        name: str | None = None,
    ) -> None:
        super().__init__(schedule, gates=gates, observers=observers, name=name)
        _refuse_strange(executor)
        self._executor = executor
        self._own: ThreadPoolExecutor | None = None
        self._making = threading.Lock()
        self._mark = object()  # stands for this runner in the threads that run its calls

    def submit_ready(self, closure: Closure) -> Future[Any]:
        executor = self._executor or self._threads()
        shares_memory = _shares_memory(executor)
        resources = closure.get_resources()
        if resources and hasattr(executor, "using"):
            executor = executor.using(**resources)
        if shares_memory:
            # Results of other calls are copied by the worker and not here, in the scheduler's only thread.
            return executor.submit(_Once(closure, self._mark))
        return RemoteFuture(executor.submit(run_packed, pack_call(closure.resolved(copy=False))))

    def shutdown(self) -> None:
        if getattr(_HERE, "mark", None) is self._mark:
            raise DeadlockError(
                "shutdown() inside a call of the same runner would wait for that very call; "
                "shut the runner down where it was made"
            )
        super().shutdown()

    def release(self) -> None:
        if self._own is not None:
            self._own.shutdown()

    def _threads(self) -> Executor:
        with self._making:
            if self._own is None:
                self._own = ThreadPoolExecutor(thread_name_prefix="weft")
            return self._own


_HERE = threading.local()  # .mark: of the runner whose call this thread is running


class _Once:
    """Makes the call, and lets go of it before its outcome is known: an executor may keep what it was given."""

    __slots__ = ("closure", "mark")

    def __init__(self, closure: Closure, mark: object) -> None:
        self.closure: Closure | None = closure
        self.mark = mark

    def __call__(self) -> Any:
        closure, self.closure = self.closure, None
        assert closure is not None
        _HERE.mark = self.mark
        try:
            return closure.validated_call()
        finally:
            _HERE.mark = None


def _refuse_strange(executor: Any) -> None:
    if executor is not None and not isinstance(executor, Executor):
        hint = f"; give an instance: {executor.__name__}()" if isinstance(executor, type) else ""
        raise ArgumentError(f"executor must be a concurrent.futures.Executor, got {executor!r:.60}{hint}")


def _shares_memory(executor: Executor) -> bool:
    """Whether what is submitted runs among the objects of this process."""
    said = getattr(executor, "shares_memory", None)
    if said is not None:
        return bool(said)
    # From Python 3.14 on there is a ThreadPoolExecutor whose threads have interpreters of their own.
    isolated = "InterpreterPoolExecutor" in [kind.__name__ for kind in type(executor).__mro__]
    return isinstance(executor, concurrent.futures.ThreadPoolExecutor) and not isolated
