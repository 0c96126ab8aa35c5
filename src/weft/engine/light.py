"""A `concurrent.futures.Future` that costs little until somebody waits for it.

A plain Future makes a condition variable when it is born: a lock, a deque and five bound methods, 1.2 of its 1.5 KB.
In a graph of 100,000 tasks nearly all futures are looked at only after they are done, or by callbacks; so here the
condition is made when something asks for it. Everything that works on a Future (`wait`, `as_completed`,
`asyncio.wrap_future`) finds it where it expects it.

Who may change what, and under which lock:

* `_decided` is the one arbiter of the outcome: whoever turns it to True, under `LOCK`, must publish, and nobody else
  may. So `cancel()` and a result that arrive together have exactly one winner.
* `_state` and the result are published under the condition where there is one, otherwise under `LOCK`, which is also
  what creating the condition takes. So a waiter either finds the final state or is found by the publisher.
* `result()` and `exception()` sleep on a lock of their own, put down in `_sleepers` under `LOCK`, and not on the
  condition. That is quicker; and a Ctrl-C that hits the Python code of a Condition can leave it locked for ever, so
  that whoever publishes would hang.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from typing import Any, TypeVar

from weft.engine.complain import complain

__all__ = ["LOCK", "LightFuture", "outcome"]

T = TypeVar("T")

# One lock for all futures, held for a few bytecodes and never around anybody's code. Reentrant, because a signal
# handler or a finalizer may come between those bytecodes and cancel a future of its own.
LOCK = threading.RLock()
_allocate_lock = threading.Lock
# A fork while another thread holds it would leave the child with a lock that nobody releases.
os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)

_ENDED = (FINISHED, CANCELLED_AND_NOTIFIED, CANCELLED)


def outcome(future: Future[T]) -> tuple[T | None, BaseException | None]:
    """Result and exception of a future that is done; CancelledError where it was cancelled."""
    if (isinstance(future, LightFuture) or type(future) is Future) and future._state == FINISHED:
        # Nobody writes to it any more. Asking it costs two turns through its condition, for each task.
        return future._result, future._exception
    exception = future.exception()
    return (future.result() if exception is None else None), exception


class LightFuture(Future[T]):
    """A future whose maker decides its outcome through `_decide` and `_publish`; for users it is a Future."""

    __slots__ = (
        "_decided",
        "_done_callbacks",
        "_exception",
        "_lazy_condition",
        "_result",
        "_sleepers",
        "_state",
        "_waiters",
    )

    def __init__(self) -> None:
        # Future.__init__ is left out on purpose: it would make the condition.
        self._state = PENDING
        self._result: T | None = None
        self._exception: BaseException | None = None
        self._lazy_condition: threading.Condition | None = None
        self._done_callbacks: Any = None
        self._sleepers: list[Any] | None = None
        self._decided = False

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        """Made at the first look, together with the lists that the base class uses under it."""
        if self._lazy_condition is None:
            condition = threading.Condition()
            with LOCK:
                if self._lazy_condition is None:
                    self._waiters: list[Any] = []
                    if self._done_callbacks is None:
                        self._done_callbacks = []
                    self._lazy_condition = condition
        assert self._lazy_condition is not None
        return self._lazy_condition

    # What is asked a hundred thousand times is answered without a condition.

    def done(self) -> bool:
        return self._state in _ENDED

    def cancelled(self) -> bool:
        return self._state in (CANCELLED_AND_NOTIFIED, CANCELLED)

    def running(self) -> bool:
        return False

    def result(self, timeout: float | None = None) -> T:
        if self._state == PENDING:
            self._sleep(timeout)
        if self._state == FINISHED and self._exception is None:
            return self._result  # type: ignore[return-value]
        try:
            return super().result(0)
        finally:
            # The exception's traceback holds this frame; without this, it would keep the future alive, and so on.
            del self

    def exception(self, timeout: float | None = None) -> BaseException | None:
        if self._state == PENDING:
            self._sleep(timeout)
        if self._state == FINISHED:
            return self._exception
        return super().exception(0)

    def _sleep(self, timeout: float | None) -> None:
        """Until it is done, or until the time is over."""
        self._refuse_deadlock(timeout)
        waiter = _allocate_lock()
        waiter.acquire()
        with LOCK:
            if self._state != PENDING:
                return
            if self._sleepers is None:
                self._sleepers = [waiter]
            else:
                self._sleepers.append(waiter)
        if timeout is None:
            waiter.acquire()
        elif not waiter.acquire(timeout=min(max(timeout, 0), threading.TIMEOUT_MAX)):
            with LOCK:
                if self._sleepers is not None and waiter in self._sleepers:
                    self._sleepers.remove(waiter)

    def cancel(self) -> bool:
        return self._cancel_if(self._decide)

    def _cancel_if(self, decide: Callable[[], bool]) -> bool:
        """Publish that it is cancelled, if `decide`, which decides the outcome, says so; whether it is cancelled."""
        try:
            if decide():
                self._publish_cancelled()
        except BaseException:  # a Ctrl-C between the two: nobody else would publish
            if self._decided:
                self._publish_cancelled()
            raise
        return self.cancelled()

    def set_result(self, result: T) -> None:
        raise InvalidStateError(f"the outcome of a {type(self).__name__} is not set by hand")

    def set_exception(self, exception: BaseException | None) -> None:
        raise InvalidStateError(f"the outcome of a {type(self).__name__} is not set by hand")

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        with LOCK:
            condition = self._lazy_condition
            if condition is None and self._state == PENDING:
                if self._done_callbacks is None:
                    self._done_callbacks = [fn]
                else:
                    self._done_callbacks.append(fn)
                return
        if self._state in _ENDED:
            self._call(fn)
        else:
            super().add_done_callback(fn)

    # For whoever decides the outcome.

    def _decide(self) -> bool:
        """Claim the right and the duty to publish the outcome; True for exactly one caller, ever."""
        with LOCK:
            if self._decided:
                return False
            self._decided = True
            return True

    def _conclude(self, result: T | None, exception: BaseException | None) -> bool:
        """Decide and publish in one go; False, and nothing has happened, where it has been decided."""
        with LOCK:
            if self._decided:
                return False
            self._decided = True
            plain = self._lazy_condition is None
            if plain:
                self._result = result
                self._exception = exception
                self._state = FINISHED
        if not plain:
            self._publish(result, exception)
            return True
        if self._sleepers is not None:
            self._rouse()
        if self._done_callbacks is not None:
            callbacks, self._done_callbacks = self._done_callbacks, None
            self._call(*callbacks)
        return True

    def _rouse(self) -> None:
        with LOCK:
            sleepers, self._sleepers = self._sleepers, None
        for waiter in sleepers or ():
            waiter.release()

    def _publish(self, result: T | None, exception: BaseException | None) -> None:
        self._set(FINISHED, result, exception, "add_result" if exception is None else "add_exception")

    def _publish_cancelled(self) -> None:
        # Straight to the state in which `wait` and `as_completed` count it as done.
        self._set(CANCELLED_AND_NOTIFIED, None, None, "add_cancelled")

    def _set(self, state: str, result: T | None, exception: BaseException | None, tell: str) -> None:
        # Once: who decided may have been interrupted on the way here, so that somebody else came in between.
        with LOCK:
            condition = self._lazy_condition
            first = condition is None and self._state == PENDING
            if first:
                self._result = result
                self._exception = exception
                self._state = state
        if condition is not None:
            with condition:
                first = self._state == PENDING
                if first:
                    self._result = result
                    self._exception = exception
                    self._state = state
                    for waiter in self._waiters:
                        getattr(waiter, tell)(self)
                    condition.notify_all()
        if self._sleepers is not None:  # whoever comes from now on finds the state
            self._rouse()
        if not first:
            return
        # No callback is added any more: the state says that it is over.
        callbacks, self._done_callbacks = self._done_callbacks, None
        if callbacks:
            self._call(*callbacks)

    def _call(self, *callbacks: Callable[[Future[T]], object]) -> None:
        escaped: BaseException | None = None
        for callback in callbacks:
            try:
                callback(self)
            except Exception:  # noqa: BLE001 - as the standard library does
                complain("exception calling callback for %r", self)
            except BaseException as exception:  # noqa: BLE001 - a Ctrl-C here must not cost others their callback
                escaped = escaped or exception
        if escaped is not None:
            raise escaped

    def _refuse_deadlock(self, timeout: float | None) -> None:
        """Hook: raise where waiting without end could never end."""
