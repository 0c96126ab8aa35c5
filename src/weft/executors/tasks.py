"""What waits to be run, and what is with a worker: single tasks, and the calls of a `map`.

Whoever touches these holds the pool's lock, but for what a `LightFuture` arbitrates by itself, and for `Sweep`, whose
pieces have a condition of their own.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from weft.engine.light import LightFuture

if TYPE_CHECKING:
    from pathlib import Path

    from weft.executors.functions import Common
    from weft.executors.handle import Handle
    from weft.executors.pool import Pool
    from weft.executors.segments import Segment
    from weft.executors.terms import Terms
    from weft.resources import Cause

__all__ = ["Failed", "LocalFuture", "Part", "Singles", "Span", "Sweep", "along"]

T = TypeVar("T")
Run: TypeAlias = tuple[int, int, bool, list[Any]]  # function, setting, whether calls are plain, calls; see `worker`


class LocalFuture(LightFuture[T]):
    """The outcome of a task on this machine. Made by `LocalExecutor.submit`.

    It is a `concurrent.futures.Future`. Beyond that it has `name`, `output`, `output_path` and `kill`.
    """

    __slots__ = ("_function", "_payload", "_pool", "_segments", "_setting", "_story", "_taken", "_terms")

    def __init__(
        self, pool: Pool, function: Common, setting: Common, call: Any, segments: Sequence[Any], terms: Terms
    ) -> None:
        LightFuture.__init__(self)
        self._pool: Pool | None = pool
        self._function = function
        self._setting = setting
        self._payload = call
        self._segments = segments
        self._terms = terms
        self._taken = False  # with a worker
        self._story: Story | None = None

    @property
    def name(self) -> str:
        """The name of the function."""
        return self._function.name

    @property
    def output(self) -> str:
        """What the task, its C code and its children wrote to stdout and stderr, in order; with ``output="capture"``.

        Complete when the task is done. With a folder for logs, what is in its log.
        """
        log = self._story.log if self._story is not None else ""
        if isinstance(log, str):
            return log
        try:
            return log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    @property
    def output_path(self) -> Path | None:
        """The log file of the task's last try; with ``output=`` a folder, once it is done."""
        log = self._story.log if self._story is not None else ""
        return None if isinstance(log, str) else log

    def running(self) -> bool:
        """True from when it is on its way to a worker until it is done."""
        return self._taken and not self.done()

    def cancel(self) -> bool:
        """Cancel the task if it waits; False, and nothing happens, where it runs or is done. See also `kill`."""
        pool = self._pool
        if pool is None:
            return self.cancelled()
        return self._cancel_if(lambda: pool.drop(self) or (self._taken and pool.recall(self) and pool.drop(self)))

    def kill(self) -> bool:
        """Cancel the task; if it runs, its worker and all that it has started get SIGTERM and, soon after, SIGKILL.

        The future is cancelled at once; True unless the task was done before.
        """
        pool = self._pool
        return self.cancelled() if pool is None else self._cancel_if(lambda: pool.kill(self))

    def _told(self) -> Story:
        if self._story is None:
            self._story = Story()
        return self._story

    def _let_go(self) -> None:
        """It is over: nothing but the outcome is of interest any more."""
        self._pool = None
        self._payload = b""
        self._segments = ()
        self._taken = False

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled() else "done" if self.done() else "running" if self._taken else "waiting"
        return f"<{type(self).__name__} {self.name!r} {state}>"


class Story:
    """What few tasks have to tell."""

    __slots__ = ("log", "tries", "vain")

    def __init__(self) -> None:
        self.log: str | Path = ""  # what it wrote, or where it is
        self.tries: dict[Cause, int] = {}  # further tries so far, by what they were for
        self.vain = 0  # workers that died with it before they began it


class Failed:
    """In place of a value: the exception that came instead."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Sweep(Generic[T]):
    """The calls of one `map`: cut into parts as workers ask for them, its results put together in order."""

    def __init__(self, function: Common, setting: Common, calls: list[Any], plain: bool, terms: Terms) -> None:
        self.function = function
        self.setting = setting
        self.calls = calls
        self.plain = plain  # whether calls are the single arguments themselves
        self._terms = terms
        self.chunk = 0  # most calls in a part; 0: as many as is worth it
        self.spans: deque[tuple[int, int, Terms]] = deque()  # with no worker, in the order in which they are to go
        if calls:
            self.spans.append((0, len(calls), terms))
        self.tries: dict[int, dict[Cause, int]] = {}
        self.vain: dict[int, int] = {}
        self.over = False
        self.queued = False  # among what waits to be sent
        self._pieces: dict[int, tuple[list[Any], bool]] = {}  # results by the index of their first
        self._arrived = threading.Condition(threading.Lock())
        self._wanted = -1  # the index that somebody waits for

    @property
    def terms(self) -> Terms:
        """What the calls that are next ask for; a further try may ask for more than the first."""
        return self.spans[0][2] if self.spans else self._terms

    def waiting(self) -> int:
        """How many calls are with no worker."""
        return sum(stop - start for start, stop, _ in self.spans)

    def give_up(self, error: BaseException | None) -> None:
        """What waits ends with this error, or is cancelled."""
        while self.spans:
            start, stop, _ = self.spans.popleft()
            self.put(start, [Failed(error or CancelledError())] * (stop - start))

    def put(self, start: int, values: list[Any], clean: bool = False) -> None:
        """Results from index `start` on, with `Failed` for those that failed; `clean`: none is, and all are small."""
        if not values:
            return
        with self._arrived:
            self._pieces[start] = (values, clean)
            if self._wanted == start:
                self._arrived.notify()

    def results(self, deadline: float | None) -> Iterator[Iterable[T]]:
        """The results in order, some at a time. Raises TimeoutError when one is not there by the deadline.

        Args:
            deadline: of `time.monotonic`.
        """
        index = 0
        while index < len(self.calls):
            values, clean = self._piece(index, deadline)
            index += len(values)
            yield values if clean else _one_by_one(values)

    def _piece(self, index: int, deadline: float | None) -> tuple[list[Any], bool]:
        with self._arrived:
            while index not in self._pieces:
                self._wanted = index
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError
                self._arrived.wait(left)
            self._wanted = -1
            return self._pieces.pop(index)


def _one_by_one(values: list[Any]) -> Iterator[Any]:
    """Hand values out, and hold nothing that has been handed out."""
    values.reverse()
    while values:
        if type(values[-1]) is Failed:
            try:
                raise values[-1].error
            finally:
                values.clear()  # this frame is in the traceback
        yield values.pop()


class Part:
    """Tasks that were sent to a worker in one message; the first has the number `first`."""

    worker: Handle | None = None
    first = 0
    half = 0
    seconds = 0.0  #: How long it is expected to take in all.
    sent_at = 0.0
    sent = False
    delivered = 0  #: How many outcomes have been taken, from the first on.
    size = 0  #: How many tasks it has; less than were sent when some have been taken back.
    terms: Terms

    def news(self, known: set[int]) -> list[Common]:
        """The functions and settings that it needs, without those with these ids; one may be there several times."""
        raise NotImplementedError

    def runs(self, files: list[int]) -> list[Run]:
        """The body of the message; what lies in files is added to those that the message takes along."""
        raise NotImplementedError

    def function(self, index: int) -> Common:
        """The function of a task."""
        raise NotImplementedError

    def functions(self, index: int, count: int) -> list[Common]:
        """The functions of so many tasks, from this one on; one for several that follow each other."""
        raise NotImplementedError

    def name(self, index: int) -> str:
        """What one of its tasks is called."""
        raise NotImplementedError

    def died_in_vain(self, index: int) -> int:
        """Count one more worker that has died with this task and had not begun it; how many that are."""
        raise NotImplementedError

    def learn(self, index: int, count: int, seconds: float) -> None:
        """So many tasks, from this one on, have taken so long together: work out how long calls of a function take."""
        each = seconds / count
        if count == 1:
            self.function(index).learn(each)
            return
        functions = self.functions(index, count)
        if len(functions) == 1:
            functions[0].learn(each)
            return
        expected = sum(function.seconds or 0.0 for function in functions)
        for function in functions:
            if function.seconds is None:
                function.seconds = each
            elif expected:
                share = function.seconds / expected * seconds
                function.seconds += (share - function.seconds) / 4


class Singles(Part):
    """Tasks that were submitted one by one."""

    def __init__(self, tasks: list[LocalFuture[Any]], terms: Terms, seconds: float) -> None:
        self.tasks = tasks
        self.size = len(tasks)
        self.terms = terms
        self.seconds = seconds

    def news(self, known: set[int]) -> list[Common]:
        news: list[Common] = []
        function = setting = None
        for task in self.tasks:
            if task._function is not function:
                function = task._function
                if function.id not in known:
                    news.append(function)
            if task._setting is not setting:
                setting = task._setting
                if setting.id not in known:
                    news.append(setting)
        return news

    def runs(self, files: list[int]) -> list[Run]:
        tasks = self.tasks
        if len(tasks) == 1 and type(tasks[0]._payload) is bytes:
            task = tasks[0]
            return [(task._function.id, task._setting.id, False, [task._payload])]
        runs: list[Run] = []
        function = setting = None
        calls: list[Any] = []
        for task in tasks:
            if task._function is not function or task._setting is not setting:
                function, setting, calls = task._function, task._setting, []
                runs.append((function.id, setting.id, False, calls))
            calls.append(task._payload if type(task._payload) is bytes else along(task._payload, task._segments, files))
        return runs

    def function(self, index: int) -> Common:
        return self.tasks[index]._function

    def functions(self, index: int, count: int) -> list[Common]:
        found: list[Common] = []
        for task in self.tasks[index : index + count]:
            if not found or task._function is not found[-1]:
                found.append(task._function)
        return found

    def name(self, index: int) -> str:
        return self.tasks[index].name

    def died_in_vain(self, index: int) -> int:
        story = self.tasks[index]._told()
        story.vain += 1
        return story.vain


class Span(Part):
    """A part of a `Sweep`: its calls from `start` on."""

    def __init__(self, sweep: Sweep[Any], start: int, stop: int, terms: Terms, seconds: float) -> None:
        self.sweep = sweep
        self.start = start
        self.size = stop - start
        self.terms = terms
        self.seconds = seconds

    def news(self, known: set[int]) -> list[Common]:
        return [common for common in (self.sweep.function, self.sweep.setting) if common.id not in known]

    def runs(self, files: list[int]) -> list[Run]:
        sweep = self.sweep
        calls = sweep.calls[self.start : self.start + self.size]
        if not sweep.plain:
            calls = [call if type(call) is bytes else along(call[0], call[1], files) for call in calls]
        return [(sweep.function.id, sweep.setting.id, sweep.plain, calls)]

    def function(self, index: int) -> Common:
        return self.sweep.function

    def functions(self, index: int, count: int) -> list[Common]:
        return [self.sweep.function]

    def name(self, index: int) -> str:
        return f"{self.sweep.function.name} [{self.start + index}]"

    def died_in_vain(self, index: int) -> int:
        vain = self.sweep.vain
        vain[self.start + index] = vain.get(self.start + index, 0) + 1
        return vain[self.start + index]


def along(packed: Any, segments: Sequence[Segment], files: list[int]) -> Any:
    """`packed`, with its large parts in the files that the message takes along."""
    if type(packed) is bytes:
        return packed
    _, count, parcel = packed
    first = len(files)
    files += [segment.fd for segment in segments]
    return first, count, parcel
