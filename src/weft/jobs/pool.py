"""Threads that run one call after the other.

A thread that wakes another one gives the interpreter away, and gets it back by a turn of the kernel's, which takes
longer than most of what is done here. So short calls are run by one thread, which is awake already, while another one
*watches*: it looks every millisecond whether they are short indeed, and whether what is in the queue has to wait for a
long one; then it lends a hand. Long calls are run side by side, a millisecond later than they might be.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures._base import PENDING
from contextvars import Context, copy_context
from time import perf_counter
from typing import Any

from weft.engine.complain import complain
from weft.engine.light import LOCK, LightFuture
from weft.engine.living import Living
from weft.errors import ClosedError

__all__ = ["ThreadPool"]

PATIENCE = 0.001  # seconds that a call may have to wait behind others although there is a thread for it
SHORT = 0.0001  # seconds; of calls that take less one thread runs one after the other
FEW = round(PATIENCE / SHORT)  # calls in a time of patience, at most, that are not short
SEVERAL = 3  # short calls in a row, after which a thread leaves them to another one


class Work(LightFuture[Any]):
    """A call that waits for a thread, or runs in one."""

    __slots__ = ("_arguments", "_began", "_context", "_function")

    def __init__(self, call: Callable[..., Any], args: tuple[Any, ...]) -> None:
        super().__init__()
        self._function = call
        self._arguments = args
        self._context: Context = copy_context()
        self._began = False

    def running(self) -> bool:
        return self._began and self._state == PENDING

    def cancel(self) -> bool:
        return self._cancel_if(self._forgo)

    def _forgo(self) -> bool:
        with LOCK:
            if self._began or self._decided:
                return False
            self._decided = True
            return True

    def _begin(self) -> tuple[Context, Callable[..., Any], tuple[Any, ...]] | None:
        """What is to run, from now on nobody can cancel it; None: somebody has."""
        with LOCK:
            if self._decided:
                return None
            self._began = True
        parts = self._context, self._function, self._arguments
        del self._context, self._function, self._arguments
        return parts


def _outcome_of(context: Context, call: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    # In a context of its own: what a call sets in it is not for the next one.
    try:
        return context.run(call, *args), None
    except BaseException as error:  # noqa: BLE001 - whatever a call raises is its outcome
        return None, error


class _Worker:
    """One of the threads, as the pool sees it."""

    __slots__ = ("bell", "brief", "over", "since", "watches")

    def __init__(self, *, watches: bool) -> None:
        self.bell = threading.Lock()  # it sleeps until somebody releases this
        self.bell.acquire()
        self.watches = watches
        self.brief = 0  # short calls in a row
        self.since = 0  # calls that all threads had taken before these
        self.over = False

    def rouse(self) -> None:
        if self.bell.locked():
            self.bell.release()


class ThreadPool:
    """At most `count` threads, which are started when they are needed."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._lock = threading.Lock()  # for all below
        self._queue: deque[Work] = deque()
        self._threads: list[threading.Thread] = []
        self._asleep: list[_Worker] = []
        self._spare = count  # threads that sleep, or have not been started
        self._near = 0  # threads that are about to look into the queue
        self._busy = 0  # threads that are in a call
        self._taken = 0  # calls, so far
        self._lookout: _Worker | None = None  # the one that watches
        self._closed = False
        self._dropped: list[Work] = []  # to be cancelled
        self._left = 0  # threads that have not ended
        self._idle: Callable[[], object] | None = None  # to be called when none is left
        _living.add(self)

    def submit(self, call: Callable[..., Any], args: tuple[Any, ...]) -> Work:
        """Have ``call(*args)`` run in a copy of this context. Raises ClosedError after `shutdown`."""
        work = Work(call, args)
        with self._lock:
            if self._closed:
                raise ClosedError(f"cannot submit: the threads of {self._name} have been told to end")
            self._queue.append(work)
            if self._lookout is None and self._spare and len(self._queue) > self._near:
                self._rouse(watches=self._near + self._busy > 0)
        return work

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        """The threads end when the queue is empty. May be called again.

        Args:
            wait: return when they have ended.
            cancel_futures: cancel what is in the queue.
        """
        # After a Ctrl-C in the midst of this it is done once more, and must find what there still is to do.
        with self._lock:
            self._closed = True
            if cancel_futures:
                self._dropped += self._queue
                self._queue.clear()
            for worker in self._asleep if self._lookout is None else (*self._asleep, self._lookout):
                worker.rouse()
            self._near += len(self._asleep)
            self._asleep.clear()
            self._spare = self._count - len(self._threads)
        while self._dropped:
            self._dropped[-1].cancel()
            self._dropped.pop()
        if wait:
            for thread in self._threads:
                thread.join()

    def when_idle(self, function: Callable[[], object]) -> None:
        """After `shutdown`: call it when all threads have ended; now, where they have."""
        with self._lock:
            if self._left:
                self._idle = function
                return
        function()

    # Under the lock -------------------------------------------------------------------------------------------

    def _rouse(self, *, watches: bool) -> bool:
        """Have one more thread see to the queue, or watch; whether there is one."""
        if self._asleep:
            worker = self._asleep.pop()
            worker.watches = watches
            worker.rouse()
        elif len(self._threads) < self._count:
            worker = _Worker(watches=watches)
            thread = threading.Thread(target=self._run, args=(worker,), name=f"{self._name}-{len(self._threads)}")
            try:
                thread.start()
            except RuntimeError:  # the system gives no more
                if self._threads:
                    return False
                self._queue.pop()
                raise
            self._threads.append(thread)
            self._left += 1
        else:
            return False
        self._spare -= 1
        if watches:
            self._lookout = worker
        else:
            self._near += 1
        return True

    def _steps_back(self, worker: _Worker) -> bool:
        """Whether a thread leaves short calls to the others, which have as short ones, and watches."""
        by_others = self._taken - worker.since - worker.brief
        if by_others < SEVERAL or not self._busy:
            return False
        worker.brief = 0
        worker.watches = True
        self._lookout = worker
        return True

    # The threads ----------------------------------------------------------------------------------------------

    def _run(self, worker: _Worker) -> None:
        try:
            while not worker.over:
                if worker.watches:
                    self._watch(worker)
                work = self._take(worker)
                if work is not None:
                    self._do(work, worker)
                    del work  # or it would live until the next one comes
                elif not (worker.over or worker.watches):
                    worker.bell.acquire()
        finally:
            with self._lock:
                self._left -= 1
                idle = None if self._left else self._idle
            if idle is not None:
                try:
                    idle()
                except BaseException:  # noqa: BLE001
                    complain("unexpected error after the last thread of %s has ended", self._name)

    def _take(self, worker: _Worker) -> Work | None:
        with self._lock:
            self._near -= 1
            if not self._queue:
                worker.over = self._closed
                if not self._closed:
                    self._asleep.append(worker)
                    self._spare += 1
                return None
            if self._lookout is None and worker.brief >= SEVERAL and self._steps_back(worker):
                return None
            if not worker.brief:
                worker.since = self._taken
            self._busy += 1
            self._taken += 1
            work = self._queue.popleft()
            if self._lookout is None and self._spare and len(self._queue) > self._near:
                self._rouse(watches=True)
            return work

    def _do(self, work: Work, worker: _Worker) -> None:
        parts = work._begin()
        began = perf_counter()
        result, error = _outcome_of(*parts) if parts is not None else (None, None)
        del parts
        worker.brief = worker.brief + 1 if perf_counter() - began < SHORT else 0
        with self._lock:
            self._busy -= 1
            self._near += 1  # already now: those who hear of the end may have more to do
        if work._began:
            try:
                work._conclude(result, error)
            except BaseException:  # noqa: BLE001
                complain("a done-callback in %s raised what is meant to end a thread; ignored here", self._name)

    def _watch(self, worker: _Worker) -> None:
        """Until what is in the queue has to wait for long calls, or there is nothing more to watch."""
        while True:
            before = self._taken
            worker.bell.acquire(timeout=PATIENCE)
            with self._lock:
                progress = self._taken - before
                if not self._closed and (progress >= FEW or (progress and not self._queue)):
                    continue
                worker.watches = False
                self._lookout = None
                self._near += 1
                while not progress and len(self._queue) > self._near and self._rouse(watches=False):
                    pass
                return


def _end_all(pools: Sequence[ThreadPool], _: bool) -> None:
    for pool in pools:
        pool.shutdown(wait=True, cancel_futures=False)


def _forget(pool: ThreadPool) -> None:
    pool._lock = threading.Lock()
    pool._queue.clear()
    pool._closed = True
    pool._idle = None


_living: Living[ThreadPool] = Living(_end_all, _forget)
