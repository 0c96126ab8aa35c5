"""What jobs returned, written down where they ran, before anybody is told.

The driver of a run may be killed between the end of a job and the news of it; so it is not the driver that records, but
the process that ran the job: it appends to a file of its own in ``outcomes/``, one call of write() for each job::

    length of the body (4 bytes) | signature (32) | body: pickled (key, place, time, ok, stamp, value or None)

A value of more than `LARGE` bytes lies in ``tasks/<key>/outcome``, signed, and the body has None in its place.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
import threading
import time
from pathlib import Path
from typing import NamedTuple

from weft.errors import StorageError
from weft.rundir.place import check_file, make_folder, open_new, safe_name, write_all, write_atomic
from weft.rundir.seal import SIZE, Signer, seal, unseal

__all__ = ["LARGE", "Outcome", "Recorder", "read_outcomes", "task_folder"]

LARGE = 64 * 1024  # bytes
LENGTH = struct.Struct("<I")


def task_folder(run: Path, key: str, place: int | None) -> Path:
    """The folder of a job, or of an element of its array, in the folder of its run."""
    return run / "tasks" / (key if place is None else f"{key}.{place}")


class Outcome(NamedTuple):
    """What was recorded of a job or an element."""

    key: str
    place: int | None  #: Of an array: which element.
    time: float  #: Seconds since the epoch.
    ok: bool  #: Whether the payload is a result, and not a failure.
    stamp: bytes  #: What the recorder was given: whatever decides whether it is still of use.
    payload: bytes | None  #: None: it is large, and in a file.
    run: Path

    def read(self) -> bytes:
        """The payload. Raises TamperedError, or StorageError where the file is gone."""
        if self.payload is not None:
            return self.payload
        path = task_folder(self.run, self.key, self.place) / "outcome"
        check_file(path)
        return unseal(path.read_bytes(), _purpose(self.run, self.key, self.place, self.stamp), path)


class Recorder:
    """Writes outcomes of one run; one for each process, whatever its threads."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._sign: Signer | None = None
        self._lock = threading.Lock()
        self._file = -1
        self._path = run

    def record(self, key: str, place: int | None, *, ok: bool, payload: bytes, stamp: bytes = b"") -> None:
        """Write one down. Raises StorageError where that cannot be; nothing of it is believed then."""
        inline: bytes | None = payload
        if len(payload) > LARGE:
            folder = make_folder(task_folder(self.run, key, place))
            write_atomic(folder / "outcome", seal(payload, _purpose(self.run, key, place, stamp)))
            inline = None
        body = pickle.dumps((key, place, time.time(), ok, stamp, inline), 5)
        file = self._file
        if file < 0 or self._sign is None:
            file = self._open()
        assert self._sign is not None
        data = LENGTH.pack(len(body)) + self._sign(body) + body
        try:
            write_all(file, data, self._path)
        except StorageError:
            # A part of it may be there. Nothing may follow it, so that it is the end of its file.
            self.close()
            raise

    def _open(self) -> int:
        with self._lock:
            self._sign = self._sign or Signer(f"outcome of {self.run.name}")
            if self._file < 0:
                folder = make_folder(self.run / "outcomes")
                while True:
                    name = f"{safe_name(socket.gethostname())}-{os.getpid()}-{os.urandom(2).hex()}"
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


def read_outcomes(run: Path) -> dict[tuple[str, int | None], Outcome]:
    """The latest outcome of each job and element, by key and place.

    A record that its writer was killed at, or that a power cut left half empty, is left out. Raises TamperedError,
    naming the file, for one that weft has not written.
    """
    found: dict[tuple[str, int | None], Outcome] = {}
    folder = run / "outcomes"
    if not folder.exists():
        return found
    for path in sorted(folder.iterdir()):
        check_file(path)
        for outcome in _read(path, run):
            place = outcome.key, outcome.place
            if place not in found or outcome.time >= found[place].time:
                found[place] = outcome
    return found


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
        key, place, when, ok, stamp, payload = pickle.loads(body)
        outcomes.append(Outcome(key, place, when, ok, stamp, payload, run))
        at = start + length
    return outcomes


def _purpose(run: Path, key: str, place: int | None, stamp: bytes) -> str:
    return f"value of {run.name} {key} {place} {stamp.hex()}"
