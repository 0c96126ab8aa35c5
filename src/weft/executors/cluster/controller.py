"""The thread that runs the commands of the batch system: one at a time, and seldom.

It submits what has come together, cancels, looks, and asks what became of what is missing. What it learns goes into the
book. When nobody answers it asks later, and nothing is concluded from that.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from weft.engine.complain import complain
from weft.errors import StorageError, SubmitError, told
from weft.executors.cluster.folder import Call, Plan
from weft.executors.cluster.group import Group
from weft.executors.cluster.system import BatchSystem, Busy, Order, Phase, Refused, Sheet

if TYPE_CHECKING:
    from weft.executors.cluster.book import Book
    from weft.executors.cluster.folder import Folder
    from weft.executors.cluster.future import ClusterFuture

__all__ = ["Controller", "sheet_of"]

LOGGER = logging.getLogger("weft")


class Controller:
    """See above.

    Args:
        book: what is known.
        system: the batch system.
        folder: of the executor.
        command: what a script starts, before the number of the group and of the element.
        token: part of the name of each submission, which nobody else has.
        first: the number of the first group.
    """

    def __init__(
        self, book: Book, system: BatchSystem, folder: Folder, command: tuple[str, ...], token: str, first: int = 0
    ) -> None:
        self._book = book
        self._system = system
        self._folder = folder
        self._command = command
        self._token = token
        self._next = first
        self._most: int | None = None  # elements of an array
        self._cap: int | None = None  # of those, what the user wants
        self._fewer: int | None = None  # of those, what the site took last
        self._unsent: list[Group] = []  # written down by somebody who did not live to tell whether it was submitted

    def limit(self, most: int | None) -> None:
        """Make no larger arrays."""
        self._cap = most

    def take_up(self, group: Group) -> None:
        """Submit what was written down, if it has not been."""
        self._unsent.append(group)

    def run(self) -> None:
        """Serve until nothing is left to do. It never raises."""
        book = self._book
        while True:
            with book.lock:
                while not (act := self._due()):
                    if book.is_over():
                        return
                    book.clock.wait(book.lock, self._pause())
            try:
                act()
            except Busy as busy:
                LOGGER.debug("%s: %s", self._system.name, busy)
                with book.lock:
                    book.busy(full=busy.full)
            except BaseException:  # noqa: BLE001 - nobody waits for ever because of a mistake of ours
                complain("unexpected error in the thread that talks to %s", self._system.name)
                with book.lock:
                    book.busy(full=False)

    # What is next, under the lock ----------------------------------------------------------------------------

    def _due(self) -> Callable[[], None] | None:
        book, now = self._book, self._book.clock.now()
        if book.left or now < book.away_until:
            return None
        in_order = (
            (bool(book.cancels()), self._cancel),
            (bool(self._unsent), self._submit_rest),
            (_has_come(book.submit_at(self._elements()), now), self._submit),
            (bool(book.suspects()), self._inquire),
            (_has_come(book.look_at(), now), self._look),
        )
        return next((act for is_due, act in in_order if is_due), None)

    def _pause(self) -> float | None:
        book = self._book
        times = [at for at in (book.submit_at(self._elements()), book.look_at()) if at is not None]
        if book.away_until > book.clock.now():
            times.append(book.away_until)
        return max(0.0, min(times) - book.clock.now()) if times else None

    def _elements(self) -> int:
        found = [most for most in (self._most, self._cap, self._fewer) if most is not None]
        return max(1, min(found, default=1000))

    # Commands, without it ------------------------------------------------------------------------------------

    def _cancel(self) -> None:
        with self._book.lock:
            wanted = self._book.cancels()
        self._system.cancel(wanted)
        with self._book.lock:
            self._book.cancels_done(wanted)

    def _look(self) -> None:
        with self._book.lock:
            jobs, at = self._book.jobs(), self._book.clock.now()
        seen = self._system.look(jobs)
        waiting = [one for one in seen if one.phase is Phase.PENDING]
        stuck = [one for one in waiting if self._system.verdict(one, "")[0] != "died"]
        with self._book.lock:
            self._book.looked(jobs, seen, at, stuck)

    def _inquire(self) -> None:
        with self._book.lock:
            jobs = self._book.suspects()
        seen = self._system.inquire(jobs)
        with self._book.lock:
            self._book.inquired(jobs, seen)

    def _submit(self) -> None:
        if self._most is None:
            self._most = self._system.limits().array
        with self._book.lock:
            tasks = self._book.cut(self._elements())
            if not tasks:
                return
            terms = tasks[0]._terms
            number, self._next = self._next, self._next + 1
            name = f"{_plain(tasks[0].name)}-{self._token}-{number}"
            group = Group(self._folder.group(number), name, tasks, terms, terms.each, self._system.element)
            self._book.opened(group)
        try:
            sheet = sheet_of(group, (*self._command, str(number)))
            group.folder.write(plan_of(group, tasks), self._system.files(sheet, str(group.folder.script)))
            self.send(group)
        except Busy as busy:
            self._withdraw(group, None)
            if busy.full:
                self._fewer = max(1, len(group.places) // 2)  # a part of it may fit
            raise
        except Refused as refused:
            self._withdraw(group, _refusal(tasks[0], refused))
        except StorageError as error:
            self._withdraw(group, error)
        except BaseException as error:
            self._withdraw(group, SubmitError(f"{tasks[0].name} could not be submitted: {told(error)}", said=""))
            raise

    def _submit_rest(self) -> None:
        group = self._unsent[-1]
        job = self._system.find(group.name)
        if job is None:
            try:
                self.send(group)
            except Refused as refused:
                self._withdraw(group, SubmitError(f"{group.name} was not taken: {refused}", said=str(refused)))
        else:
            self._sent(group, job)
        self._unsent.pop()

    def send(self, group: Group) -> None:
        """Submit what is written down. Raises Refused, or Busy."""
        order = Order(group.name, str(group.folder.script), group.places)
        job: str | None
        try:
            job = self._system.submit(order)
        except Busy as busy:
            if not busy.unsure:
                raise
            # It may have been taken: look for it until somebody answers, before it is submitted again.
            job = self._found(group.name)
            if job is None:
                raise
        if self._fewer is not None:
            self._fewer *= 2
        self._sent(group, job)

    def _sent(self, group: Group, job: str) -> None:
        try:
            group.folder.submitted(job)
        except StorageError as error:  # whoever attaches later finds it by its name
            LOGGER.warning("the id %s of %s is not written down: %s", job, group.name, error)
        with self._book.lock:
            self._book.submitted(group, job)

    def _found(self, name: str) -> str | None:
        book = self._book
        while True:
            try:
                return self._system.find(name)
            except Busy:
                with book.lock:
                    book.busy(full=False)
                    while (left := book.away_until - book.clock.now()) > 0 and not book.left:
                        book.clock.wait(book.lock, left)
                    if book.left:
                        raise

    def _withdraw(self, group: Group, error: BaseException | None) -> None:
        """It was not submitted: its tasks fail with this error; with none they wait again."""
        with self._book.lock:
            tasks = self._book.withdrawn(group, again=error is None)
        group.folder.remove()
        if error is not None:
            for task in tasks:
                conclude(task, None, error)


def _refusal(task: ClusterFuture[Any], refused: Refused) -> SubmitError:
    """What its user is told; of a further try, which may have asked for too much, why there was one."""
    before = f" (tried again after {task._tries[-1]})" if task._tries else ""
    return SubmitError(f"{task.name} was not taken{before}: {refused}", said=str(refused))


def _has_come(at: float | None, now: float) -> bool:
    return at is not None and at <= now


def conclude(task: ClusterFuture[Any], result: Any, error: BaseException | None = None) -> None:
    """Publish an outcome, unless somebody has decided otherwise."""
    try:
        task._packed = b""
        task._conclude(result, error)
    except BaseException:  # noqa: BLE001
        complain("a done-callback of %r raised what is meant to end a thread; ignored here", task)


def _plain(name: str) -> str:
    """A name that every batch system takes."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name)[:40].strip("_.") or "task"


def sheet_of(group: Group, command: tuple[str, ...]) -> Sheet:
    """What the batch system is to be told of a submission."""
    terms = group.terms
    return Sheet(
        name=group.name,
        places=group.places,
        command=command,
        log=group.folder.logs,
        directory=str(group.folder.path),
        resources=_for_all(group),
        setup=terms.setup,
        env=terms.env,
        options=terms.options,
        proof=group.folder.proof(group.each),
        home=group.folder.home,
        inputs=group.folder.inputs,
        outputs=group.folder.outcomes,
    )


def _for_all(group: Group) -> Any:
    """What an element asks for: the time of all the calls that it makes."""
    from dataclasses import replace

    asked = group.terms.resources
    return asked if asked.time is None else replace(asked, time=asked.time * group.each)


def plan_of(group: Group, tasks: Sequence[ClusterFuture[Any]]) -> Plan:
    """What a submission is to do."""
    shared: dict[int, int] = {}
    bodies: list[bytes] = []
    names: list[str] = []

    def place(common: Any) -> int:
        if common.id not in shared:
            shared[common.id] = len(bodies)
            bodies.append(common.packed)
            names.append(common.name)
        return shared[common.id]

    calls = [Call(task._number, place(task._function), place(task._setting), task._packed) for task in tasks]
    return Plan(calls, bodies, names, group.each, group.terms.resources.time, group.name, group.terms)
