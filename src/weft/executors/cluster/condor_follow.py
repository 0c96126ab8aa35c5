"""Follows event logs, and asks the queue and the history where these are not enough.

What becomes of jobs is written into their event logs, so a look is a look into files, and asks nobody. The queue is
asked where a log has been silent for long, or cannot be trusted; the history, where a job has left the queue and its
log does not say how.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from weft.executors.cluster.command import Commands, in_lines
from weft.executors.cluster.condor_log import EventLog
from weft.executors.cluster.condor_script import Facts, description_of, events_of, facts_in
from weft.executors.cluster.condor_text import FIELDS, Row, read_rows
from weft.executors.cluster.system import Clock, Seen

__all__ = ["Follower"]

SILENT, LONGEST = 60.0, 600.0  # seconds without a word of a log after which the queue is asked: at first, and at last
AGAIN = 5.0  # seconds between two questions about a log that cannot be trusted, at first; or to the history
UNUSED = 600.0  # seconds after which a log that nobody asks for is forgotten


class Follower:
    """See above. Each method but `facts` may raise Busy."""

    def __init__(self, commands: Commands, clock: Clock) -> None:
        self._commands = commands
        self._clock = clock
        self._followed: dict[str, _Followed] = {}
        self._history_at = 0.0

    def follow(self, job: str, script: str) -> EventLog | None:
        """The log of a submission. None where its folder is gone: there is nothing that could be known of it."""
        followed = self._followed.get(job)
        if followed is None:
            try:
                with open(description_of(script), encoding="utf-8", errors="surrogateescape") as file:
                    facts = facts_in(file.read())
            except (OSError, ValueError):
                return None
            log = EventLog(job, events_of(script), facts)
            followed = self._followed[job] = _Followed(log, self._clock.now())
        return followed.log

    def facts(self, job: str) -> Facts | None:
        """What a submission is; None for one that is not followed."""
        followed = self._followed.get(job)
        return None if followed is None else followed.log.facts

    def look(self, jobs: Mapping[str, str]) -> list[Seen]:
        """Where the elements of these submissions stand, each with the path of its script."""
        now = self._clock.now()
        logs = self._read(jobs)
        if silent := [one for one in logs if one.is_silent(now)]:
            self._ask(silent, now)
        for job in [job for job, one in self._followed.items() if now - one.used_at > UNUSED]:
            del self._followed[job]
        return [seen for one in logs for seen in one.log.seen()]

    def inquire(self, jobs: Mapping[str, str]) -> list[Seen]:
        """The same, when something is missing."""
        logs = self._read(jobs)
        self._remember([one.log for one in logs])
        return [seen for one in logs for seen in one.log.seen()]

    def _read(self, jobs: Mapping[str, str]) -> list[_Followed]:
        logs = [self._followed[job] for job, script in jobs.items() if self.follow(job, script) is not None]
        for one in logs:
            one.read(self._clock.now())
        return logs

    def _ask(self, silent: Sequence[_Followed], now: float) -> None:
        """The queue, about all of these at once."""
        rows = self._rows(["condor_q"], [one.log.job for one in silent])
        late = [one.log.job for one in silent if one.log.facts.throttled]
        coming = dict(self._coming(late)) if late else {}
        for one in silent:
            log = one.log
            log.compare(rows.get(log.job, ()), next_number=coming.get(log.job))
            one.asked(now)
            one.read(now)  # what is newer than the answer

    def _rows(self, command: Sequence[str], ids: Iterable[str]) -> dict[str, list[Row]]:
        rows: dict[str, list[Row]] = {}
        for part in in_lines(ids):
            for row in read_rows(self._commands.ask(*command, *part, "-af:t", *FIELDS)):
                rows.setdefault(row.job, []).append(row)
        return rows

    def _coming(self, jobs: Iterable[str]) -> Iterator[tuple[str, int]]:
        """Of those whose elements come into the queue little by little: the number of the one that comes next."""
        for part in in_lines(jobs):
            said = self._commands.ask("condor_q", "-factory", *part, "-af:t", "ClusterId", "JobMaterializeNextProcId")
            for job, following in re.findall(r"^(\d+)\t(\d+)$", said, re.MULTILINE):
                yield job, int(following)

    def _remember(self, logs: Iterable[EventLog]) -> None:
        """Ask the history about those that have left the queue without a word in their log."""
        gone = {log: numbers for log in logs if (numbers := log.gone)}
        now = self._clock.now()
        if not gone or now < self._history_at:
            return
        self._history_at = now + AGAIN
        ids = [f"{log.job}.{number}" for log, numbers in gone.items() for number in numbers]
        rows = self._rows(["condor_history", "-match", str(len(ids))], ids)
        for log in gone:
            log.remember(rows.get(log.job, ()))


class _Followed:
    """An event log, and when the queue is to be asked as well."""

    def __init__(self, log: EventLog, now: float) -> None:
        self.log = log
        self.used_at = now
        self._asked_at = now
        self._every, self._again = SILENT, AGAIN
        self._ask_at = now + SILENT

    def read(self, now: float) -> None:
        self.used_at = now
        if self.log.read():
            self._every, self._again = SILENT, AGAIN
            self._ask_at = min(now + SILENT, self._asked_at + LONGEST)

    def is_silent(self, now: float) -> bool:
        """Whether the queue is to be asked."""
        due = now >= (self._ask_at if self.log.is_sound else self._asked_at + self._again)
        return due and not self.log.is_over

    def asked(self, now: float) -> None:
        """It has been."""
        self._asked_at = now
        self._every, self._again = min(LONGEST, self._every * 2), min(SILENT, self._again * 2)
        self._ask_at = now + self._every
