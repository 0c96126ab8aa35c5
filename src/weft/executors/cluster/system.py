"""The questions that a batch system answers, and the plain data that it answers them with.

A batch system runs submissions: one job, or an array of them. `ClusterExecutor`, and jobs on a cluster, ask these
questions and no others; a further system is one more file that answers them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from weft.resources import Resources

__all__ = ["BatchSystem", "Busy", "Clock", "Limits", "Order", "Phase", "Refused", "Seen", "Sheet"]


class Phase(Enum):
    """Where a job stands, as far as weft needs to know."""

    PENDING = "pending"  #: It waits, or is held, or is to be run again.
    RUNNING = "running"  #: It has begun; it may be about to end.
    ENDED = "ended"


class Sheet(NamedTuple):
    """What is to be run, and with what: the script of a submission is made from it."""

    name: str  #: Unique among the jobs of this user, so that the submission can be found again by it.
    places: Sequence[int]  #: Elements of the array. One alone is no array.
    command: tuple[str, ...]  #: What each element runs; the number of the element follows as the last word.
    log: str  #: Where an element's stdout and stderr go: an absolute path; ``{place}`` in it is its number.
    directory: str  #: Where it runs.
    resources: Resources
    setup: tuple[str, ...] = ()  #: Directives of the batch system, and after them lines of shell.
    env: tuple[tuple[str, str], ...] = ()  #: Further environment variables.
    #: Passed on as they are. To Slurm, None is a bare flag, and False leaves it out; to HTCondor, None leaves it out.
    options: tuple[tuple[str, Any], ...] = ()
    throttle: int | None = None  #: At most so many elements at once.
    #: A file that is there when an element has done well, with ``{place}`` and ``{try}`` (how often it was run again)
    #: in it. Where it is not, the script must not end with exit code 0: a library of the task's may have ended the
    #: process.
    proof: str = ""
    #: For elements that do not see the files of this machine: what of a folder they need, and which folder in it they
    #: write to. All of these are absolute paths, and names of files differ.
    home: str = ""
    inputs: tuple[str, ...] = ()
    outputs: str = ""


class Order(NamedTuple):
    """One submission."""

    name: str  #: As on its sheet.
    script: str  #: The absolute path of the script, which is written, with what else there is.
    places: Sequence[int]
    #: Ids of jobs, or of their elements (``"123_4"``), to wait for, each with how: success, failure, any, each.
    after: tuple[tuple[str, str], ...] = ()
    any: bool = False  #: One of them is enough.


class Seen(NamedTuple):
    """Elements of a submission that are all in the same state."""

    job: str  #: The id of the submission.
    places: Sequence[int] | None  #: None: it is no array.
    phase: Phase
    state: str  #: In the system's own word, such as ``"PENDING"``, ``"TIMEOUT"``.
    reason: str = ""  #: Why, in its own words.
    restarts: int = 0  #: How often it was run again by the system.
    exitcode: int | None = None  #: Of one that ended by itself; 0 only where all is said to be well.
    signal: int | None = None  #: The number of the one that ended it.


class Limits(NamedTuple):
    """What the system takes."""

    array: int  #: Most elements of one submission.


class Refused(Exception):  # noqa: N818 - an answer
    """The system will never take it; the text is what it said."""


class Busy(Exception):  # noqa: N818 - an answer
    """Not now. The text is what was said.

    Args:
        full: the user has as many jobs as the site lets anybody have; else nobody answers, or too slowly.
        unsure: it may have been taken nevertheless.
    """

    def __init__(self, text: str, *, full: bool = False, unsure: bool = False) -> None:
        super().__init__(text)
        self.full = full
        self.unsure = unsure


class Clock:
    """Time, and waiting. Another one stands in for it where a test is to decide what time it is."""

    def now(self) -> float:
        """Seconds since some moment; they only grow."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """With the condition's lock held: until it is notified, or so many seconds have gone by. None: no limit."""
        condition.wait(seconds)


class BatchSystem(Protocol):
    """What `ClusterExecutor` asks. All is called by one thread at a time; what runs commands may take its time.

    Each may raise `Busy`.
    """

    #: What it is called, such as ``"slurm"``.
    name: str
    clock: Clock
    #: Words of the user's that it takes as they are; whatever else it knows goes into ``setup=``.
    passes: tuple[str, ...]
    #: Whether its jobs see the files of this machine; otherwise what they need and leave is carried, see `Sheet.home`.
    shares_files: bool
    #: Whether it can be told what a submission waits for, see `Order.after`.
    orders: bool

    def check(self, sheet: Sheet) -> None:
        """Before anything has started: raise ChoiceError or ArgumentError for options that it does not take."""

    def limits(self) -> Limits:
        """What it takes; asked once."""

    def files(self, sheet: Sheet, path: str) -> dict[str, str]:
        """The files of a submission, by their paths, for people to read and to submit by hand.

        Args:
            sheet: what they are to say.
            path: of the script that an element runs, absolute. What there is besides lies beside it.
        """

    def submit(self, order: Order) -> str:
        """Submit a script; returns the id. Raises Refused."""

    def find(self, name: str) -> str | None:
        """The id of the submission with this name; None where there is none."""

    def look(self, jobs: Mapping[str, str]) -> list[Seen]:
        """What of these submissions waits or runs: one query for all of them. What it does not name has ended.

        Args:
            jobs: ids, each with the path of its script.
        """

    def inquire(self, jobs: Mapping[str, str]) -> list[Seen]:
        """What became of the elements that have ended, as far as anybody remembers; see `look`."""

    def verdict(self, end: Seen, tail: str) -> tuple[str, str]:
        """What an element that left no outcome died of, by all evidence: a word, and a sentence for people.

        The word is a `weft.resources.Cause`, or ``"cancelled"``, or ``"held"``: it will never run by itself; or
        ``"unstarted"``: not a line of its script has run, through no fault of its own. One that waits will never run,
        either, with any word but ``"died"``. The sentence has the element for its "it", and no full stop: ``"it was
        killed by SIGKILL (FAILED)"``.

        Args:
            end: as `inquire` or `look` has it.
            tail: the last lines of its log.
        """

    def element(self, job: str, places: Sequence[int], place: int) -> str:
        """What an element of a submission with these places is called there, such as ``"123_4"``."""

    def cancel(self, places: Mapping[str, Collection[int] | None]) -> None:
        """Cancel these elements of these submissions (None: all), whether they wait, run or have ended."""
