"""Slurm, asked by its own commands: sbatch, squeue, sacct, scancel, scontrol."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from weft.errors import ChoiceError
from weft.executors.cluster import slurm_text as text
from weft.executors.cluster.command import in_lines, run
from weft.executors.cluster.slurm_command import SlurmCommands, submitting
from weft.executors.cluster.slurm_options import PASSES, clusters_in, command_line, options_in, refuse_mistakes
from weft.executors.cluster.slurm_script import script_of
from weft.executors.cluster.slurm_verdict import verdict
from weft.executors.cluster.system import Busy, Clock, Limits, Order, Phase, Refused, Seen, Sheet
from weft.rundir.place import safe_name

__all__ = ["SlurmSystem"]

LOGGER = logging.getLogger("weft")

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol")
TIMEOUT = 60.0  # seconds; they give up themselves after twice MessageTimeout, 20 s where nobody has changed it
SPELLED = 4096  # characters in which sbatch takes the elements of an array
AFTER = {"success": "afterok", "failure": "afternotok", "any": "afterany", "each": "aftercorr"}


class SlurmSystem:
    """Answers the questions of `BatchSystem` for the cluster that this machine's Slurm commands speak to.

    An id is ``"123"``, or ``"123;cluster"`` where the user's options or environment choose a cluster.
    """

    name = "slurm"
    passes = PASSES
    shares_files = True
    orders = True

    def __init__(self, *, clock: Clock | None = None, timeout: float = TIMEOUT) -> None:
        self.clock = clock or Clock()
        self._commands = SlurmCommands(timeout)
        self._checked: set[tuple[str, ...]] = set()
        self._clusters = {""}  # The default one, and those that options have named.
        self._misses_sacct = False

    # What it takes

    def check(self, sheet: Sheet) -> None:
        """Raise ChoiceError or ArgumentError for what sbatch does not take, without asking the controller."""
        missing = [command for command in COMMANDS if shutil.which(command) is None]
        if missing:
            raise ChoiceError(
                f"{missing[0]} is not found on this machine, so nothing can be submitted to Slurm from here: "
                "run this where Slurm's commands are on the PATH, such as on a login node of the cluster"
            )
        refuse_mistakes(sheet)
        words = tuple(command_line(sheet))
        if words and words not in self._checked:
            self._refuse_unknown(words)
            self._checked.add(words)
        self._clusters |= clusters_in(words)

    def _refuse_unknown(self, words: Sequence[str]) -> None:
        # With --usage it reads all options, those of a site's own plugins too, and says what it does not understand.
        try:
            answer = self._commands.run("sbatch", *words, "--usage")
        except Busy:
            return
        if answer.code and not isinstance(text.refusal(answer.stderr), Busy):
            raise ChoiceError(f"sbatch does not take {' '.join(words)!r:.200}: {answer.complaint}")

    def limits(self) -> Limits:
        """The size of the largest array; its largest element is one less."""
        config = self._commands.configuration()
        most = [int(found) for found in re.findall(r"\bmax_array_tasks=(\d+)", config.get("SchedulerParameters", ""))]
        size = config.get("MaxArraySize", "")
        return Limits(max(1, min([int(size) if size.isdecimal() else 1001, *most])))

    def pieces(self, places: Sequence[int]) -> list[Sequence[int]]:
        """Elements in as few submissions as sbatch takes, which wants to read them in 4096 characters."""
        if len(",".join(text.spans(places, steps=True))) + len("%1000000") <= SPELLED:
            return [places]
        half = len(places) // 2
        return [*self.pieces(places[:half]), *self.pieces(places[half:])]

    # Submitting

    def files(self, sheet: Sheet, path: str) -> dict[str, str]:
        """A bash script, which can be submitted by hand."""
        return {path: script_of(sheet)}

    def submit(self, order: Order) -> str:
        """Submit it. Raises Refused; Busy, also where it may have been taken."""
        if not os.path.exists(order.script):
            raise Refused(f"the script to submit is gone: {order.script}")
        words = ["sbatch", "--parsable"]
        if order.after:
            words += [f"--dependency={_dependency(order)}", "--kill-on-invalid-dep=yes"]
        # Every node can see where the script is. The directory of this process may be another one by now, or be gone.
        answer = run(
            [*words, order.script],
            timeout=self._commands.timeout,
            environment=submitting(options_in(order.script)),
            directory=os.path.dirname(order.script),
            until=RETRIES,
        )
        job = text.read_id(answer.stdout)
        if job is not None:
            return job
        if answer.cut:
            said = text.tidy(answer.stderr) or "sbatch took too long"
            raise Busy(said, full=RETRIES.search(answer.stderr) is not None, unsure=True)
        raise text.refusal(answer.stderr)

    def find(self, name: str) -> str | None:
        """The id of the newest submission with this name, as far as the controller or the accounting remembers."""
        words = [f"--name={safe_name(name)}", *_mine()]
        for cluster in sorted(self._clusters, reverse=True):  # the default one last: it may be one of the others
            at = _at(cluster)
            asked = ["--noheader", "--states=all", f"--Format={text.NAMED}", *words, *at]
            found = text.read_names(self._commands.ask("squeue", *asked))
            if not found and self._commands.has_accounting():
                asked = [*SACCT, f"--format={text.NAMES}", "--starttime=now-30days", *words, *at]
                found = text.read_names(self._commands.ask("sacct", *asked))
            if found:
                return f"{found[-1]};{cluster}" if cluster else found[-1]
        return None

    # Looking

    def look(self, jobs: Collection[str]) -> list[Seen]:
        """What of these waits or runs, by one squeue."""
        return [seen for seen in self._queue(jobs) if seen.phase is not Phase.ENDED]

    def inquire(self, jobs: Collection[str]) -> list[Seen]:
        """Who has ended, by the controller as long as it remembers, and else by the accounting, which lags behind."""
        seen = self._queue(jobs, "--states=all")
        found = [one for one in seen if one.phase is Phase.ENDED]
        if self._commands.has_accounting():
            found += text.unknown(self._records(jobs), seen)
        return found

    def _queue(self, jobs: Collection[str], *words: str) -> list[Seen]:
        found = []
        for cluster, ids in _by_cluster(jobs):
            asked = ["--noheader", "--array-unique", f"--Format={text.FIELDS}", *_at(cluster), *_mine(), *words]
            answer = self._commands.run("squeue", *asked, f"--jobs={','.join(ids)}")
            # One that is asked for alone and forgotten is an error; several are an empty answer.
            if answer.code and not (len(ids) == 1 and "Invalid job id" in answer.stderr):
                raise Busy(answer.complaint)
            found += text.read_queue(answer.stdout, cluster)
        return found

    def _records(self, jobs: Collection[str]) -> list[Seen]:
        found = []
        for cluster, ids in _by_cluster(jobs):
            asked = [*SACCT, "--duplicates", f"--format={text.RECORD}", *_at(cluster), f"--jobs={','.join(ids)}"]
            try:
                found += text.read_records(self._commands.ask("sacct", *asked), cluster)
            except Busy as error:  # It is a second source, and its database may be away for days.
                LOGGER.log(logging.DEBUG if self._misses_sacct else logging.WARNING, "sacct does not answer: %s", error)
                self._misses_sacct = True
            else:
                self._misses_sacct = False
        return found

    def verdict(self, end: Seen, tail: str) -> tuple[str, str]:
        """What an element died of."""
        return verdict(end, tail)

    def element(self, job: str, places: Sequence[int], place: int) -> str:
        """As squeue and scancel have it."""
        return job if len(places) == 1 else f"{job}_{place}"

    # Cancelling

    def cancel(self, places: Mapping[str, Collection[int] | None]) -> None:
        """Cancel them, with as few scancel as there is room for. What has ended, or nobody knows, is passed over.

        A submission of one element is no array, so it is to be named as a whole: scancel finds no element in it.
        """
        busy = None
        for cluster, ids in _by_cluster(places):
            for words in in_lines(_cancelled(ids, places, cluster)):
                try:
                    self._cancel([*_at(cluster), *words])
                except Busy as error:  # the others may get through
                    busy = error
        if busy is not None:
            raise busy

    def _cancel(self, words: Sequence[str]) -> None:
        answer = self._commands.run("scancel", *words)
        if answer.code == 0:
            return
        for line in answer.complaint.splitlines():
            if isinstance(text.refusal(line), Busy):
                raise Busy(line)
            if not any(words in line for words in OVER):
                LOGGER.warning("not cancelled: %s", line)


RETRIES = re.compile(r"sleeping and retrying|temporarily disabled, retrying")
SACCT = ("--allocations", "--noheader", "--parsable2")
OVER = ("Invalid job id specified", "already completing or completed", "already finished")


def _dependency(order: Order) -> str:
    # In Slurm's words one "?" makes all of them alternatives, so each id stands on its own.
    return ("?" if order.any else ",").join(f"{AFTER[how]}:{job.partition(';')[0]}" for job, how in order.after)


def _mine() -> list[str]:
    """Has the controller send this user's jobs only, not those of all. Root may look at anybody's."""
    return [f"--user={os.geteuid()}"] if os.geteuid() else []


def _at(cluster: str) -> list[str]:
    return [f"--clusters={cluster}"] if cluster else []


def _by_cluster(jobs: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Plain ids, by cluster, and in as many pieces as command lines need."""
    clusters: dict[str, list[str]] = {}
    for job in jobs:
        plain, _, cluster = job.partition(";")
        clusters.setdefault(cluster, []).append(plain)
    for cluster, ids in clusters.items():
        for part in in_lines(ids):
            yield cluster, part


def _cancelled(ids: Iterable[str], places: Mapping[str, Collection[int] | None], cluster: str) -> Iterator[str]:
    """The words for scancel: 123, or 123_[0-9,12]."""
    for job in ids:
        elements = places[f"{job};{cluster}" if cluster else job]
        if elements is None:
            yield job
            continue
        for part in in_lines(text.spans(elements)):
            yield f"{job}_[{','.join(part)}]"
