"""What is known of all tasks of an executor, and what is to be done next.

Decisions only: nothing here runs a command, reads a file or calls anybody's code. Two threads ask: the controller,
which runs the commands of the batch system, one at a time; and the watcher, which reads outcomes and publishes them.
Whoever submits and cancels leaves a note. All of them hold the lock while they look, and not while they act.

An element is taken for dead only when the batch system does not name it among what waits and runs, when its outcome was
looked for after that and is not there, and when the batch system was asked what became of it: what then counts is its
exit code. If that says that there is an outcome, a shared file system may be slow; so it gets a period of grace.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from weft.errors import ClosedError
from weft.executors.cluster.backoff import Backoff
from weft.executors.cluster.formats import EXIT_FAILED
from weft.executors.cluster.group import Group, Missing
from weft.executors.cluster.intake import Intake
from weft.executors.cluster.system import Clock, Phase, Seen

if TYPE_CHECKING:
    from weft.executors.cluster.future import ClusterFuture, Terms

__all__ = ["Book", "Death", "Pace"]

Task: TypeAlias = "ClusterFuture[Any]"

TORN = 5.0  # seconds that an outcome which does not read, and does not grow, gets to be whole


class Pace(NamedTuple):
    """How often, and how patiently."""

    #: Seconds between two looks. None: more often when much happens, seldom when nothing does.
    poll: float | None = None
    grace: float = 30.0  #: Seconds that an outcome may come late.
    fastest: float = 0.5  #: With `poll` None.
    slowest: float = 15.0
    listing: float = 1.0  #: Seconds between two looks for outcomes, at most.


class Death(NamedTuple):
    """An element that has ended without an outcome for these tasks."""

    group: Group
    place: int
    tasks: list[Task]
    end: Seen | None  #: None: nobody knows.


class Book:
    """See above."""

    def __init__(self, clock: Clock, pace: Pace) -> None:
        self.lock = threading.Condition(threading.RLock())
        self.clock = clock
        self.pace = pace
        self.closed = ""  #: Why no more is accepted.
        self.left = False  #: The jobs go on without us.
        self.most_queued: int | None = None
        self.groups: dict[int, Group] = {}  #: Those of which an outcome, or a cancel, is awaited.
        self._fresh = Intake(clock)
        self._blocks = 0  # that are under way, see `together`
        first = pace.poll or 1.0
        self._full = Backoff(clock, first)  # it takes no more: no submissions
        self._away = Backoff(clock, first)  # nobody answers: no commands
        self._look_at = 0.0
        self._looked = -1.0  # when the last look was begun that was answered
        self._look_every = pace.poll or pace.fastest
        self._list_at = 0.0
        self._list_every = 0.0
        self.sending: Group | None = None

    # From any thread ------------------------------------------------------------------------------------------

    def accept(self, *tasks: Task) -> None:
        """New tasks, which go together if they ask for the same. Raises ClosedError."""
        with self.lock:
            if self.closed:
                raise ClosedError(self.closed)
            first = not self._fresh
            for task in tasks:
                self._fresh.put(task)
            if first:
                self.lock.notify_all()

    def close(self, why: str) -> None:
        """Accept nothing more."""
        with self.lock:
            self.closed = self.closed or why
            self.lock.notify_all()

    def leave(self) -> None:
        """Let the jobs go on without us."""
        with self.lock:
            self.left = True
            self.lock.notify_all()

    def cancelled(self, task: Task) -> Group | None:
        """Somebody has cancelled a task. The group, if it is to be told that this call is not to be begun."""
        with self.lock:
            group = task._group
            if group is None or task._index not in group.open:
                return None  # it is found when its turn comes; or its outcome was read at this very moment
            alone = self._unwanted(group, task._index)
            self.lock.notify_all()
            return None if alone else group

    def all_open(self, *, waiting: bool = False) -> list[Task]:
        """The tasks that are not over; `waiting`: that do not run."""
        with self.lock:
            tasks = list(self._fresh)
            for group in self.groups.values():
                tasks += group.open_tasks()
            return [task for task in tasks if not (waiting and task._runs)]

    def is_over(self) -> bool:
        """Whether nothing is left to do, now and for ever."""
        return self.left or bool(self.closed and not self._fresh and not self.groups and self.sending is None)

    # Submitting -----------------------------------------------------------------------------------------------

    def cut(self, most: int) -> list[Task]:
        """The tasks of the next submission, if it is time for one; `most`: elements of an array."""
        while self._fresh and self.clock.now() >= self._due(most) and (room := self._room()):
            if tasks := self._fresh.cut(min(most, room)):
                return tasks
            self.lock.notify_all()  # nobody wants these any more, so all may be over
        return []

    def submit_at(self, most: int) -> float | None:
        """When there will be something to submit; None: not before something happens."""
        if not self._fresh or not self._room():
            return None
        return max(self._due(most), self._full.until, self._away.until)

    def _due(self, most: int) -> float:
        return self._fresh.due(most, hurry=bool(self.closed))

    def _room(self) -> int:
        """How many more elements the user wants to have in the queue."""
        if self.most_queued is None:
            return 1 << 30
        room = self.most_queued - sum(len(group.open_places()) for group in self.groups.values())
        # Not one by one, as they end: each submission is work for the batch system.
        return room if 4 * room >= self.most_queued else 0

    def opened(self, group: Group) -> None:
        """A submission is written down, and about to be made."""
        self.groups[group.number] = group
        self.sending = group
        for index, task in group.members():
            task._group, task._index = group, index
            task._runs, task._word = False, ""
            if task._decided:  # cancelled meanwhile
                self._unwanted(group, index)

    def adopted(self, group: Group, job: str | None) -> None:
        """A submission that somebody else has made, or was about to make."""
        self.opened(group)
        self.sending = None
        if job is not None:
            self.submitted(group, job)

    def superseded(self, task: Task) -> None:
        """A later submission makes the call again: whatever this one brings is of no interest."""
        if task._group is not None:
            self._settle(task._group, task._index)

    def submitted(self, group: Group, job: str) -> None:
        """It has been made."""
        self.sending = None
        now = self.clock.now()
        group.job, group.since = job, now
        self._away.over()
        self._full.over()
        self._fresh.submitted()
        self._look_every = self.pace.poll or self.pace.fastest
        self._look_at = min(self._look_at, now + self._look_every) if self._look_at > now else now + self._look_every
        self._list_every = 0.0
        self._list_at = now
        self._forget_if_over(group)
        self.lock.notify_all()

    def withdrawn(self, group: Group, *, again: bool) -> list[Task]:
        """It has not been made: its tasks, which wait again where they are to be tried `again`."""
        self.sending = None
        self.groups.pop(group.number, None)
        tasks = group.open_tasks()
        for task in tasks:
            task._group = None
        if again and tasks:
            self._fresh.put_back(group.terms, tasks)
        self.lock.notify_all()
        return tasks

    def again(self, task: Task, terms: Terms) -> None:
        """One more try."""
        with self.lock:
            task._group, task._terms = None, terms
            task._runs, task._word = False, ""
            self._fresh.put(task)
            self.lock.notify_all()

    # Nobody answers -------------------------------------------------------------------------------------------

    def busy(self, *, full: bool) -> None:
        """The batch system would not, or did not answer. Ask later; later still, if that goes on."""
        # With `full`, whatever else is answered meanwhile: that there is room shows when something has been taken.
        (self._full if full else self._away).again()
        self.lock.notify_all()

    @property
    def away_until(self) -> float:
        """Before that, no commands."""
        return self._away.until

    # Cancelling -----------------------------------------------------------------------------------------------

    def _unwanted(self, group: Group, index: int) -> bool:
        """Nobody wants this call any more. Whether its element is of no use, too: it is cancelled, once it is there."""
        place = index // group.each
        alone = not any(other in group.open for other in group.calls_of(place) if other != index)
        if alone:
            group.to_cancel.add(place)
            group.missing.pop(place, None)
        self._settle(group, index)
        return alone

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is cancelled in this block is cancelled there when it ends: with one command, not with several."""
        with self.lock:
            self._blocks += 1
        try:
            yield
        finally:
            with self.lock:
                self._blocks -= 1
                self.lock.notify_all()

    def cancels(self) -> dict[str, Collection[int] | None]:
        """What is to be cancelled there."""
        wanted: dict[str, Collection[int] | None] = {}
        if self._blocks:
            return wanted
        for group in self.groups.values():
            if group.to_cancel and group.job is not None:
                whole = len(group.to_cancel) == len(group.places)
                wanted[group.job] = None if whole else sorted(group.to_cancel)
        return wanted

    def cancels_done(self, done: dict[str, Collection[int] | None]) -> None:
        """It has been."""
        self._away.over()
        for group in list(self.groups.values()):
            if group.job in done:
                places = done[group.job]
                group.to_cancel -= set(group.places if places is None else places)
                self._forget_if_over(group)
        self.lock.notify_all()

    # Looking --------------------------------------------------------------------------------------------------

    def jobs(self) -> dict[str, str]:
        """What to look for: ids, with the paths of their scripts."""
        return {group.job: group.script for group in self.groups.values() if group.job is not None and group.open}

    def look_at(self) -> float | None:
        """When the next look is due."""
        return max(self._look_at, self._away.until) if self.jobs() else None

    def look_now(self, patience: float) -> None:
        """Have the batch system looked at once more; return when that is done, nobody answers, or after so long."""
        with self.lock:
            asked = self.clock.now()
            until = asked + patience
            self._look_at = min(self._look_at, asked)
            self.lock.notify_all()
            while self._looked < asked and self.jobs() and not (self._away or self.is_over()):
                left = until - self.clock.now()
                if left <= 0:
                    return
                self.clock.wait(self.lock, left)

    def looked(self, jobs: Iterable[str], seen: Iterable[Seen], asked_at: float, stuck: Collection[Seen] = ()) -> None:
        """The answer to a look that was begun at that time; what of it will never run by itself is `stuck`."""
        self._away.over()
        self._looked = asked_at
        by_job: dict[str, list[Seen]] = {job: [] for job in jobs}
        for one in seen:
            if one.job in by_job:
                by_job[one.job].append(one)
        changed = False
        for group in list(self.groups.values()):
            if group.job in by_job:
                changed = self._looked_at(group, by_job[group.job], asked_at, stuck) or changed
        slower = self._look_every * 1.5
        quick = self.pace.fastest if changed else min(slower, self.pace.slowest)
        self._look_every = self.pace.poll or quick
        now = self.clock.now()
        self._look_at = now + self._look_every
        if changed:
            self._list_every = 0.0
        self._list_at = now
        self.lock.notify_all()

    def _looked_at(self, group: Group, lines: list[Seen], asked_at: float, stuck: Collection[Seen]) -> bool:
        changed = lines != group.lines
        if not changed and not group.missing:
            return False  # so that ten thousand that wait cost nothing
        group.lines = lines
        there: set[int] = set()
        for line in lines:
            places = group.places if line.places is None else line.places
            if line in stuck:  # it has ended, as far as those are concerned who wait for it
                for place in group.open_places().intersection(places):
                    group.missing[place] = Missing(asked_at, line)
                there.difference_update(places)
            elif line.phase is not Phase.ENDED:
                there.update(places)
                self._note(group, line, places)
        for place in group.missing.keys() & there:  # it was merely between two states, or is to be run again
            del group.missing[place]
        for place in group.open_places() - there:
            if place not in group.missing:
                group.missing[place] = Missing(asked_at)
            elif group.missing[place].end is None:
                group.missing[place].asked = False  # ask once more: records may be late
        return changed

    def _note(self, group: Group, line: Seen, places: Iterable[int]) -> None:
        runs = line.phase is Phase.RUNNING
        for place in places:
            if line.restarts:
                group.restarts[place] = line.restarts
            for index in group.calls_of(place) if group.each > 1 else (place,):
                task = group.task(index)
                if task is not None:
                    task._runs, task._word = runs, line.state

    def suspects(self) -> dict[str, str]:
        """The submissions of which something is missing that the batch system has not been asked about; see `jobs`."""
        return {
            group.job: group.script
            for group in self.groups.values()
            if group.job is not None and any(one.listed and not one.asked for one in group.missing.values())
        }

    def inquired(self, jobs: Collection[str], seen: Iterable[Seen]) -> None:
        """What became of them, as far as anybody knows."""
        self._away.over()
        by_job = {group.job: group for group in self.groups.values() if group.job in jobs}
        for group in by_job.values():
            for one in group.missing.values():
                one.asked = one.asked or one.listed
        for line in seen:
            known = by_job.get(line.job)
            if known is None or line.phase is not Phase.ENDED:
                continue
            for place in known.places if line.places is None else line.places:
                if place in known.missing:
                    known.missing[place].end = line
        self._list_at = self.clock.now()
        self.lock.notify_all()

    # Outcomes -------------------------------------------------------------------------------------------------

    def list_at(self) -> float | None:
        """When outcomes are to be looked for again."""
        return self._list_at if any(group.open and group.job for group in self.groups.values()) else None

    def to_list(self) -> list[Group]:
        """Where to look for outcomes now."""
        return [group for group in self.groups.values() if group.open and group.job is not None]

    def new_names(self, group: Group, names: Iterable[str]) -> list[tuple[int, str]]:
        """Of the outcomes that are there, those to be read: call and name. The last try of each call counts."""
        latest: dict[int, tuple[int, str]] = {}
        for name in names:
            if name in group.read:
                continue
            index, _, restarts = name.partition(".")
            if not (index.isdecimal() and restarts.isdecimal()) or int(index) not in group.open:
                continue
            call, count = int(index), int(restarts)
            # An earlier try than the one that the batch system knows of: a ghost, on a node that was given up.
            if count < group.restarts.get(call // group.each, 0):
                continue
            if call not in latest or count > latest[call][0]:
                latest[call] = count, name
        return [(call, name) for call, (_, name) in sorted(latest.items())]

    def took(self, group: Group, index: int, name: str) -> Task | None:
        """An outcome has been read: the task that is to be given it, if it is still wanted."""
        group.read.add(name)
        group.torn.pop(name, None)
        if index not in group.open:
            return None
        if group.each == 1:
            group.missing.pop(index, None)
        self._fresh.outcome_after(self.clock.now() - group.since)
        return self._settle(group, index)

    def stopped(self, group: Group, name: str) -> None:
        """An outcome says that its job was told to end: what became of the job is for the batch system to say."""
        group.read.add(name)

    def is_torn_for_good(self, group: Group, name: str, size: int) -> bool:
        """An outcome of so many bytes does not read: whether it has had its time to become whole, or to grow."""
        now = self.clock.now()
        before, since = group.torn.get(name, (-1, now))
        if size != before:
            since = now
        group.torn[name] = size, since
        return now - since >= min(TORN, self.pace.grace)

    def listed(self, groups: Iterable[Group], began_at: float, *, found: int) -> list[Death]:
        """Outcomes have been looked for since `began_at`. Who is dead, then?"""
        now = self.clock.now()
        deaths = []
        for group in groups:
            for place, one in list(group.missing.items()):
                if one.since <= began_at:
                    if not one.listed:
                        one.listed = True
                        self.lock.notify_all()
                    elif one.asked and self._is_dead(one, now):
                        deaths.append(self._death(group, place, one.end))
        most = min(self.pace.listing, self.pace.poll or self.pace.listing)
        self._list_every = 0.02 if found else min(max(0.02, self._list_every * 1.5), most)
        self._list_at = now + self._list_every
        return deaths

    def _is_dead(self, one: Missing, now: float) -> bool:
        end = one.end
        promised = end is None or (end.exitcode in (0, EXIT_FAILED) and not end.signal)
        return not promised or now - one.since >= self.pace.grace

    def _death(self, group: Group, place: int, end: Seen | None) -> Death:
        del group.missing[place]
        if end is not None and end.phase is not Phase.ENDED:
            group.to_cancel.add(place)
        lost = [index for index in group.calls_of(place) if index in group.open]
        return Death(group, place, [self._settle(group, index) for index in lost], end)

    def _settle(self, group: Group, index: int) -> Task:
        task = group.settle(index)
        self._forget_if_over(group)
        return task

    def _forget_if_over(self, group: Group) -> None:
        if not group.open and not group.to_cancel and group is not self.sending and group.job is not None:
            self.groups.pop(group.number, None)
            self.lock.notify_all()
