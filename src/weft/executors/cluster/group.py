"""A submission, and what is known of its elements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from weft.executors.cluster.folder import GroupFolder
    from weft.executors.cluster.future import ClusterFuture, Terms
    from weft.executors.cluster.system import Seen

    Task: TypeAlias = ClusterFuture[Any]

__all__ = ["Group", "Missing"]


class Missing:
    """An element that neither waits nor runs, and of which an outcome is lacking."""

    __slots__ = ("asked", "end", "listed", "since")

    def __init__(self, since: float, end: Seen | None = None) -> None:
        self.since = since  #: When it was first missed.
        self.listed = False  #: Whether outcomes have been looked for since.
        self.asked = end is not None  #: Whether the batch system has been asked since what became of it.
        self.end = end  #: What it answered.


class Group:
    """A submission. Whoever touches it holds the book's lock. For `element` see `BatchSystem`."""

    def __init__(
        self,
        folder: GroupFolder,
        name: str,
        tasks: Sequence[Task],
        terms: Terms,
        each: int,
        element: Callable[[str, Sequence[int], int], str],
    ) -> None:
        self.folder = folder
        self.name = name  #: Of the job; unique.
        # In the order of its calls. What is over is dropped: a future that is kept must not keep all the others.
        self._tasks: list[Task | None] = list(tasks)
        self.size = len(tasks)
        self.terms = terms
        self.each = each
        self.places = range(-(-len(tasks) // each))
        self._element = element
        self.job: str | None = None  #: The id, once it is known,
        self.since = 0.0  #: and when that was.
        self.open = set(range(len(tasks)))  #: Calls whose outcome is awaited.
        self.restarts: dict[int, int] = {}  #: By place, where it was run again by the batch system.
        self.missing: dict[int, Missing] = {}  #: By place.
        self.read: set[str] = set()  #: Names of outcomes that have been dealt with.
        self.torn: dict[str, tuple[int, float]] = {}  #: Of those that could not be read: size, and since when.
        self.to_cancel: set[int] = set()  #: Places, not cancelled there yet.
        self.failed: set[int] = set()  #: Places at which a call has failed: their logs are kept.
        self.lines: list[Seen] | None = None  #: As of the last look.

    @property
    def number(self) -> int:
        """Of the group, in its folder."""
        return self.folder.number

    @property
    def script(self) -> str:
        """The path of what its elements run."""
        return str(self.folder.script)

    def id_of(self, index: int) -> str | None:
        """The batch system's id of what makes this call."""
        return None if self.job is None else self._element(self.job, self.places, index // self.each)

    def calls_of(self, place: int) -> range:
        """What an element of the array does."""
        return range(place * self.each, min((place + 1) * self.each, self.size))

    def open_places(self) -> set[int]:
        """The elements of which an outcome is awaited."""
        return set(self.open) if self.each == 1 else {index // self.each for index in self.open}

    def holds(self, place: int) -> bool:
        """Whether the log of an element is still of use: calls of it are open, or have failed."""
        return place in self.failed or any(index in self.open for index in self.calls_of(place))

    def members(self) -> Iterator[tuple[int, Task]]:
        """Its calls, and their tasks."""
        return ((index, task) for index, task in enumerate(self._tasks) if task is not None)

    def open_tasks(self) -> list[Task]:
        """The tasks whose outcome is awaited, in order."""
        return [task for index, task in self.members() if index in self.open]

    def task(self, index: int) -> Task | None:
        """The task of a call; None where it is over."""
        return self._tasks[index]

    def settle(self, index: int) -> Task:
        """It is over, as far as this submission is concerned."""
        self.open.discard(index)
        task, self._tasks[index] = self._tasks[index], None
        assert task is not None
        return task
