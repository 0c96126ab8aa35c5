"""What jobs returned, written down where they ran, before anybody is told.

The driver of a run may be killed between the end of a job and the news of it; so it is not the driver that records, but
the process that ran the job: it appends to a file of its own in ``outcomes/``, one call of write() for each job::

    length of the body (4 bytes) | signature (32) | body: pickled (key, place, time, ok, stamp, value or None)

A value of more than `LARGE` bytes lies in ``tasks/<key>/outcome``, signed, and the body has None in its place.

What a batch system runs is a process for each try, so its file says in its name which try of what it is. Of several
tries the last one counts, whenever they end: an earlier one may go on as a ghost on a node that was given up.
"""

from __future__ import annotations

import os
import pickle
import struct
import threading
import time
from pathlib import Path
from typing import NamedTuple

from weft.rundir.place import check_file, make_folder, open_new, safe_name, write_all, write_atomic
from weft.rundir.seal import SIZE, Signer, seal, unseal

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["LARGE", "Attempt", "Outcome", "Recorder", "read_file", "read_outcomes", "task_folder", "task_name"]

LARGE = 64 * 1024  # bytes
LENGTH = struct.Struct("<I")


def task_name(key: str, place: int | None) -> str:
    """What a job, or an element of its array, is called among files."""
    return key if place is None else f"{key}.{place}"


def task_folder(run: Path, key: str, place: int | None) -> Path:
    """The folder of a job, or of an element of its array, in the folder of its run."""
    return run / "tasks" / task_name(key, place)


class Attempt(NamedTuple):
    """Which try it is, of what a batch system runs."""

    submission: int = 0  #: Of the run.
    restarts: int = 0  #: How often the batch system had run that again.

    def file(self, of: str) -> str:
        """How the name of the file begins, of a try of this: ``fit.3@7.0``."""
        return f"{of}{AT}{self.submission}.{self.restarts}"

    @classmethod
    def read(cls, file: str) -> tuple[str, Attempt] | None:
        """Of what a file in ``outcomes/`` is, and which try; None for one that has outcomes of several things."""
        of, at, rest = file.rpartition(AT)
        if not at:
            return None
        submission, _, restarts = rest.partition("-")[0].partition(".")
        return of, cls(int(submission), int(restarts))


AT = "@"  # which is in no key
FIRST = Attempt()


class Outcome(NamedTuple):
    """What was recorded of a job or an element."""

    key: str
    place: int | None  #: Of an array: which element.
    time: float  #: Seconds since the epoch.
    ok: bool  #: Whether the payload is a result, and not a failure.
    stamp: bytes  #: What the recorder was given: whatever decides whether it is still of use.
    payload: bytes | None  #: None: it is large, and in a file.
    run: Path
    attempt: Attempt = FIRST
    began: float | None = None  #: When it began, where that is known.

    def read(self) -> bytes:
        """The payload. Raises TamperedError, or StorageError where the file is gone."""
        if self.payload is not None:
            return self.payload
        path = _value_file(self.run, self.key, self.place, self.attempt)
        check_file(path)
        return unseal(path.read_bytes(), _purpose(self.run, self.key, self.place, self.stamp, self.attempt), path)


class Recorder:
    """Writes outcomes of one run; one for each process, whatever its threads.

    Args:
        run: the folder.
        of: the only thing that this process runs, see `task_name`; empty: it runs several.
        attempt: which try of that it is.
    """

    def __init__(self, run: Path, of: str = "", attempt: Attempt = FIRST) -> None:
        self.run = run
        self._of = of
        self._attempt = attempt
        self._sign: Signer | None = None
        self._lock = threading.Lock()
        self._file = -1
        self._path = run

    def record(
        self,
        key: str,
        place: int | None,
        *,
        ok: bool,
        payload: bytes,
        stamp: bytes = b"",
        began: float | None = None,
    ) -> None:
        """Write one down. Raises StorageError where that cannot be; nothing of it is believed then."""
        inline: bytes | None = payload
        if len(payload) > LARGE:
            make_folder(task_folder(self.run, key, place))
            file = _value_file(self.run, key, place, self._attempt)
            write_atomic(file, seal(payload, _purpose(self.run, key, place, stamp, self._attempt)))
            inline = None
        facts: tuple[object, ...] = (key, place, time.time(), ok, stamp, inline)
        if self._of:
            facts += (tuple(self._attempt), began)
        body = pickle.dumps(facts, 5)
        out = self._file
        if out < 0 or self._sign is None:
            out = self._open()
        assert self._sign is not None
        data = LENGTH.pack(len(body)) + self._sign(body) + body
        try:
            write_all(out, data, self._path)
        except OSError:  # a StorageError
            # A part of it may be there. Nothing may follow it, so that it is the end of its file.
            self.close()
            raise

    def _open(self) -> int:
        with self._lock:
            self._sign = self._sign or Signer(f"outcome of {self.run.name}")
            if self._file < 0:
                folder = make_folder(self.run / "outcomes")
                while True:
                    who = (
                        self._attempt.file(self._of) if self._of else f"{safe_name(os.uname().nodename)}-{os.getpid()}"
                    )
                    name = f"{who}-{os.urandom(2).hex()}"
                    try:
                        self._path = folder / name
                        self._file = open_new(self._path)
                        break
                    except FileExistsError:
                        continue
            return self._file

    def close(self) -> None:
        """Let go of the file; the next record begins another one."""
        with self._lock:
            file, self._file = self._file, -1
            if file >= 0:
                os.close(file)


def read_outcomes(run: Path, keys: Collection[str] | None = None) -> dict[tuple[str, int | None], Outcome]:
    """The outcome of the last try of each job and element, by key and place; the latest, where there are several.

    A record that its writer was killed at, or that a power cut left half empty, is left out. Raises TamperedError,
    naming the file, for one that weft has not written.

    Args:
        run: the folder.
        keys: of the jobs that are of interest. Default: all.
    """
    found: dict[tuple[str, int | None], Outcome] = {}
    folder = run / "outcomes"
    if not folder.exists():
        return found
    for path in sorted(folder.iterdir()):
        if keys is not None and not _may_have(path.name, keys):
            continue
        for outcome in read_file(path, run):
            place = outcome.key, outcome.place
            if place not in found or (outcome.attempt, outcome.time) >= (found[place].attempt, found[place].time):
                found[place] = outcome
    return found


def _may_have(file: str, keys: Collection[str]) -> bool:
    """Whether a file may have outcomes of these jobs; without a look at it."""
    one = Attempt.read(file)
    if one is None:
        return True
    of = one[0].partition("+")[0]
    return of in keys or (of.rpartition(".")[0] in keys and of.rpartition(".")[2].isdecimal())


def read_file(path: Path, run: Path) -> list[Outcome]:
    """All that is recorded in one file. Raises TamperedError."""
    check_file(path)
    return _read(path, run)


def _read(path: Path, run: Path) -> list[Outcome]:
    outcomes = []
    data = path.read_bytes()
    purpose = f"outcome of {run.name}"
    at, end = 0, len(data)
    while end - at >= LENGTH.size + SIZE:
        (length,) = LENGTH.unpack_from(data, at)
        start = at + LENGTH.size + SIZE
        # Torn; or, after a power cut, from here or from its middle on there are empty blocks. A pickle ends with a dot.
        if start + length > end or not any(data[max(start + length - 1, at) :]):
            break
        body = unseal(data[at + LENGTH.size : start + length], purpose, path)
        key, place, when, ok, stamp, payload, *more = pickle.loads(body)
        attempt, began = (Attempt(*more[0]), more[1]) if more else (FIRST, None)
        outcomes.append(Outcome(key, place, when, ok, stamp, payload, run, attempt, began))
        at = start + length
    return outcomes


def _value_file(run: Path, key: str, place: int | None, attempt: Attempt) -> Path:
    name = "outcome" if attempt == FIRST else attempt.file("outcome")
    return task_folder(run, key, place) / name


def _purpose(run: Path, key: str, place: int | None, stamp: bytes, attempt: Attempt) -> str:
    which = "" if attempt == FIRST else f" {attempt.submission}.{attempt.restarts}"
    return f"value of {run.name} {key} {place} {stamp.hex()}{which}"
