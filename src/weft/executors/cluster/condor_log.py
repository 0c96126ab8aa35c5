"""The event log of a submission, in which HTCondor writes what becomes of its elements; read on from where it was left.

An event is some lines, the last of which is ``...``::

    005 (011.001.000) 2026-11-25 13:59:46 Job terminated.
        (1) Normal termination (return value 1)
    ...

A log is nobody's property: it may be cut short, replaced, or removed, by a clean-up or a full disk; then what it has
said so far stays known, and the queue is to be asked what is missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping

from weft.executors.cluster.condor_script import Facts
from weft.executors.cluster.condor_text import IDLE, RUNNING, Row, Standing, held
from weft.executors.cluster.system import Phase, Seen

__all__ = ["EventLog"]

PIECE = 1 << 20  # bytes that are read at once
END = b"\n...\n"
LONGEST = 1 << 22  # bytes of an event
KNOWN = 16  # bytes that are looked at once more, to see whether it is the same log


class EventLog:
    """Where the elements of a submission stand.

    Args:
        job: the id of the submission.
        path: of the log.
        facts: what the submission is.

    Attributes:
        bytes_read: in all.
        is_sound: whether nothing of it has been lost since the queue was asked, as far as can be seen.
    """

    def __init__(self, job: str, path: str, facts: Facts) -> None:
        self.job = job
        self.path = path
        self.facts = facts
        self.bytes_read = 0
        self.is_sound = True
        self._was_there = False
        self._inode = 0
        self._offset = 0
        self._last = b""  # bytes before the offset
        self._rest = b""  # of what was read: an event that is not whole yet
        self._standings: dict[int, Standing] = {}  # by HTCondor's numbers; the others are idle
        self._starts: dict[int, int] = {}
        self._seen: list[Seen] | None = None

    # Reading --------------------------------------------------------------------------------------------------

    def read(self) -> bool:
        """Take in the events that are new; whether there were any."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                facts = os.fstat(file)
                if facts.st_ino != self._inode or not self._goes_on(file, facts.st_size):
                    self._begin_anew(facts.st_ino)
                return self._read_on(file, facts.st_size)
            finally:
                os.close(file)
        except OSError:  # not there yet; or not any more, and HTCondor may go on writing into what nobody can read
            self._begin_anew(0)
            self.is_sound = self.is_sound and not self._was_there
            return False

    def _goes_on(self, file: int, size: int) -> bool:
        """Whether it is as it was, with more behind it: one that was emptied may have grown beyond where we were."""
        if size <= self._offset:
            return size == self._offset
        return os.pread(file, len(self._last), self._offset - len(self._last)) == self._last

    def _begin_anew(self, inode: int) -> None:
        if self._offset:
            self.is_sound = False
            # What is counted twice would be a try that never was, and its outcome would be waited for. Better too low.
            self._starts.clear()
            self._seen = None
        self._inode, self._offset, self._last, self._rest = inode, 0, b"", b""

    def _read_on(self, file: int, size: int) -> bool:
        speaks = False
        while self._offset < size and (piece := os.pread(file, PIECE, self._offset)):
            self._was_there = True
            self._offset += len(piece)
            self.bytes_read += len(piece)
            self._last = (self._last + piece)[-KNOWN:]
            whole, end, self._rest = (self._rest + piece).rpartition(END)
            if end:
                speaks = self._take(whole.decode(errors="replace")) or speaks
            if len(self._rest) > LONGEST:  # it is something else
                self.is_sound, self._rest = False, b""
        return speaks

    def _take(self, text: str) -> bool:
        speaks = False
        for event in text.split(END.decode()):
            match = _EVENT.match(event)
            if match is None:
                self.is_sound = False
            elif int(match[2]) == int(self.job):  # whoever submits it by hand as well writes there, too
                self._note(match[1], int(match[3]), event[match.end() :])
                speaks = True
        return speaks

    def _note(self, kind: str, number: int, body: str) -> None:
        if kind == CLUSTER_REMOVED:  # what had not come into the queue never will
            gone = Standing(Phase.ENDED, "REMOVED", "before it came into the queue")
            for other in range(len(self.facts.places)):
                if other not in self._standings:
                    self._stand(other, gone)
        elif kind in STEPS:
            if kind == EXECUTE:
                self._starts[number] = self._starts.get(number, 0) + 1
                self._seen = None
            self._stand(number, STEPS[kind](body))

    def _stand(self, number: int, standing: Standing) -> None:
        """What has ended does not begin again, whatever an old copy of the log says."""
        if standing.state == "HELD" and self.facts.releases:  # by an expression of the user's, so this is not the end
            standing = standing._replace(reason=standing.reason.rpartition(" (Code")[0])
        known = self._standings.get(number, IDLE)
        if known.phase is not Phase.ENDED or known == GONE:
            self._standings[number] = standing
            if standing != known:
                self._seen = None

    # What others know -----------------------------------------------------------------------------------------

    def compare(self, rows: Iterable[Row], *, next_number: int | None) -> None:
        """Take in what the queue has of it. What it has not, though it has not ended by the log, is gone.

        Args:
            rows: of the queue.
            next_number: from this one on, elements have not come into the queue yet; None: all have.
        """
        there = {row.number: row for row in rows}
        for number in range(len(self.facts.places)):
            known = self._standings.get(number, IDLE)
            if known.phase is Phase.ENDED or (next_number is not None and number >= next_number):
                continue
            if number not in there:
                self._stand(number, GONE)
            else:
                self._adopt(there[number], known)
        self.is_sound = True

    def _adopt(self, row: Row, known: Standing) -> None:
        if row.standing.phase is not known.phase or row.standing.state == "HELD":
            self._stand(row.number, row.standing)
        if row.starts > self._starts.get(row.number, 0):
            self._starts[row.number] = row.starts
            self._seen = None

    def remember(self, rows: Iterable[Row]) -> None:
        """Take in what the history has of those that are gone."""
        for row in rows:
            if self._standings.get(row.number) == GONE and row.standing.phase is Phase.ENDED:
                self._standings[row.number] = row.standing
                self._seen = None

    @property
    def gone(self) -> list[int]:
        """HTCondor's numbers of those that have left the queue, and nobody has said how."""
        return [number for number, standing in self._standings.items() if standing == GONE]

    @property
    def is_over(self) -> bool:
        """Whether all have ended."""
        return all(self._standings.get(number, IDLE).phase is Phase.ENDED for number in range(len(self.facts.places)))

    # Telling --------------------------------------------------------------------------------------------------

    def seen(self) -> list[Seen]:
        """Where all stand; but of those that are gone nothing is said."""
        if self._seen is None:
            self._seen = self._gathered()
        return self._seen

    def _gathered(self) -> list[Seen]:
        groups: dict[tuple[Standing, int], list[int]] = {}
        places = self.facts.places
        for number, place in enumerate(places):
            standing = self._standings.get(number, IDLE)
            starts = self._starts.get(number, 0)
            # What is to be run again has had its earlier tries: whatever these leave now is a ghost's.
            tries = starts if standing.state == "IDLE" else max(0, starts - 1)
            groups.setdefault((standing, tries), []).append(place)
        found = []
        for (standing, tries), members in groups.items():
            if standing != GONE:
                which = None if len(places) == 1 else places if len(members) == len(places) else members
                found.append(Seen(self.job, which, *standing[:3], tries, *standing[3:]))
        return found


GONE = Standing(Phase.ENDED, "", "left the queue")

# The first line of an event; dates have several forms.
_EVENT = re.compile(r"\s*(\d{3}) \((\d{1,9})\.(-?\d{1,9})\.-?\d+\) [^\n]*\n?", re.ASCII)
EXECUTE, CLUSTER_REMOVED = "001", "036"


def _first_line(body: str) -> str:
    return body.strip().partition("\n")[0].strip()


def _terminated(body: str) -> Standing:
    if match := re.search(r"Normal termination \(return value (\d+)\)", body):
        return Standing(Phase.ENDED, "COMPLETED", exitcode=int(match[1]))
    match = re.search(r"Abnormal termination \(signal (\d+)\)", body)
    return Standing(Phase.ENDED, "COMPLETED", signal=int(match[1]) if match else None)


def _held(body: str) -> Standing:
    code = re.search(r"^\s*Code (\d+) Subcode (\d+)", body, re.MULTILINE)
    return held(_first_line(body), *(code.groups() if code else ("0", "0")))


def _why(standing: Standing) -> Callable[[str], Standing]:
    return lambda body: standing._replace(reason=_first_line(body))


STEPS: Mapping[str, Callable[[str], Standing]] = {
    "000": lambda _: IDLE,  # submitted
    EXECUTE: lambda _: RUNNING,
    "004": lambda _: IDLE,  # evicted
    "005": _terminated,
    "007": _why(IDLE),  # the process that looks after it has failed
    "009": _why(Standing(Phase.ENDED, "REMOVED")),
    "010": lambda _: RUNNING._replace(state="SUSPENDED"),
    "011": lambda _: RUNNING,  # unsuspended
    "012": _held,
    "013": lambda _: IDLE,  # released
    "022": _why(RUNNING),  # its node does not answer
    "023": lambda _: RUNNING,  # it does again
    "024": _why(IDLE),  # it is given up
}
