"""The folder of a run, and finding it again.

.weft/runs/20261125T062226Z-pi-3f2a/
    run.json        what it is: script, jobs, who drives it
    lock            held by the living driver
    events.jsonl    what happened, see `journal`
    outcomes/       what jobs returned, see `outcomes`
    tasks/<key>/    what a job wrote, and what is large
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import time
import weakref
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from weft.errors import ChoiceError, RunInUse, StorageError
from weft.rundir.place import append_to, check_file, check_folder, home, make_folder, safe_name, write_all, write_atomic

__all__ = ["Driver", "RunFolder", "all_runs", "find_run", "latest_run", "remove_rests"]

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)  # what file systems without locks answer


class Driver(NamedTuple):
    """The process that drives a run."""

    host: str
    pid: int
    started: int | None  #: When the process started, in clock ticks since its host did; tells apart pids used again.

    @classmethod
    def here(cls) -> Driver:
        """This process."""
        return cls(socket.gethostname(), os.getpid(), _start_of(os.getpid()))

    def is_gone(self) -> bool:
        """Whether it certainly is no more: it was on this host, and its pid is nobody's, or another process's."""
        if self.host != socket.gethostname():
            return False
        return not _is_there(self.pid) or (self.started is not None and _start_of(self.pid) != self.started)


class RunFolder:
    """The paths of one run. Made by `create`, `find_run` and `latest_run`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    @classmethod
    def create(cls, name: str, identity: str) -> RunFolder:
        """Make the folder of a new run, locked: its driver is this process. Raises StorageError.

        Args:
            name: any text.
            identity: what another run of the same script has, too.
        """
        runs = make_folder(home(create=True) / "runs")
        while True:
            path = runs / f"{_stamp(time.time())}-{safe_name(name)}-{os.urandom(2).hex()}"
            if not path.exists():
                break
        run = cls(make_folder(path))
        make_folder(path / "tasks")
        run.lock()
        heads = make_folder(runs.parent / "heads")
        write_atomic(heads / _hash(identity), path.name.encode())
        return run

    @property
    def name(self) -> str:
        """Of the folder; unique in its ``.weft``."""
        return self.path.name

    @property
    def journal(self) -> Path:
        """Of events."""
        return self.path / "events.jsonl"

    # run.json

    def write_facts(self, facts: dict[str, Any]) -> None:
        """Say what the run is, in JSON. Raises StorageError."""
        write_atomic(self.path / "run.json", json.dumps(facts, separators=(",", ":")).encode())

    def facts(self) -> dict[str, Any]:
        """What was said last; nothing where the driver died before it had said anything. Raises StorageError."""
        path = self.path / "run.json"
        if not path.exists():
            return {}
        check_file(path)
        try:
            facts = json.loads(path.read_bytes())
        except ValueError as error:
            raise StorageError(f"{path} is no JSON: {error}") from error
        if not isinstance(facts, dict):
            raise StorageError(f"{path} is not what weft wrote there")
        return facts

    # Its driver

    def lock(self) -> None:
        """Be its driver. Raises RunInUse where another process is."""
        file = self._hold()
        try:
            os.ftruncate(file, 0)
            write_all(file, json.dumps(Driver.here()).encode(), self.path / "lock")
        except BaseException:
            os.close(file)
            raise
        self._lock = file
        _locked.add(self)

    def _hold(self) -> int:
        """Its lock, as an open file: nobody else can be its driver until that is closed."""
        path = self.path / "lock"
        file = append_to(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            if error.errno not in NO_LOCKS and not isinstance(error, BlockingIOError):
                raise StorageError(f"cannot lock {path}: {error.strerror}") from error
            driver = self.driver()
            if isinstance(error, BlockingIOError) or (driver is not None and not driver.is_gone()):
                raise self._in_use(driver) from None
            file = append_to(path)
        return file

    def unlock(self) -> None:
        """Be its driver no longer."""
        if self._lock >= 0:
            try:
                # Closing is not enough: a child that is being made, and is no other program yet, has it open.
                fcntl.flock(self._lock, fcntl.LOCK_UN)
            except OSError:  # no locks here
                pass
        self._let_go()

    def _let_go(self) -> None:
        """Hold the lock no longer in this process, though perhaps in others."""
        file, self._lock = self._lock, -1
        if file >= 0:
            os.close(file)
        _locked.discard(self)

    def driver(self) -> Driver | None:
        """Who drives it, or drove it last."""
        path = self.path / "lock"
        if not path.exists():
            return None
        check_file(path)
        try:
            driver = Driver(*json.loads(path.read_bytes()))
        except (ValueError, TypeError):
            return None
        # It may be sent a signal, and 0 and -1 mean all processes.
        return driver if isinstance(driver.pid, int) and driver.pid > 1 else None

    def is_live(self) -> bool:
        """Whether its driver lives."""
        if self._lock >= 0:
            return True
        path = self.path / "lock"
        if not path.exists():
            return False
        check_file(path)
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            except OSError:
                driver = self.driver()
                return driver is not None and not driver.is_gone()
        return False

    def last_change(self) -> float:
        """When something happened in it last, in seconds since the epoch."""
        for path in (self.journal, self.path / "run.json", self.path):
            try:
                return path.stat().st_mtime
            except OSError:
                continue
        return 0.0

    def size(self) -> int:
        """Bytes of all files in it."""
        total = 0
        for folder, _, names in os.walk(self.path):
            for name in names:
                try:
                    total += os.lstat(os.path.join(folder, name)).st_size
                except OSError:  # it has just been removed
                    continue
        return total

    def remove(self) -> None:
        """Delete it with all that is in it. Raises RunInUse while its driver lives, StorageError."""
        # Held, and not only looked at: it might be taken over meanwhile. Nothing is written, as the disk may be full.
        file = self._hold()
        # Under another name first: what is half deleted is no run.
        gone = self.path.with_name(f".{self.path.name}")
        try:
            self.path.rename(gone)
            shutil.rmtree(gone)
        except OSError as error:
            raise StorageError(f"cannot delete {self.path}: {error}") from error
        finally:
            os.close(file)

    def _in_use(self, driver: Driver | None) -> RunInUse:
        where = "another process" if driver is None else f"process {driver.pid} on {driver.host}"
        return RunInUse(
            f"run {self.name} goes on: {where} drives it; look at it with: weft status {self.name}; give "
            "schedule(..., name=...) to start another one beside it",
            run=self.name,
            host=None if driver is None else driver.host,
            pid=None if driver is None else driver.pid,
        )

    def __repr__(self) -> str:
        return f"<RunFolder {str(self.path)!r}>"


# Finding runs ----------------------------------------------------------------------------------------------


def all_runs() -> list[RunFolder]:
    """The runs of this ``.weft``, the latest first."""
    return list(_runs())


def _runs() -> Iterator[RunFolder]:
    runs = home() / "runs"
    if not runs.exists():
        return
    check_folder(runs)
    for path in sorted(runs.iterdir(), reverse=True):
        if path.is_dir() and not path.name.startswith("."):
            yield RunFolder(path)


def remove_rests() -> None:
    """Delete what is left of runs, and of folders of executors, whose removal was interrupted."""
    for folder in (home() / "runs", home() / "executors"):
        if folder.exists():
            check_folder(folder)
            for path in folder.glob(".*"):
                shutil.rmtree(path, ignore_errors=True)


def find_run(name: str | os.PathLike[str]) -> RunFolder:
    """A run by its path, its name, a part of its name that no other has, or ``"-1"``: the last one, ``"-2"`` before it.

    Raises ChoiceError (a ValueError) where there is none, or several, saying which there are.
    """
    text = os.fspath(name)
    if isinstance(name, str) and os.sep not in text:
        run = _named(text)
    elif (Path(text) / "lock").exists():
        run = RunFolder(Path(text).resolve())
    else:
        raise ChoiceError(f"{text} is not the folder of a run")
    check_folder(run.path)
    return run


def _named(text: str) -> RunFolder:
    runs = all_runs()
    if not runs:
        raise ChoiceError(f"there are no runs in {home()}; WEFT_DIR says where else they are")
    if re.fullmatch(r"-[1-9]\d*", text):
        back = int(text[1:])
        if back > len(runs):
            raise ChoiceError(f"there is no run {text}: there are {len(runs)}")
        return runs[back - 1]
    exact = [run for run in runs if run.name == text]
    fitting = exact or [run for run in runs if text and text in run.name]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ChoiceError(f"{text!r} fits {len(fitting)} runs: {_listed(fitting)}; write more of the name")
    near = _near(text, runs)
    if near:
        raise ChoiceError(f"there is no run {text!r}; did you mean {_listed(near)}?")
    raise ChoiceError(f"there is no run {text!r}; the last ones are: {_listed(runs)}")


def _near(text: str, runs: list[RunFolder]) -> list[RunFolder]:
    """Those whose name, with or without the time and the digits that make it unique, is nearly this."""
    words = {run: {run.name, run.name.partition("-")[2].rpartition("-")[0]} for run in runs}
    near = get_close_matches(text, {word for both in words.values() for word in both}, n=1, cutoff=0.7)
    return [run for run in runs if words[run].intersection(near)]


def _listed(runs: list[RunFolder]) -> str:
    names = [run.name for run in runs[:5]]
    return ", ".join(names) + (", ..." if len(runs) > len(names) else "")


def latest_run(identity: str) -> RunFolder | None:
    """The run of this identity that was made last, if it is still there."""
    base = home()
    head = base / "heads" / _hash(identity)
    if not head.exists():
        return None
    check_folder(head.parent)
    check_file(head)
    path = base / "runs" / head.read_text()
    if path.parent != base / "runs" or not path.exists():
        return None
    check_folder(path.parent)
    check_folder(path)
    return RunFolder(path)


def _stamp(seconds: float) -> str:
    """UTC, to the millisecond: names in order are runs in order."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(seconds))}.{int(seconds * 1000) % 1000:03d}Z"


def _hash(identity: str) -> str:
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32]


# Processes -------------------------------------------------------------------------------------------------


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _start_of(pid: int) -> int | None:
    """See proc_pid_stat(5): field 22; after the name, which may have spaces and brackets in it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return int(stat.rpartition(b")")[2].split()[19])


_locked: weakref.WeakSet[RunFolder] = weakref.WeakSet()


def _unlock_in_child() -> None:
    # A child would hold the lock for as long as it lives. Closing its file does not take the lock from the parent.
    for run in list(_locked):
        run._let_go()


os.register_at_fork(after_in_child=_unlock_in_child)
