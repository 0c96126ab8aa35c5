"""What has become of a run that a batch system runs, for whoever looks at it.

Nobody attends to such a run, so whoever wants to know puts together what there is: the outcomes that the jobs have
left, one answer of the batch system about all that is not over, and what follows from both for the jobs after them.
What is new is added to the run's events, by one process at a time; so it is found out once, and known when the batch
system has forgotten it.

A job is taken for dead when the batch system does not name it among what waits and runs, when no outcome of its last
try was there after that, and when the batch system says how it ended. If that says that there is an outcome, or if
nobody knows, a shared file system or the batch system's own records may be slow; so it gets a period of grace.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from weft.errors import StorageError
from weft.executors.cluster.system import Busy, Phase
from weft.jobs.cluster.concluding import Answers, Concluding
from weft.jobs.cluster.standing import Standing
from weft.rundir import Attempt, Journal, RunFolder

if TYPE_CHECKING:
    from weft.executors.cluster.system import BatchSystem, Seen
    from weft.jobs.cluster.register import Submission
    from weft.jobs.records import Record

__all__ = ["Held", "Survey"]

LOGGER = logging.getLogger("weft")

NOTHING = Answers(False, {}, {}, {})  # noqa: FBT003 - its first word is asked


class Held(NamedTuple):
    """Elements that will not run by themselves any more, by what the batch system says of them."""

    sub: Submission
    places: list[int]
    line: Seen


class Survey:
    """See above.

    Args:
        folder: of the run.
        records: of its jobs, in topological order; they are kept up to date.
        system: the batch system; None: it cannot be asked from here.

    Attributes:
        standing: what is known.
        away: what was said when the batch system did not answer; empty when it did.
        said: of each job that waits or runs, by key, what the batch system said of it.
        held: what of it will not run by itself any more, though nothing that it waits for is missing.
    """

    def __init__(self, folder: RunFolder, records: Sequence[Record], system: BatchSystem | None) -> None:
        self.standing = Standing(folder, records)
        self.away = "" if system is not None else "it cannot be asked from here"
        self.said: dict[str, list[Seen]] = {}
        self.held: list[Held] = []
        self.system = system
        self._folder = folder
        self._files = 0  # outcomes, as of the last look
        self._torn: set[tuple[int, int]] = set()  # elements with one that does not read

    @property
    def over(self) -> str:
        """How the run has ended; empty while it goes on."""
        return self.standing.over

    def look(self) -> bool:
        """Find out what is new; whether there was anything."""
        changed = self.standing.catch_up()
        return changed if self.over else self._publish(self._ask(), cancel=False) or changed

    def give_up(self) -> None:
        """Nothing of it is left in the queue: what is not over is cancelled, and the run over."""
        self._publish(NOTHING._replace(files=self._arrived()), cancel=True)

    def give_up_held(self) -> None:
        """Take what will never run by itself out of the queue; that this was why is written down first.

        So those who look next find out that it has died of that.
        """
        if not self.held or self.system is None:
            return
        events = [
            {"t": time.time(), "job": sub.key, "i": place, "n": sub.number, "held": [line.state, line.reason]}
            for sub, places, line in self.held
            for place in places
            if (sub.number, place) not in self.standing.given_up
        ]
        journal = Journal(self._folder.journal)
        try:
            with journal.alone():
                for event in events:
                    journal.write(**event)
                self.standing.catch_up()
        finally:
            journal.close()
        places_of: dict[str, list[int]] = {}
        for sub, places, _ in self.held:
            places_of.setdefault(str(sub.id), []).extend(map(sub.index_of, places))
        whole = {str(sub.id): len(sub.places) for sub, _, _ in self.held}
        try:
            self.system.cancel({job: None if len(those) == whole[job] else those for job, those in places_of.items()})
        except Busy as busy:  # it is held the next time, too
            self.away = str(busy)

    def has_all(self) -> bool:
        """Whether there is, since the last look, an outcome of everything that is not over. Asks nobody."""
        arrived = self._arrived()
        if sum(map(len, arrived.values())) == self._files:
            return False
        return all(
            any(attempt.submission == sub.number for attempt, _ in arrived.get(sub.of(place), ()))
            for sub, places in self.standing.left()
            for place in places
        )

    def _publish(self, answers: Answers, *, cancel: bool) -> bool:
        journal = Journal(self._folder.journal)
        try:
            with journal.alone():
                changed = self.standing.catch_up()  # somebody else may have looked meanwhile
                if self.over:
                    return changed
                concluding = Concluding(self.standing, self.system, answers)
                concluding.conclude()
                self._torn = concluding.torn
                if cancel and not self.over:
                    concluding.give_up()
                # By their times; but the end comes last, whatever the clocks of other machines say.
                events = sorted(concluding.events, key=lambda event: ("run" in event, event["t"]))
                if events:
                    journal.write_line("\n".join(json.dumps(event, separators=(",", ":")) for event in events))
                if self.standing.over:  # and nothing has happened in it since it was
                    os.utime(self._folder.journal, (self.standing.latest, self.standing.latest))
                return changed or bool(events)
        except StorageError as error:
            LOGGER.warning("what happens in run %s is not written down: %s", self._folder.name, error)
            return True
        finally:
            journal.close()

    # Asking ---------------------------------------------------------------------------------------------------

    def _ask(self) -> Answers:
        left = self.standing.left()
        subs = {sub.id: sub for sub, _ in left if sub.id is not None}
        asked, live = False, {}
        self.held = []
        if subs and self.system is not None:
            try:
                seen = self.system.look(self.scripts(subs.values()))
            except Busy as busy:
                self.away = str(busy)
            else:
                self.away = ""
                asked, live = True, _by_element(seen, subs, ended=False)
                self._keep(seen, subs)
                self._find_held(seen, left)
        answers = Answers(asked, live, {}, self._arrived())  # after it was asked: outcomes are there before ends are
        self._files = sum(map(len, answers.files.values()))
        if not asked:
            return answers
        missing = {
            str(sub.id)
            for sub, places in left
            for place in places
            if (sub.number, place) not in live
            and ((sub.number, place) in self._torn or not answers.candidates(sub, place))
        }
        return self._inquire(answers, missing, subs) if missing else answers

    def _inquire(self, answers: Answers, missing: Iterable[str], subs: dict[str, Submission]) -> Answers:
        assert self.system is not None
        try:
            ends = self.system.inquire(self.scripts(subs[job] for job in sorted(missing)))
        except Busy as busy:
            self.away = str(busy)
            return answers._replace(asked=False)
        return answers._replace(ends=_by_element(ends, subs, ended=True))

    def scripts(self, subs: Iterable[Submission]) -> dict[str, str]:
        """What the batch system is to be asked about: ids, each with the path of the script."""
        return {str(sub.id): str(sub.script(self._folder.path)) for sub in subs}

    def _keep(self, seen: Iterable[Seen], subs: dict[str, Submission]) -> None:
        """What is said of jobs, for people."""
        self.said = {}
        for line in seen:
            if line.job in subs and line.phase is not Phase.ENDED:
                self.said.setdefault(subs[line.job].key, []).append(line)

    def _find_held(self, seen: Iterable[Seen], left: Iterable[tuple[Submission, list[int]]]) -> None:
        assert self.system is not None
        open_ = {sub.id: (sub, set(places)) for sub, places in left}
        for line in seen:
            if line.job in open_ and line.phase is Phase.PENDING and self.system.verdict(line, "")[0] == "held":
                sub, open_places = open_[line.job]
                places = [place for place in sub.seen(line) if place in open_places]
                held = [place for place in places if self.standing.may_run(sub, place)]
                if held:
                    self.held.append(Held(sub, held, line))

    def _arrived(self) -> dict[str, list[tuple[Attempt, str]]]:
        found: dict[str, list[tuple[Attempt, str]]] = {}
        try:
            names = os.listdir(self._folder.path / "outcomes")
        except OSError:  # there is none so far; or a file system that is away for a moment
            return found
        for name in names:
            one = Attempt.read(name)
            if one is not None:
                found.setdefault(one[0], []).append((one[1], name))
        return found


def _by_element(seen: Iterable[Seen], subs: dict[str, Submission], *, ended: bool) -> dict[tuple[int, int], Any]:
    found: dict[tuple[int, int], Any] = {}
    for line in seen:
        sub = subs.get(line.job)
        if sub is not None and (line.phase is Phase.ENDED) is ended:
            found.update(dict.fromkeys(((sub.number, place) for place in sub.seen(line)), line))
    return found
