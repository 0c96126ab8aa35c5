"""Futures that wait for other futures, without a thread.

A WaitFuture counts the dependencies that are not done. Whichever thread completes the last one finishes it. So that
a chain of 100,000 WaitFutures does not become 100,000 nested calls, finishing goes through a queue of the thread it
happens in: the first to come drains it, those that come meanwhile only add to it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from weft.engine.edges import futures_in
from weft.engine.light import LOCK, LightFuture, outcome
from weft.errors import ArgumentError

__all__ = ["WaitFuture", "WaitGraph"]

T = TypeVar("T")


class WaitFuture(LightFuture[T]):
    """Done when all of its dependencies are. Made by `WaitGraph.submit`."""

    __slots__ = ("_dependencies", "_digest", "_open")

    def __init__(self, dependencies: tuple[Future[Any], ...], digest: Callable[..., T] | None) -> None:
        super().__init__()
        self._dependencies = dependencies
        self._digest = digest
        self._open = 1  # one for `_subscribe` itself, so that nothing finishes half-way through it

    def _subscribe(self) -> None:
        pending = [dependency for dependency in self._dependencies if not dependency.done()]
        with LOCK:
            self._open += len(pending)
        for dependency in pending:
            dependency.add_done_callback(self._dependency_done)
        # Directly and not through the queue: nobody can wait for this future yet, so there is nothing to nest.
        if self._one_less():
            self._finish()

    def _dependency_done(self, _: Future[Any]) -> None:
        if self._one_less():
            _finish_soon(self)

    def _one_less(self) -> bool:
        with LOCK:
            self._open -= 1
            return self._open == 0

    def _finish(self) -> None:
        dependencies, digest = self._dependencies, self._digest
        if not self._decide():
            return
        self._forget()
        result, exception = _outcome(dependencies, digest)
        # Not even in this frame: callbacks that run now may be the last to need what the dependencies hold.
        del dependencies, digest
        self._publish(result, exception)

    def _refuse_deadlock(self, timeout: float | None) -> None:
        # Inside a callback or digest: this very thread may be the one that has still to finish it.
        _finish_all()

    def _publish_cancelled(self) -> None:
        self._forget()
        super()._publish_cancelled()

    def _forget(self) -> None:
        self._dependencies = ()
        self._digest = None


class WaitGraph:
    """Makes futures that wait for others. It starts no thread and never blocks; it may be used from any thread."""

    def submit(self, dependencies: Iterable[Future[Any]], digest: Callable[..., T] | None = None) -> WaitFuture[T]:
        """A future that is done when all `dependencies` are.

        Args:
            dependencies: futures, duplicates kept; none: the result is done at once.
            digest: called with the dependencies' results in the given order, None for a cancelled one; what it
                returns is the result, what it raises the exception. Without one the result is None. It runs in the
                thread that completes the last dependency, so keep it short.

        A failed dependency: once all are done, its exception object is set, of several the first in the given order.
        Cancelling the future cancels nothing else.

        Raises:
            ArgumentError: (a TypeError) a dependency is no future, or the digest cannot be called.
        """
        if digest is not None and not callable(digest):
            raise ArgumentError(f"digest must be a function of the dependencies' results, got {type(digest).__name__}")
        future = WaitFuture(futures_in(dependencies), digest)
        future._subscribe()
        return future


def _outcome(
    dependencies: tuple[Future[Any], ...], digest: Callable[..., T] | None
) -> tuple[T | None, BaseException | None]:
    results: list[Any] = []
    try:
        for dependency in dependencies:
            result, failure = _value(dependency)
            if failure is not None:
                return None, failure
            results.append(result)
        return (None if digest is None else digest(*results)), None
    except BaseException as exception:  # noqa: BLE001 - whatever the digest, or an odd future, raises is the outcome
        # Without this frame, which would keep the dependencies alive as long as the exception.
        return None, exception.with_traceback(exception.__traceback__ and exception.__traceback__.tb_next)


def _value(dependency: Future[Any]) -> tuple[Any, BaseException | None]:
    try:
        return outcome(dependency)
    except CancelledError:
        return None, None


class _Thread(threading.local):
    """What this thread has still to finish; None while it finishes nothing."""

    unfinished: deque[WaitFuture[Any]] | None = None


_THREAD = _Thread()


def _finish_soon(future: WaitFuture[Any]) -> None:
    """Finish it now, or after those that this very thread is about to finish."""
    if _THREAD.unfinished is not None:
        _THREAD.unfinished.append(future)
        return
    _THREAD.unfinished = deque([future])
    try:
        _finish_all()
    finally:
        _THREAD.unfinished = None


def _finish_all() -> None:
    """Finish what this thread has still to finish; what a callback raises to end the thread comes last."""
    unfinished = _THREAD.unfinished
    escaped: BaseException | None = None
    while unfinished:
        try:
            unfinished.popleft()._finish()
        except BaseException as exception:  # noqa: BLE001 - raised below
            escaped = escaped or exception
    if escaped is not None:
        raise escaped
