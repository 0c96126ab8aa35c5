"""The thread that looks for outcomes, and tells those who wait.

One look is a listing of a folder for each submission that is under way, however many tasks it has.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from weft.engine.complain import complain
from weft.executors.cluster.controller import conclude
from weft.executors.cluster.death import add_to, died, tail_of
from weft.payload import unpack, unpack_failure
from weft.resources import cause_of

if TYPE_CHECKING:
    from weft.executors.cluster.book import Book, Death
    from weft.executors.cluster.future import ClusterFuture
    from weft.executors.cluster.group import Group
    from weft.executors.cluster.system import BatchSystem
    from weft.resources import Cause

__all__ = ["Watcher"]

LOGGER = logging.getLogger("weft")

MOST_ANEW = 3  # how often what has not begun is submitted again


class Watcher:
    """See above."""

    def __init__(self, book: Book, system: BatchSystem, *, keep_logs: bool = True) -> None:
        self._book = book
        self._system = system
        self._keep_logs = keep_logs

    def run(self) -> None:
        """Serve until nothing is left to do. It never raises."""
        book = self._book
        while True:
            with book.lock:
                while True:
                    at, now = book.list_at(), book.clock.now()
                    if at is not None and at <= now:
                        break
                    if book.is_over():
                        return
                    book.clock.wait(book.lock, None if at is None else at - now)
                groups = book.to_list()
            try:
                self._look(groups, now)
            except BaseException:  # noqa: BLE001 - nobody waits for ever because of a mistake of ours
                complain("unexpected error in the thread that looks for outcomes")
                with book.lock:
                    book.listed((), now, found=0)

    def _look(self, groups: list[Group], began_at: float) -> None:
        found = 0
        for group in groups:
            names = group.folder.arrived()
            with self._book.lock:
                new = self._book.new_names(group, names)
            for index, name in new:
                self._take(group, index, name)
            found += len(new)
        with self._book.lock:
            deaths = self._book.listed(groups, began_at, found=found)
        for death in deaths:
            try:
                self._bury(death)
            except BaseException as error:  # noqa: BLE001 - the book has forgotten them: they end here, or never
                complain("cannot say what %s has died of", death.group.id_of(death.place))
                for task in death.tasks:
                    conclude(task, None, error)

    def _take(self, group: Group, index: int, name: str) -> None:
        book = self._book
        try:
            kind, payload = group.folder.outcome(name)
        except Exception as error:  # noqa: BLE001 - cut short, or not ours
            size = group.folder.size(name)
            with book.lock:
                task = book.took(group, index, name) if book.is_torn_for_good(group, name, size) else None
            if task is not None:
                conclude(task, None, error)
            return
        with book.lock:
            if kind == "stopped":
                book.stopped(group, name)
                return
            task = book.took(group, index, name)
        if task is None:
            return
        try:
            self._deliver(group, task, kind, payload)
        except BaseException as error:  # noqa: BLE001 - the book has forgotten it: it ends here, or never
            conclude(task, None, error)

    def _deliver(self, group: Group, task: ClusterFuture[Any], kind: str, payload: bytes) -> None:
        place = task._index // group.each
        if kind == "result":
            result = unpack(payload)
            if not self._keep_logs and not group.holds(place):
                group.folder.drop_log(place)
            conclude(task, result)
            return
        group.failed.add(place)
        failure = unpack_failure(payload)
        if not self._once_more(group, task, cause_of(failure), str(failure)):
            conclude(task, None, failure)

    # Deaths ---------------------------------------------------------------------------------------------------

    def _bury(self, death: Death) -> None:
        """Say what a job has died of. Of several calls it is the first without an outcome; the others are sent anew."""
        group, place, tasks, end = death
        if not tasks:
            return
        log = group.folder.log(place)
        tail = tail_of(log)
        word, sentence = (
            ("died", "it has ended, and nobody knows how") if end is None else self._system.verdict(end, tail)
        )
        dead, rest = (tasks, []) if word == "cancelled" else (tasks[:1], tasks[1:])
        for task in dead:
            job, seconds = group.id_of(task._index), task._terms.resources.time
            error = died(task.name, job, word, sentence, end, seconds=seconds, log=log, tail=tail)
            if word == "unstarted" and self._anew(group, task, sentence):
                continue
            cause: Any = "infrastructure" if word in ("held", "unstarted") else word
            if word == "cancelled" or not self._once_more(group, task, cause, sentence):
                conclude(task, None, error)
        for task in rest:
            self._book.again(task, task._terms)

    def _anew(self, group: Group, task: ClusterFuture[Any], said: str) -> bool:
        """Whether a task that has not begun is submitted again, which nobody has to ask for; then it waits."""
        with self._book.lock:
            if task._decided or task._anew == MOST_ANEW or self._book.left:
                return False
            task._anew += 1
            LOGGER.warning("job %s of %s is submitted again: %s", group.id_of(task._index), task.name, said)
            self._book.again(task, task._terms)
        return True

    def _once_more(self, group: Group, task: ClusterFuture[Any], cause: Cause, said: str) -> bool:
        """Whether a failed task is tried again; then it waits."""
        resources = task._terms.resources
        if resources.retries is None or task._decided:
            return False
        with self._book.lock:
            retry = resources.retries.allows(cause, task._causes)
            if retry is None or self._book.left:
                return False
            task._causes[cause] = task._causes.get(cause, 0) + 1
            job = group.id_of(task._index)
            said = said.partition("\n")[0]
            task._tries.append(f"job {job}: {said}")
            note = f"weft: try {len(task._tries)} of {task.name} failed ({cause}): {said:.200}; it is tried again\n"
            log = task.log
            self._book.again(task, task._terms._replace(resources=resources.grown(retry)))
        add_to(log, note)
        return True
