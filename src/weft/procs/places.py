"""Where procs run: each in a process of its own, in threads of this process, or wherever an executor has them run."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import Any, Protocol

from weft.engine.light import LightFuture
from weft.engine.living import Living
from weft.errors import ChoiceError, WeftError
from weft.executors.local import LocalExecutor
from weft.payload import pack, unpack
from weft.procs.call import Call, Outcome
from weft.resources import Resources

__all__ = ["Elsewhere", "NotInheritedError", "OwnProcesses", "Place", "Threads"]

MANY = 1_000_000  # workers: how many procs run at a time is for the engine's gates to say


class NotInheritedError(WeftError):
    """A worker was forked before the call was there: it is to be submitted again."""


class Place(Protocol):
    """Where calls run."""

    for_good: bool  #: Whether each has a process to itself.
    shares: bool  #: Whether it is this process that they run in.

    def check(self, where: str, resources: Resources) -> None:
        """Refuse, on the user's line, what cannot be had here."""

    def submit(self, call: Call, resources: Resources) -> Future[Outcome]:
        """Have it run."""

    def close(self, *, at_once: bool) -> None:
        """Nothing more comes; return when all is gone. `at_once`: stop what runs."""


# Calls by their keys. A worker is forked once its call is here, and so has all that the call refers to.
_calls: dict[int, Call] = {}
_keys = itertools.count(1)


def _run_inherited(key: int) -> Outcome:
    call = _calls.get(key)
    if call is None:
        raise NotInheritedError(f"call {key} is not here")
    return call()


class OwnProcesses:
    """A worker of a `LocalExecutor` for each proc, forked from this process."""

    for_good = True
    shares = False

    def __init__(self) -> None:
        from weft.executors.streams import flush_streams

        self._executor = LocalExecutor(MANY, start="fork", fresh=True, name="procs")
        self._views: dict[tuple[Any, ...], LocalExecutor] = {}
        # What every worker imports is imported here, once; and what is in a buffer is not written by each of them.
        import weft.executors.keeper
        import weft.procs.packed  # noqa: F401

        flush_streams()

    def check(self, where: str, resources: Resources) -> None:
        self._view(resources)

    def submit(self, call: Call, resources: Resources) -> Future[Outcome]:
        key = next(_keys)
        _calls[key] = call
        try:
            future = self._view(resources).submit(_run_inherited, key)
        except BaseException:
            _calls.pop(key, None)
            raise
        future.add_done_callback(lambda _: _calls.pop(key, None))
        return future

    def close(self, *, at_once: bool) -> None:
        if at_once:  # as after Ctrl-C in a with block
            self._executor.__exit__(KeyboardInterrupt, None, None)
        else:
            self._executor.shutdown()

    def _view(self, resources: Resources) -> LocalExecutor:
        words = {word: value for word, value in resources.words().items() if word != "retries"}
        key = tuple(words.items())
        if key not in self._views:
            self._views[key] = self._executor.using(**words) if words else self._executor
        return self._views[key]


class Elsewhere:
    """An executor of the user's."""

    for_good = False
    shares = False

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def check(self, where: str, resources: Resources) -> None:
        words = [word for word in resources.words() if word != "retries"]
        if words and not hasattr(self._executor, "using"):
            word = "timeout" if words[0] == "time" else words[0]
            raise ChoiceError(
                f"{where}: a {type(self._executor).__name__} knows no {word}; leave it out, or give the proc another "
                "executor"
            )
        self._view(resources)

    def submit(self, call: Call, resources: Resources) -> Future[Outcome]:
        executor = self._view(resources)
        if getattr(executor, "carries_objects", False):
            return executor.submit(call)
        return executor.submit(_run_packed, pack(call))

    def close(self, *, at_once: bool) -> None:
        """It is the user's to shut down."""

    def _view(self, resources: Resources) -> Executor:
        words = {word: value for word, value in resources.words().items() if word != "retries"}
        using: Any = getattr(self._executor, "using", None)
        view: Executor = using(**words) if words else self._executor
        return view


def _run_packed(data: bytes) -> Outcome:
    outcome: Outcome = unpack(data)()
    return outcome


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
