"""Procs in this process: a thread for each that runs, or waits for others."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future

from weft.engine.light import LightFuture
from weft.engine.living import Living
from weft.procs.call import Call, Outcome
from weft.resources import Resources

__all__ = ["Threads"]


class Threads:
    """Threads of this process, as many as are needed at a time: those that wait for others take one, too."""

    for_good = False
    shares = True

    def __init__(self) -> None:
        self._lock = threading.Condition(threading.Lock())
        self._queue: deque[_Work] = deque()
        self._idle = 0
        self._busy = 0
        self._closed = self._abandoned = False
        _living.add(self)

    def check(self, where: str, resources: Resources) -> None:
        pass  # a thread cannot be stopped, and has no resources of its own

    def submit(self, call: Call, resources: Resources) -> Future[Outcome]:
        work = _Work(call)
        with self._lock:
            self._queue.append(work)
            self._busy += 1
            if self._idle >= len(self._queue):
                self._lock.notify()
                return work
        # Daemons, so that what never ends cannot keep the process; at exit they are waited for, see `Living`.
        try:
            threading.Thread(target=self._run, name="weft-proc", daemon=True).start()
        except RuntimeError:  # the system gives no more, or the interpreter is about to end
            with self._lock:
                if work in self._queue:
                    self._queue.remove(work)
                    self._busy -= 1
                    raise
        return work  # another one has taken it

    def close(self, *, at_once: bool) -> None:
        with self._lock:
            self._closed = True
            self._abandoned = at_once
            self._lock.notify_all()

    def drain(self) -> None:
        """Return when nothing runs."""
        with self._lock:
            while self._busy and not self._abandoned:
                self._lock.wait()

    def _run(self) -> None:
        while True:
            try:
                if (work := self._next()) is None:
                    return
                try:
                    work.run()
                finally:
                    with self._lock:
                        self._busy -= 1
                        if not self._busy:
                            self._lock.notify_all()
                del work
            except KeyboardInterrupt:  # for a call that was over when it came
                continue

    def _next(self) -> _Work | None:
        with self._lock:
            while not self._queue:
                if self._closed:
                    return None
                self._idle += 1
                try:
                    self._lock.wait()
                finally:
                    self._idle -= 1
            return self._queue.popleft()


class _Work(LightFuture[Outcome]):
    """A call in a thread."""

    __slots__ = ("_thread", "_what")

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._what: Call | None = call
        self._thread = 0

    def running(self) -> bool:
        return bool(self._thread) and not self.done()

    def kill(self) -> bool:
        """Cancel it. Where it runs, a KeyboardInterrupt is raised in its thread, as soon as that runs Python again."""
        thread = self._thread
        cancelled = self.cancel()
        if cancelled and thread:
            import ctypes

            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt))
        return cancelled

    def run(self) -> None:
        """In the thread."""
        call, self._what = self._what, None
        self._thread = threading.get_ident()
        if self._decided or call is None:
            return
        result: Outcome | None = None
        error: BaseException | None = None
        try:
            result = call()
        except BaseException as raised:  # noqa: BLE001 - whatever a proc raises is its outcome
            error = raised
        self._thread = 0
        self._conclude(result, error)


def _end_all(places: Sequence[Threads], interrupted: bool) -> None:
    """At exit: what was started still runs; not after a Ctrl-C."""
    for place in places:
        if not interrupted:
            place.drain()


def _forget(place: Threads) -> None:
    place._lock = threading.Condition(threading.Lock())
    place._queue.clear()
    place._closed = True
    place._busy = 0


_living: Living[Threads] = Living(_end_all, _forget)
