"""Tasks that wait to be submitted, and when enough of them have come together.

Whoever touches this holds the book's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from weft.executors.cluster.future import ClusterFuture, Terms
    from weft.executors.cluster.system import Clock

    Task: TypeAlias = ClusterFuture[Any]

__all__ = ["Intake"]

QUIET = 0.01  # seconds without a new task after which what has come together is submitted
GATHER = 0.5  # seconds after which it is in any case
# Seconds between two submissions: the first while more keeps coming, and the last, after doubling each time. So ten
# thousand tasks that come one by one, each slow to be made, are a few submissions, too. But never longer than half the
# time in which outcomes come: what comes one by one may also be a chain, each link of which waits for the one before.
APART, FARTHEST = 0.1, 5.0


class Intake:
    """See above. What asks for the same goes together, in the order in which it came."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queues: dict[Terms, deque[Task]] = {}
        self._since = self._last = 0.0  # when the first and the last of them came
        self._cut_at, self._apart = -FARTHEST, 0.0
        self._takes = FARTHEST * 2  # seconds from the last submission of which an outcome came to that outcome

    def __bool__(self) -> bool:
        return bool(self._queues)

    def __iter__(self) -> Iterator[Task]:
        return (task for queue in self._queues.values() for task in queue)

    def put(self, task: Task) -> None:
        """A task that waits."""
        now = self._clock.now()
        if not self._queues:
            self._since = now
        self._last = now
        self._queues.setdefault(task._terms, deque()).append(task)

    def put_back(self, terms: Terms, tasks: Iterable[Task]) -> None:
        """Tasks that were about to be submitted, and wait again, before the others."""
        queue = self._queues.setdefault(terms, deque())
        queue.extendleft(reversed(list(tasks)))

    def submitted(self) -> None:
        """Something has been: what has come meanwhile has its own time."""
        self._since = self._clock.now()

    def outcome_after(self, seconds: float) -> None:
        """An outcome has come so long after its submission."""
        self._takes = seconds

    def due(self, most: int, *, hurry: bool) -> float:
        """When what has come together is worth a submission, of `most` elements; `hurry`: nothing more will come."""
        if hurry or any(len(queue) >= most * terms.each for terms, queue in self._queues.items()):
            return 0.0
        apart = min(self._apart, max(APART, self._takes / 2))
        return max(min(self._last + QUIET, self._since + GATHER), self._cut_at + apart)

    def cut(self, most: int) -> list[Task]:
        """The tasks of a submission of so many elements. What is wanted no longer is left out; so it may be none."""
        terms, queue = next(iter(self._queues.items()))
        tasks: list[Task] = []
        while queue and len(tasks) < most * terms.each:
            task = queue.popleft()
            if not task._decided:
                tasks.append(task)
        if not queue:
            del self._queues[terms]
        if tasks:
            now = self._clock.now()
            streams = now - self._cut_at < 2 * max(self._apart, APART)
            self._apart = min(FARTHEST, 2 * self._apart) if streams and self._apart else APART
            self._cut_at = now
        return tasks
