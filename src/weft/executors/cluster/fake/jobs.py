"""Submissions and their elements: what is known of them, and what follows from that alone."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from weft.executors.cluster.system import Phase, Seen

if TYPE_CHECKING:
    from weft.executors.cluster.fake.attempts import Attempt
    from weft.executors.cluster.fake.directives import Wants

__all__ = ["HOWS", "Edge", "Element", "Fate", "Job", "gathered"]

HOWS = ("success", "failure", "any", "each")


class Fate(NamedTuple):
    """What becomes of an element when its process has gone, whatever that ended with."""

    state: str  #: ``"PENDING"``: it waits once more.
    reason: str = ""
    status: tuple[int | None, int | None] | None = None  #: Exit code and signal. None: those of the process.
    delay: float = 0.0  #: Seconds until it may run again.


class Element:
    """One element of an array, or a job that is none."""

    __slots__ = (
        *("attempt", "by_dependency", "ended", "exitcode", "fate", "forgotten", "held", "job", "later", "nameless"),
        *("overlooked", "place", "raw", "reason", "restarts", "signal", "state"),
    )

    def __init__(self, job: Job, place: int) -> None:
        self.job = job
        self.place = place
        self.raw = ""  # an id, once it has a record of its own, which comes with its start
        self.state = "PENDING"
        self.reason = ""  # of one that has ended; why one waits is found out when somebody asks
        self.held = ""  # why it must not start
        self.later = 0.0  # before this time it must not
        self.restarts = 0
        self.attempt: Attempt | None = None  # while it runs
        self.fate: Fate | None = None  # it is being ended
        self.ended: float | None = None  # when
        self.exitcode: int | None = None
        self.signal: int | None = None
        self.by_dependency = False  # it was cancelled since what it waits for cannot come
        self.nameless = False  # its record is that of the array, with no number
        self.overlooked = 0  # so many times it is not told of
        self.forgotten = 0  # 1: by the controller, 2: by the records too

    @property
    def phase(self) -> Phase:
        if self.ended is not None:
            return Phase.ENDED
        return Phase.PENDING if self.state == "PENDING" else Phase.RUNNING


class Edge(NamedTuple):
    """A job that another one waits for, and how."""

    parent: Job
    how: str
    place: int | None = None  #: The only element that it waits for.

    def answer(self, place: int) -> bool | None:
        """Whether an element may start for all of this; None: it is not known yet."""
        parent = self.parent
        one = place if self.how == "each" and parent.array else self.place
        if one is None:
            over, good = not parent.left, not parent.bad
        elif (element := parent.elements.get(one)) is not None:
            over, good = element.ended is not None, element.state == "COMPLETED"
        else:
            return True  # as with a job that nobody knows
        return (self.how == "any" or good == (self.how != "failure")) if over else None


class Job:
    """One submission.

    Args:
        number: its id.
        name: of the job.
        wants: what its script asks for.
        script: where the copy of its script lies.
        places: numbers of its elements.
        environ: of the process that submitted it.
        directory: the same.
        edges: the jobs that it waits for.
        any: one of them is enough.
        kill_invalid: it is cancelled when what it waits for cannot come.
    """

    def __init__(
        self,
        number: int,
        name: str,
        wants: Wants,
        script: Path,
        places: Sequence[int],
        environ: Mapping[str, str],
        directory: str,
        edges: Sequence[Edge],
        any: bool,
        kill_invalid: bool,
    ) -> None:
        self.id = str(number)
        self.name = name
        self.wants = wants
        self.script = script
        self.array = wants.array or len(places) > 1
        self.environ = environ
        self.submitted_in = directory
        self.directory = os.path.join(directory, wants.directory)
        self.edges = edges
        self.any = any
        self.alike = all(edge.how != "each" or not edge.parent.array for edge in edges)  # all wait for the same
        self.kill_invalid = kill_invalid
        self.elements = {place: Element(self, place) for place in places}
        self.waiting = dict(self.elements)  # in order
        self.unsplit = len(places)  # of them, those that share the record of the array
        self.running = 0
        self.left = len(places)  # that have not ended
        self.bad = 0  # that have ended, and not well
        if wants.hold:
            for element in self.elements.values():
                element.held = "JobHeldUser"

    def answer(self, place: int) -> bool | None:
        """Whether what an element waits for has come (False: and cannot come); None: it is not known yet."""
        answers = [edge.answer(place) for edge in self.edges]
        decisive = self.any
        if not answers or decisive in answers:
            return decisive if answers else True
        return None if None in answers else not decisive

    def wait_again(self, element: Element) -> None:
        """It is in the queue once more, at its old place."""
        self.waiting[element.place] = element
        self.waiting = {place: self.waiting[place] for place in self.elements if place in self.waiting}

    def split(self, element: Element, number: Callable[[], int]) -> None:
        """Give one a record, and an id, of its own; the last that has none keeps those of the array."""
        if not element.raw:
            element.raw = self.id if self.unsplit == 1 else str(number())
            self.unsplit -= 1

    def chosen(self, places: Iterable[int] | None) -> list[Element]:
        """These elements, of those that there are; all for None. What is no array has no elements."""
        if places is None:
            return list(self.elements.values())
        if not self.array:
            return []
        return [self.elements[place] for place in places if place in self.elements]

    def output(self, element: Element, pattern: str, node: str) -> str:
        """Where an element writes to, by a pattern of ``sbatch``."""
        meanings = {
            "A": self.id,
            "J": element.raw,
            "N": node,
            "a": str(element.place) if self.array else str(2**32 - 2),
            "j": element.raw,
            "n": "0",
            "t": "0",
            "u": self.environ.get("USER", ""),
            "x": self.name,
        }

        def meaning(match: re.Match[str]) -> str:
            width, letter = match.groups()
            if letter == "%":
                return "%"
            return meanings[letter].zfill(min(10, int(width or 0))) if letter in meanings else match[0]

        pattern = pattern or ("slurm-%A_%a.out" if self.array else "slurm-%j.out")
        return os.path.join(self.directory, re.sub(r"%(\d*)([%A-Za-z])", meaning, pattern))

    def environment(self, element: Element, node: str) -> dict[str, str]:
        """That of an element's script."""
        wants = self.wants
        environ = {name: value for name, value in self.environ.items() if not name.startswith(("SLURM_", "SLURMD_"))}
        environ |= {
            "SLURM_CLUSTER_NAME": "fake",
            "SLURM_CPUS_ON_NODE": str(wants.cpus),
            "SLURM_JOBID": element.raw,
            "SLURM_JOB_ID": element.raw,
            "SLURM_JOB_NAME": self.name,
            "SLURM_JOB_NODELIST": node,
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_LOCALID": "0",
            "SLURM_NNODES": "1",
            "SLURM_NODEID": "0",
            "SLURM_NODELIST": node,
            "SLURM_PROCID": "0",
            "SLURM_SUBMIT_DIR": self.submitted_in,
            "SLURMD_NODENAME": node,
        }
        if self.array:
            environ |= {
                "SLURM_ARRAY_JOB_ID": self.id,
                "SLURM_ARRAY_TASK_COUNT": str(len(self.elements)),
                "SLURM_ARRAY_TASK_ID": str(element.place),
                "SLURM_ARRAY_TASK_MAX": str(max(self.elements)),
                "SLURM_ARRAY_TASK_MIN": str(min(self.elements)),
                "SLURM_ARRAY_TASK_STEP": "1",
            }
        if wants.cpus > 1:
            environ["SLURM_CPUS_PER_TASK"] = str(wants.cpus)
        if wants.memory:
            environ["SLURM_MEM_PER_NODE"] = str(wants.memory // 1024**2)
        if element.restarts:
            environ["SLURM_RESTART_COUNT"] = str(element.restarts)
        return environ


def gathered(told: Iterable[tuple[Element, Phase, str, str]]) -> list[Seen]:
    """Elements with the phase, state and reason that are told of each: one `Seen` for all of a job that are alike."""
    alike: dict[tuple[object, ...], tuple[Seen, list[int] | None]] = {}
    for element, phase, state, reason in told:
        job = element.job
        end = (element.exitcode, element.signal) if phase is Phase.ENDED else (None, None)
        if end[0] == 0 and state != "COMPLETED":
            end = (None, end[1])
        key = (job.id, state, reason, element.restarts, element.nameless, *end)
        if key not in alike:
            seen = Seen(job.id, None, phase, state, reason, element.restarts, *end)
            alike[key] = seen, [] if job.array and not element.nameless else None
        places = alike[key][1]
        if places is not None:
            places.append(element.place)
    return [seen if places is None else seen._replace(places=_short(places)) for seen, places in alike.values()]


def _short(places: list[int]) -> Sequence[int]:
    whole = range(places[0], places[-1] + 1)
    return whole if len(whole) == len(places) else places
