"""What waits to be sent to a worker, in order: single tasks, and maps of which calls are left.

Anybody may append a task, at any time and without a lock, for that is one step of a deque. All else belongs to whoever
holds the pool's lock.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

from weft.executors.tasks import LocalFuture, Part, Singles, Span, Sweep

if TYPE_CHECKING:
    from weft.executors.functions import Common
    from weft.executors.terms import Terms

__all__ = ["WORTH", "Backlog"]

Task: TypeAlias = LocalFuture[Any]

WORTH = 0.002  # seconds of work that make a message worth its cost
FULL = 48 * 1024  # bytes in a message


class Backlog:
    """The queue, and what is cut from it."""

    def __init__(self) -> None:
        self._items: deque[Task | Sweep[Any]] = deque()
        self._surplus = 0  # for each sweep among them: the calls that are left, less the one that it counts as
        #: Put a task at the end.
        self.append = self._items.append

    def __bool__(self) -> bool:
        return bool(self._items)

    def count(self) -> int:
        """How many calls wait; those that were cancelled count until they are met."""
        return len(self._items) + self._surplus

    def head(self) -> Task | Sweep[Any] | None:
        """What is next, if there is something."""
        items = self._items
        while items:
            item = items[0]
            if isinstance(item, LocalFuture):
                if not item._decided:
                    return item
            elif item.spans:
                return item
            else:
                item.queued = False
                self._surplus += 1
            items.popleft()
        return None

    def drain(self) -> tuple[list[Task], list[Sweep[Any]]]:
        """Empty it; what was in it is the caller's to end."""
        tasks: list[Task] = []
        sweeps: list[Sweep[Any]] = []
        while self._items:
            item = self._items.popleft()
            if isinstance(item, LocalFuture):
                if not item._decided:
                    tasks.append(item)
            else:
                item.queued = False
                sweeps.append(item)
        self._surplus = 0
        return tasks, sweeps

    # Sweeps --------------------------------------------------------------------------------------------------

    def add(self, sweep: Sweep[Any], calls: int, *, first: bool = False) -> None:
        """So many calls of a sweep wait now that did not before; they are among its spans already."""
        if not sweep.queued:
            sweep.queued = True
            self._surplus -= 1
            self._items.appendleft(sweep) if first else self._items.append(sweep)
        self._surplus += calls

    def stop(self, sweep: Sweep[Any]) -> None:
        """Nothing that is left of it is to run."""
        if sweep.queued:
            self._surplus -= sweep.waiting()
        sweep.spans.clear()

    def cut_span(self, sweep: Sweep[Any], most: int, largest: int) -> Span:
        """The next calls of the sweep at the head: as many as are worth a message.

        Args:
            most: not more, to be fair.
            largest: not more, even if the user has asked for larger chunks.
        """
        each = sweep.function.seconds
        count = 1 if each is None else int(min(most, max(1, WORTH // max(each, 1e-9))))
        if sweep.chunk:
            count = min(sweep.chunk, largest)
        start, stop, terms = sweep.spans.popleft()
        if not sweep.plain:
            count = _fitting(sweep.calls, start, min(stop, start + count)) - start
        if start + count < stop:
            sweep.spans.appendleft((start + count, stop, terms))
            stop = start + count
        self._surplus -= stop - start
        return Span(sweep, start, stop, terms, math.inf if each is None else each * (stop - start))

    # Single tasks --------------------------------------------------------------------------------------------

    def cut_singles(self, terms: Terms, most: int) -> Singles:
        """The next tasks on these terms: as many as are worth a message, and at most so many."""
        items = self._items
        tasks: list[Task] = []
        seconds, size, each = 0.0, 0, 0.0
        function: Common | None = None
        lonely: Any = False  # goes alone: of unknown length, for one worker only, or large
        while items and len(tasks) < most and not lonely:
            task = items[0]
            if not isinstance(task, LocalFuture) or task._terms is not terms:
                break
            if task._decided:
                items.popleft()
                continue
            if task._function is not function:
                function = task._function
                each = math.inf if function.seconds is None else function.seconds
            lonely = task._segments or each == math.inf or function.packed is None
            if tasks and (lonely or seconds + each > WORTH or size > FULL):
                break
            items.popleft()
            task._taken = True
            tasks.append(task)
            seconds += each
            size += len(task._payload) + 4
        return Singles(tasks, terms, seconds)

    def put_back(self, part: Part, index: int) -> int:
        """What has not been begun, from this task of the part on, is at the head again. How many tasks that is."""
        count, part.size = part.size - index, min(part.size, index)
        if count <= 0:
            return 0
        if isinstance(part, Span):
            if not part.sweep.over:
                start = part.start + index
                part.sweep.spans.appendleft((start, start + count, part.terms))
                self.add(part.sweep, count, first=True)
            return count
        assert isinstance(part, Singles)
        back = part.tasks[index:]
        for task in back:
            task._taken = False
        self._items.extendleft(reversed(back))
        return count


def _fitting(calls: list[Any], start: int, stop: int) -> int:
    """Up to where packed calls go into one message; one in any case, and large ones alone."""
    size = 0
    for index in range(start, stop):
        call = calls[index]
        if type(call) is not bytes:
            return max(index, start + 1)
        size += len(call) + 4
        if size > FULL:
            return max(index, start + 1)
    return stop
