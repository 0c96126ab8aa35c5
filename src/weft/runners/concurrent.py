"""Calls through any executor."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Iterable
from concurrent.futures import Executor, Future
from typing import Any, Literal
from weakref import WeakValueDictionary

from weft.calls.closure import Closure
from weft.calls.metafunc import MetaFuncBase, MinimalMetaFunc
from weft.errors import ArgumentError, ChoiceError, DeadlockError
from weft.futures import Gate, Observer
from weft.runners.futures import FuturesRunner
from weft.runners.remote import RemoteFuture, Validated, pack_call, run_packed, unsendable

__all__ = ["ConcurrentRunner", "shares_memory"]


class ConcurrentRunner(FuturesRunner):
    """Calls functions through an executor.

    Args:
        schedule: whether a call returns at once and is started when the futures among its arguments are done.
            Otherwise the caller waits for them, and its call raises what they raise.
        executor: any `concurrent.futures.Executor`, which stays the user's to shut down. Default: a
            `weft.LocalExecutor` of the runner's own, made at the first call: processes, which use all cores.
            ``"threads"``: threads of its own, for calls that mostly wait, for files, networks or programs, or that
            share memory.
        observers, gates, name: for the scheduler, so with ``schedule=True`` only; see `weft.futures.Scheduler`.

    `FuturesRunner` says what comes back. Lambdas, nested functions and functions of the main script travel to
    processes, too. What calls ask for (`@task(cpus=4)`) reaches an executor that has a method `using`. An executor
    that is no ThreadPoolExecutor gets calls and gives outcomes as bytes, unless it has one of the attributes
    ``shares_memory = True`` and ``carries_objects = True``, as `LocalExecutor` has.
    """

    def __init__(
        self,
        schedule: bool = False,
        executor: Executor | Literal["threads"] | None = None,
        observers: Iterable[Observer] = (),
        gates: Iterable[Gate] = (),
        name: str | None = None,
    ) -> None:
        super().__init__(schedule, gates=gates, observers=observers, name=name)
        _refuse_strange(executor)
        self._executor: Executor | None = None if isinstance(executor, str) else executor
        self._threads = executor == "threads"
        self._own: Executor | None = None
        self._making = threading.Lock()
        # By the id of the function. Held by the executor that knows it again, and by nobody else: a function may hold
        # what is large. As long as an entry lives, so does its function, and the id is no other's.
        self._validated: WeakValueDictionary[int, Validated] = WeakValueDictionary()
        self._mark = object()  # stands for this runner in the threads that run its calls

    def run(self, closure: Closure) -> Any:
        if self._executor is None:
            # Here, and not in the scheduler's thread, which may come to it when the interpreter is about to end.
            self._make()
        return super().run(closure)

    def submit_ready(self, closure: Closure) -> Future[Any]:
        executor = self._executor or self._own
        assert executor is not None
        shared = shares_memory(executor)
        carries_objects = getattr(executor, "carries_objects", False)
        resources = closure.get_resources()
        if resources and hasattr(executor, "using"):
            executor = executor.using(**resources)
        if shared:
            # Results of other calls are copied by the worker and not here, in the scheduler's only thread.
            return executor.submit(_Once(closure, self._mark))
        closure = closure.resolved(copy=False)
        if not carries_objects:
            return RemoteFuture(executor.submit(run_packed, pack_call(closure)))
        try:
            return executor.submit(self._validating(closure.metafunc), *closure.args, **closure.kwargs)
        except ArgumentError as error:
            if error.__cause__ is None:
                raise
            # Something does not pack. The executor counts the arguments; here they have names.
            raise unsendable(closure, error.__cause__) from error.__cause__

    def shutdown(self) -> None:
        if getattr(_HERE, "mark", None) is self._mark:
            raise DeadlockError(
                "shutdown() inside a call of the same runner would wait for that very call; "
                "shut the runner down where it was made"
            )
        super().shutdown()

    def release(self) -> None:
        if self._own is None:
            return
        if self._interrupted:
            # As if the Ctrl-C went through its own `with`, too: what does not stop when it is told to is killed soon.
            self._own.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
        else:
            self._own.shutdown()

    def _make(self) -> None:
        with self._making:
            if self._own is not None:
                return
            if self._threads:
                self._own = concurrent.futures.ThreadPoolExecutor(thread_name_prefix="weft")
            else:
                from weft.executors import LocalExecutor

                self._own = LocalExecutor()

    def _validating(self, metafunc: MetaFuncBase) -> Validated:
        """What executors know the function by. A plain one comes in another MetaFunc each time."""
        plain = type(metafunc) is MinimalMetaFunc and metafunc.mock is None
        key = id(metafunc.function if plain else metafunc)  # type: ignore[attr-defined]
        validated = self._validated.get(key)
        if validated is None:
            validated = self._validated[key] = Validated(metafunc)
        return validated


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
    if isinstance(executor, str):
        if executor != "threads":
            raise ChoiceError(
                f'executor={executor!r:.60} is not known; write executor="threads", give an executor such as '
                "LocalExecutor(), or leave it out for processes of the runner's own"
            )
    elif executor is not None and not isinstance(executor, Executor):
        hint = f"; give an instance: {executor.__name__}()" if isinstance(executor, type) else ""
        raise ArgumentError(f"executor must be a concurrent.futures.Executor, got {executor!r:.60}{hint}")


def shares_memory(executor: Executor) -> bool:
    """Whether what is submitted runs among the objects of this process."""
    said = getattr(executor, "shares_memory", None)
    if said is not None:
        return bool(said)
    # From Python 3.14 on there is a ThreadPoolExecutor whose threads have interpreters of their own.
    isolated = "InterpreterPoolExecutor" in [kind.__name__ for kind in type(executor).__mro__]
    return isinstance(executor, concurrent.futures.ThreadPoolExecutor) and not isolated
