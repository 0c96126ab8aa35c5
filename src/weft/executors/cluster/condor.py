"""HTCondor, asked by its own commands, and told by the event logs of its jobs."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence

from weft.errors import ChoiceError
from weft.executors.cluster import condor_text as text
from weft.executors.cluster.command import Commands, in_lines, run
from weft.executors.cluster.condor_follow import Follower
from weft.executors.cluster.condor_options import PASSES, names_in, refuse_folder, refuse_mistakes, refuse_unused
from weft.executors.cluster.condor_script import description, description_of, script_of
from weft.executors.cluster.condor_verdict import verdict
from weft.executors.cluster.system import Busy, Clock, Limits, Order, Phase, Refused, Seen, Sheet
from weft.rundir.place import safe_name

__all__ = ["CondorSystem"]

LOGGER = logging.getLogger("weft")

COMMANDS = ("condor_submit", "condor_q", "condor_rm", "condor_history")
TIMEOUT = 60.0  # seconds; they wait 20 themselves for a daemon that does not answer, and condor_submit for ever
MOST = 20_000  # elements of a submission where the configuration does not say


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
    orders = False

    def __init__(self, *, transfer: bool = False, clock: Clock | None = None, timeout: float = TIMEOUT) -> None:
        self.clock = clock or Clock()
        self.shares_files = not transfer
        self._commands = Commands(timeout, _asking, text.tidy)
        self._checked: set[str] = set()
        self._follower = Follower(self._commands, self.clock)

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
        """The most elements of one submission; a pool that would run none is told of, in the log of weft."""
        if self.shares_files:
            self._warn_of_strangers()
        said = self._commands.run("condor_config_val", "MAX_JOBS_PER_SUBMISSION").stdout.strip()
        return Limits(max(1, int(said)) if said.isdecimal() else MOST)

    def _warn_of_strangers(self) -> None:
        """Jobs that see the files of here run on machines of the same FILESYSTEM_DOMAIN only: without one they wait."""
        machine = ["condor_status", "-limit", "1", "-af", "FileSystemDomain"]
        try:
            domain = self._commands.ask("condor_config_val", "FILESYSTEM_DOMAIN").strip()
            if self._commands.ask(*machine, "-constraint", f'FileSystemDomain == "{domain}"').strip():
                return
            other = self._commands.ask(*machine).strip()
        except Busy:
            return
        if other:  # else there is no machine at all, for now
            LOGGER.warning(
                "no machine of the pool shares a file system with this one (its FILESYSTEM_DOMAIN is %s, here it is "
                "%s), so jobs will wait; say transfer=True to have files carried to them",
                other,
                domain,
            )

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
            self._follower.follow(job, order.script)
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
        return [seen for seen in self._follower.look(jobs) if seen.phase is not Phase.ENDED]

    def inquire(self, jobs: Mapping[str, str]) -> list[Seen]:
        """Who has ended, by the event logs, and else by the history."""
        return [seen for seen in self._follower.inquire(jobs) if seen.phase is Phase.ENDED]

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
        facts = self._follower.facts(job)
        if facts is not None:
            return {place: number for number, place in enumerate(facts.places)}
        place = "ifThenElse(WeftPlace =!= undefined, WeftPlace, ProcId)"
        said = self._commands.ask("condor_q", job, "-af:t", place, "ProcId")
        return {int(place): int(number) for place, number in re.findall(r"^(\d+)\t(\d+)$", said, re.MULTILINE)}


OVER = re.compile(r"not found|no jobs in the queue|Couldn't find/remove all jobs|already")


def _asking() -> dict[str, str]:
    """Plain English."""
    return {**os.environ, "LC_ALL": "C"}
