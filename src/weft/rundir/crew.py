"""The processes that work for the driver of a run, and how to be sure that they are gone when it is.

    workers/<driver>/<host>-<pid>-<4 hex>      locked as long as that worker lives; says what it is at
    workers/<driver>/<host>-<pid>-<4 hex>.out  what that has written so far

Workers outlive a driver that is killed, if only by a moment, and may finish a job meanwhile. So whoever takes the run
over first dismisses them: it moves their folder away, after which no further worker can join, and waits for the locks
of those that have. Then all that they recorded is there, and nothing more will come.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import time
import weakref
from pathlib import Path
from typing import Any, NamedTuple

from weft.errors import RunInUse
from weft.rundir.outcomes import task_folder
from weft.rundir.place import append_to, check_file, make_folder, open_new, safe_name, write_all

__all__ = ["Crew", "Member", "Place", "dismiss", "keep_log", "log_path"]

OUT = ".out"
WIDTH = 256  # bytes of what a worker says that it is at
PATIENCE = 10.0  # seconds for workers of a dead driver to end
READ = 1024 * 1024  # bytes at a time
LOOK = 0.01  # seconds between looks at their locks


class Place(NamedTuple):
    """What a worker was at."""

    key: str
    place: int | None  #: Of an array: which element.
    out: Path  #: What it has written meanwhile.


def log_path(run: Path, key: str, place: int | None) -> Path:
    """The file with what a job, or an element of its array, has written; it is there when that is anything."""
    return task_folder(run, key, place) / "log"


def keep_log(run: Path, key: str, place: int | None, out: Path) -> None:
    """Make a file the log of a job or an element, or add it to the one that is there, of an earlier try."""
    log = log_path(run, key, place)
    make_folder(log.parent)
    try:
        os.link(out, log)  # and not renamed: that would replace what is there
    except FileExistsError:
        file = append_to(log)
        try:
            with out.open("rb") as source:
                while part := source.read(READ):
                    write_all(file, part, log)
        finally:
            os.close(file)
    except OSError:  # no links here
        out.rename(log)
        return
    out.unlink()


class Crew:
    """The workers of one driver: their folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def form(cls, run: Path) -> Crew:
        """For a driver that begins. Raises StorageError."""
        workers = make_folder(run / "workers")
        return cls(make_folder(workers / f"{os.getpid()}-{os.urandom(4).hex()}"))

    def at(self, key: str, place: int | None) -> Place | None:
        """What the worker that was last at a job, or an element, has written, if it has written anything."""
        return next((found for found in self.left() if (found.key, found.place) == (key, place)), None)

    def left(self) -> list[Place]:
        """Of each worker: what it is, or was, at, with what it has written and not put into a log."""
        found = []
        for path in _members(self.path):
            out = path.with_name(path.name + OUT)
            try:
                written = out.stat().st_size > 0
                at = _read(path)
            except OSError:
                if path.exists() and out.exists():
                    raise
                continue  # it has just been put away, perhaps with all the others
            if at is not None and written:
                found.append(Place(at[0], at[1], out))
        return found

    def put_away(self, run: Path) -> None:
        """Once nobody of them is at work: what they have written goes to the logs, and nothing else is left."""
        for place in self.left():
            keep_log(run, place.key, place.place, place.out)
        self.disband()

    def disband(self) -> None:
        """All is over: nothing is left of it but what has been put into logs."""
        shutil.rmtree(self.path, ignore_errors=True)
        try:
            self.path.parent.rmdir()
        except OSError:  # there are others
            pass


def dismiss(run: Path, name: str) -> list[Crew]:
    """The workers of earlier drivers of a run: nobody of them is at work any more, and nobody will be.

    Raises RunInUse where some of them go on.
    """
    workers = run / "workers"
    if not workers.exists():
        return []
    crews = []
    for path in sorted(workers.iterdir()):
        gone = path.name.startswith(".")
        crews.append(Crew(path if gone else path.rename(path.with_name(f".{path.name}"))))
    end = time.monotonic() + PATIENCE
    for crew in crews:
        for path in _members(crew.path):
            while _is_alive(path):
                if time.monotonic() > end:
                    host, pid, _ = path.name.rsplit("-", 2)
                    raise RunInUse(
                        f"run {name} goes on: its driver is gone, but its worker process {pid} on {host} still runs; "
                        "end that, and try again",
                        run=name,
                        host=host,
                        pid=int(pid),
                    )
                time.sleep(LOOK)
    return crews


def _members(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.endswith(OUT))
    except FileNotFoundError:
        return []


def _is_alive(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # no locks here: then nobody can tell
            return False
    return False


def _read(path: Path) -> Any:
    check_file(path)
    try:
        at = json.loads(path.read_bytes() or b"null")
    except ValueError:
        return None
    return at if isinstance(at, list) and len(at) == 3 else None


class Member:
    """A worker, in its own process.

    Raises StorageError, or FileNotFoundError where its driver has been taken over, or the folder cannot be seen from
    here.
    """

    def __init__(self, crew: Path) -> None:
        if not crew.exists():
            raise FileNotFoundError(f"{crew} is not there")
        self.out = -1
        self.path = crew / f"{safe_name(socket.gethostname())}-{os.getpid()}-{os.urandom(2).hex()}"
        self._file = open_new(self.path, at_its_end=False)
        _members_here.add(self)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # no locks here
            pass
        # Once more: before the lock was there, the driver may have been taken over.
        if not self.path.exists():
            self.close()
            raise FileNotFoundError(f"{self.path} is not there any more")
        self.renew()

    def is_at(self, key: str, place: int | None) -> None:
        """Say what it is at from now on."""
        text = f'["{key}",{"null" if place is None else place},{time.time():.3f}]'
        os.pwrite(self._file, text.encode().ljust(WIDTH), 0)

    def renew(self) -> None:
        """Have a new file for what is written; the old one has been put elsewhere, and is let go of."""
        if self.out >= 0:
            os.close(self.out)
        self.out = open_new(self.path.with_name(self.path.name + OUT))

    def close(self) -> None:
        """Let go of its files. For whoever is interested it has ended."""
        for file in (self.out, self._file):
            if file >= 0:
                os.close(file)
        self.out = self._file = -1
        _members_here.discard(self)


_members_here: weakref.WeakSet[Member] = weakref.WeakSet()


def _close_in_child() -> None:
    # A child that a job forks would hold the lock for as long as it lives.
    for member in list(_members_here):
        member.close()


os.register_at_fork(after_in_child=_close_in_child)
