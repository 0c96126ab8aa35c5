"""The outcome of a task on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from weft.engine.light import LightFuture

if TYPE_CHECKING:
    from pathlib import Path

    from weft.executors.cluster.book import Book
    from weft.executors.cluster.group import Group
    from weft.executors.functions import Common
    from weft.resources import Cause, Resources

__all__ = ["ClusterFuture", "Terms"]

T = TypeVar("T")


class Terms(NamedTuple):
    """What a task asks for; tasks with equal ones go to the cluster together."""

    resources: Resources
    setup: tuple[str, ...]
    options: tuple[tuple[str, Any], ...]
    env: tuple[tuple[str, str], ...]
    each: int  #: So many tasks make one element of an array.


class ClusterFuture(LightFuture[T]):
    """The outcome of a task on a cluster. Made by `ClusterExecutor.submit`.

    It is a `concurrent.futures.Future`. Beyond that it has `name`, `key`, `job_id`, `state`, `log`, `stdout` and
    `tries`; and `cancel` stops what runs, too.
    """

    # Everything but the outcome belongs to the book, and is changed under its lock.
    __slots__ = (
        "_anew",
        "_book",
        "_causes",
        "_function",
        "_group",
        "_index",
        "_number",
        "_packed",
        "_runs",
        "_setting",
        "_terms",
        "_tries",
        "_word",
    )

    def __init__(self, book: Book, number: int, function: Common, setting: Common, call: bytes, terms: Terms) -> None:
        LightFuture.__init__(self)
        self._book = book
        self._number = number
        self._function = function
        self._setting = setting
        self._packed = call
        self._terms = terms
        self._group: Group | None = None
        self._index = 0  # of its call in the group
        self._runs = False
        self._word = ""
        self._tries: list[str] = []
        self._anew = 0  # how often it was submitted again because it had not begun
        self._causes: dict[Cause, int] = {}

    @property
    def name(self) -> str:
        """The name of the function."""
        return self._function.name

    @property
    def key(self) -> str:
        """Its number in the order of submission, as `attach` gives it."""
        return str(self._number)

    @property
    def job_id(self) -> str | None:
        """The batch system's id, such as ``"123"`` or, for an element of an array, ``"123_4"``; None: none so far."""
        group = self._group
        return None if group is None else group.id_of(self._index)

    @property
    def state(self) -> str:
        """The batch system's own word, as of the last look; empty before the first."""
        return self._word

    @property
    def log(self) -> Path | None:
        """The file with what the task writes; of the last try. With `tasks_per_job` shared by the tasks of a job."""
        group = self._group
        return None if group is None else group.folder.log(self._index // group.each)

    @property
    def stdout(self) -> str:
        """What the task has written so far."""
        log = self.log
        try:
            return "" if log is None else log.read_text(encoding="utf-8", errors="replace")
        except OSError:  # nothing yet
            return ""

    @property
    def tries(self) -> list[str]:
        """What became of the tries before the present one, a sentence each."""
        return list(self._tries)

    def running(self) -> bool:
        """Whether the batch system says that it runs, as of the last look."""
        return self._runs and not self.done()

    def cancel(self) -> bool:
        """Cancel the task, on the cluster too, whether it waits or runs; True unless it was done before."""
        try:
            return self._cancel_if(self._decide)
        finally:  # after a Ctrl-C, too
            group = self._book.cancelled(self) if self.cancelled() else None
            if group is not None:
                group.folder.leave_out(self._index)

    kill = cancel

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled() else "done" if self.done() else "running" if self._runs else "waiting"
        job = self.job_id
        return f"<{type(self).__name__} {self.name!r}{'' if job is None else f' job {job}'} {state}>"
