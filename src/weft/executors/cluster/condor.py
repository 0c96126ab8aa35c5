"""HTCondor, asked by its own commands, and told by the event logs of its jobs.

What becomes of jobs is written into their event logs, so a look is a look into files, and asks nobody. The queue is
asked where a log has been silent for long, or cannot be trusted; the history, where a job has left the queue and its
log does not say how.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from weft.errors import ChoiceError
from weft.executors.cluster import condor_text as text
from weft.executors.cluster.command import Commands, in_lines, run
from weft.executors.cluster.condor_log import EventLog
from weft.executors.cluster.condor_options import PASSES, names_in, refuse_folder, refuse_mistakes, refuse_unused
from weft.executors.cluster.condor_script import (
    description,
    description_of,
    events_of,
    facts_in,
    script_of,
)
from weft.executors.cluster.condor_verdict import verdict
from weft.executors.cluster.system import Busy, Clock, Limits, Order, Phase, Refused, Seen, Sheet
from weft.rundir.place import safe_name

__all__ = ["CondorSystem"]

LOGGER = logging.getLogger("weft")

COMMANDS = ("condor_submit", "condor_q", "condor_rm", "condor_history")
TIMEOUT = 60.0  # seconds; they wait 20 themselves for a daemon that does not answer, and condor_submit for ever
MOST = 20_000  # elements of a submission where the configuration does not say
SILENT, LONGEST = 60.0, 600.0  # seconds without a word of a log after which the queue is asked: at first, and at last
AGAIN = 5.0  # seconds between two questions about a log that cannot be trusted, at first; or to the history
UNUSED = 600.0  # seconds after which a log that nobody asks for is forgotten


class CondorSystem:
    """Answers the questions of `BatchSystem` for the pool that this machine's HTCondor commands speak to.

    An id is that of a cluster of jobs, such as ``"123"``; an element of it is ``"123.4"``.

    Args:
        transfer: nodes do not see the files of this machine: what jobs need and leave is carried there and back.
        clock: default: the real one.
        timeout: seconds that a command has.
    """

    name = "condor"
    passes = PASSES

    def __init__(self, *, transfer: bool = False, clock: Clock | None = None, timeout: float = TIMEOUT) -> None:
        self.clock = clock or Clock()
        self.shares_files = not transfer
        self._commands = Commands(timeout, _asking, text.tidy)
        self._checked: set[str] = set()
        self._followed: dict[str, _Followed] = {}
        self._history_at = 0.0

    # What it takes

    def check(self, sheet: Sheet) -> None:
        """Raise ChoiceError or ArgumentError for what condor_submit does not take, without asking the pool."""
        missing = [command for command in COMMANDS if shutil.which(command) is None]
        if missing:
            raise ChoiceError(
                f"{missing[0]} is not found on this machine, so nothing can be submitted to HTCondor from here: "
                "run this where HTCondor's commands are on the PATH, such as on an access point of the pool"
            )
        transfer = not self.shares_files
        refuse_folder(sheet.home)
        refuse_mistakes(sheet, transfer=transfer)
        nowhere = sheet._replace(home="/tmp", inputs=(), outputs="/tmp/outcomes", log="/tmp/log")
        words = description(nowhere, "/tmp/script.sh", transfer=transfer)
        if words not in self._checked:
            self._refuse_unknown(words, names_in(sheet))
            self._checked.add(words)

    def _refuse_unknown(self, words: str, names: dict[str, str]) -> None:
        try:
            answer = self._commands.run("condor_submit", "-dry-run", os.devnull, "-", stdin=words)
        except Busy:
            return
        refuse_unused(answer.stderr, names)
        if answer.code and not isinstance(text.refusal(answer.stderr), Busy):
            raise ChoiceError(f"condor_submit does not take that: {answer.complaint}")

    def limits(self) -> Limits:
        """The most elements of one submission."""
        said = self._commands.run("condor_config_val", "MAX_JOBS_PER_SUBMISSION").stdout.strip()
        return Limits(max(1, int(said)) if said.isdecimal() else MOST)

    # Submitting

    def files(self, sheet: Sheet, path: str) -> dict[str, str]:
        """A submit description, and the script that it runs."""
        transfer = not self.shares_files
        return {
            description_of(path): description(sheet, path, transfer=transfer),
            path: script_of(sheet, transfer=transfer),
        }

    def submit(self, order: Order) -> str:
        """Submit it. Raises Refused; Busy, also where it may have been taken."""
        if order.after:
            raise Refused("HTCondor has no dependencies between jobs, but for those of a DAG")
        path = description_of(order.script)
        if not os.path.exists(path):
            raise Refused(f"the description to submit is gone: {path}")
        try:
            refuse_folder(os.path.dirname(path))  # there are expressions with $$ that end the daemon
        except ChoiceError as error:
            raise Refused(str(error)) from None
        answer = run(
            ["condor_submit", "-terse", os.path.basename(path)],
            timeout=self._commands.timeout,
            environment=dict(os.environ),
            directory=os.path.dirname(path),
        )
        job = text.read_id(answer.stdout)
        if job is not None:
            self._follow(job, order.script)
            return job
        if answer.cut:
            raise Busy(text.tidy(answer.stderr) or "condor_submit took too long", unsure=True)
        raise text.refusal(answer.stderr)

    def find(self, name: str) -> str | None:
        """The id of the newest submission with this name, as far as the queue or the history remembers."""
        words = ["-constraint", f'JobBatchName == "{safe_name(name)}"', "-af", "ClusterId"]
        for command in (["condor_q"], ["condor_history", "-limit", "1"]):
            found = {int(line) for line in self._commands.ask(*command, *words).split() if line.isdecimal()}
            if found:
                return str(max(found))
        return None

    # Looking

    def look(self, jobs: Mapping[str, str]) -> list[Seen]:
        """What of these waits or runs, by their event logs."""
        return [seen for seen in self._told(jobs, asks=True) if seen.phase is not Phase.ENDED]

    def inquire(self, jobs: Mapping[str, str]) -> list[Seen]:
        """Who has ended, by the event logs, and else by the history."""
        self._remember([followed for job in jobs if (followed := self._followed.get(job)) is not None])
        return [seen for seen in self._told(jobs, asks=False) if seen.phase is Phase.ENDED]

    def _told(self, jobs: Mapping[str, str], *, asks: bool) -> list[Seen]:
        now = self.clock.now()
        logs = [log for job, script in jobs.items() if (log := self._follow(job, script)) is not None]
        for followed in logs:
            followed.read(now)
        if asks:
            silent = [followed for followed in logs if followed.is_silent(now)]
            if silent:
                self._ask(silent, now)
            for job in [job for job, one in self._followed.items() if now - one.used_at > UNUSED]:
                del self._followed[job]
        return [seen for followed in logs for seen in followed.log.seen()]

    def _follow(self, job: str, script: str) -> _Followed | None:
        """None for one whose folder is gone: there is nothing that could be known of it."""
        followed = self._followed.get(job)
        if followed is None:
            try:
                with open(description_of(script), encoding="utf-8", errors="surrogateescape") as file:
                    facts = facts_in(file.read())
            except (OSError, ValueError):
                return None
            followed = self._followed[job] = _Followed(EventLog(job, events_of(script), facts), self.clock.now())
        return followed

    def _ask(self, silent: Sequence[_Followed], now: float) -> None:
        """The queue, about all of these at once."""
        rows = self._rows(["condor_q"], [one.log.job for one in silent])
        late = [one.log.job for one in silent if one.log.facts.throttled]
        coming = dict(self._coming(late)) if late else {}
        for one in silent:
            log = one.log
            following = coming.get(log.job) if log.facts.throttled else None
            log.compare([row for row in rows if row.job == log.job], next_number=following)
            one.asked(now)
            one.read(now)  # what is newer than the answer

    def _rows(self, command: Sequence[str], ids: Iterable[str]) -> list[text.Row]:
        rows = []
        for part in in_lines(ids):
            rows += text.read_rows(self._commands.ask(*command, *part, "-af:t", *text.FIELDS))
        return rows

    def _coming(self, jobs: Iterable[str]) -> Iterator[tuple[str, int]]:
        """Of those that come into the queue little by little: the number of the one that comes next."""
        for part in in_lines(jobs):
            said = self._commands.ask("condor_q", "-factory", *part, "-af:t", "ClusterId", "JobMaterializeNextProcId")
            for job, following in re.findall(r"^(\d+)\t(\d+)$", said, re.MULTILINE):
                yield job, int(following)

    def _remember(self, followed: Sequence[_Followed]) -> None:
        """Ask the history about those that have left the queue without a word in their log."""
        gone = {one.log: one.log.gone for one in followed}
        ids = [f"{log.job}.{number}" for log, numbers in gone.items() for number in numbers]
        now = self.clock.now()
        if not ids or now < self._history_at:
            return
        self._history_at = now + AGAIN
        rows = self._rows(["condor_history", "-match", str(len(ids))], ids)
        for log in gone:
            log.remember(row for row in rows if row.job == log.job)

    def verdict(self, end: Seen, tail: str) -> tuple[str, str]:
        """What an element died of."""
        return verdict(end, tail)

    def element(self, job: str, places: Sequence[int], place: int) -> str:
        """As condor_q and condor_rm have it."""
        return f"{job}.{places.index(place)}"

    # Cancelling

    def cancel(self, places: Mapping[str, Collection[int] | None]) -> None:
        """Remove them, with as few condor_rm as there is room for. What has ended, or nobody knows, is passed over."""
        busy = None
        for words in in_lines(self._ids(places)):
            answer = self._commands.run("condor_rm", *words)
            wrong = [line for line in answer.stderr.splitlines() if not OVER.search(line)] if answer.code else []
            for line in wrong:
                if isinstance(text.refusal(line), Busy):
                    busy = Busy(line)  # the others may get through
                else:
                    LOGGER.warning("not removed: %s", line)
        if busy is not None:
            raise busy

    def _ids(self, places: Mapping[str, Collection[int] | None]) -> Iterator[str]:
        for job, elements in places.items():
            if elements is None:
                yield job
            else:
                numbers = self._numbers(job)
                yield from (f"{job}.{numbers[place]}" for place in elements if place in numbers)

    def _numbers(self, job: str) -> Mapping[int, int]:
        """HTCondor's numbers of elements."""
        followed = self._followed.get(job)
        if followed is not None:
            return {place: number for number, place in enumerate(followed.log.facts.places)}
        place = "ifThenElse(WeftPlace =!= undefined, WeftPlace, ProcId)"
        said = self._commands.ask("condor_q", job, "-af:t", place, "ProcId")
        return {int(place): int(number) for place, number in re.findall(r"^(\d+)\t(\d+)$", said, re.MULTILINE)}


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


OVER = re.compile(r"not found|no jobs in the queue|Couldn't find/remove all jobs|already")


def _asking() -> dict[str, str]:
    """Plain English."""
    return {**os.environ, "LC_ALL": "C"}
