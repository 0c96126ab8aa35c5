"""Where a job runs, as far as its run is concerned: what it writes goes to its log, and its outcome is recorded there.

By the worker, and not by the driver when it hears of it: that may be killed in between, and no job that has finished is
to run again.
"""

from __future__ import annotations

import concurrent.futures
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from weft.errors import StorageError, TaskError, told
from weft.executors.streams import flush_streams, point_streams_to
from weft.executors.tee import Log, is_teeing, tee
from weft.payload import pack, traceback_of
from weft.payload.failures import OURS
from weft.rundir.crew import Member, keep_log, log_path
from weft.rundir.outcomes import Recorder

__all__ = ["ABOVE", "Desk", "Site", "Unrecorded", "Workplace", "forget", "recorder", "this_process"]

LOGGER = logging.getLogger("weft")
ABOVE = (OURS, concurrent.futures.__path__[0])  # whose frames are above that of the job's function
MOST = 4  # runs that a worker process has files of; those of the others are closed
PART = 256 * 1024  # bytes at a time, to the console


class Unrecorded(NamedTuple):
    """A result that could not be recorded where it was made; the driver will try."""

    value: Any
    why: str


class Desk(Protocol):
    """Where one job is worked at."""

    def begin(self, key: str, place: int | None) -> None:
        """It begins."""

    def failed(self, error: BaseException) -> None:
        """It ends with this."""

    def keep(self, name: str, key: str, place: int | None, mark: bytes, result: Any) -> Any:
        """It ends with this result; returns what the driver is to get."""

    def end(self) -> None:
        """It is over."""


class Workplace(Protocol):
    """Says where a job is worked at."""

    def desk(self) -> Desk:
        """Where to work, in this thread."""


class Site(NamedTuple):
    """What a worker has to know of its run. It travels with the calls."""

    run: str  #: The folder.
    crew: str  #: The folder of the workers.
    driver: str  #: The driver's `this_process`; a pid may be in use on another machine, too.
    cwd: str  #: Where jobs run.

    def desk(self) -> Desk:
        """Where to work, in this thread."""
        here = self.driver == this_process()
        if here or threading.current_thread() is not threading.main_thread():
            return _Shared(self, here=here)
        found = _desks.get(self)
        if found is None:
            found = _desks[self] = _open(self)
            while len(_desks) > MOST:
                _desks.pop(next(iter(_desks))).close()
        return found

    def __fixed_parts__(self) -> tuple[Any, ...]:
        return tuple(self)


_desks: dict[Site, _Own | _Nowhere] = {}
_recorders: dict[str, Recorder] = {}
_opening = threading.Lock()


_identity = ""


def this_process() -> str:
    """Something that no other process has."""
    global _identity
    _identity = _identity or os.urandom(8).hex()
    return _identity


def recorder(run: str) -> Recorder:
    """The one that writes outcomes of a run in this process."""
    found = _recorders.get(run)
    if found is None:
        with _opening:
            found = _recorders.setdefault(run, Recorder(Path(run)))
    return found


def forget(run: str) -> None:
    """The run is over: let go of its files."""
    found = _recorders.pop(run, None)
    if found is not None:
        found.close()


def _in_child() -> None:
    # Outcomes of a child go to a file of its own; the locks of its parent are not its.
    global _identity
    _identity = ""
    _desks.clear()
    _recorders.clear()


os.register_at_fork(after_in_child=_in_child)


class _Shared(Log):
    """Among others in a process, such as a thread of the driver."""

    def __init__(self, site: Site, *, here: bool) -> None:
        Log.__init__(self)
        self._site = site
        self._here = here
        self._at: tuple[str, int | None] = ("", None)

    def begin(self, key: str, place: int | None) -> None:
        if not self._here and not is_teeing():
            tee()  # for good: nobody tells when the last job has come here
        self._at = (key, place)
        self.open()

    def path(self) -> Path:
        return log_path(Path(self._site.run), *self._at)

    def failed(self, error: BaseException) -> None:
        self.write(_text(error))

    def keep(self, name: str, key: str, place: int | None, mark: bytes, result: Any) -> Any:
        try:
            payload = pack(result)
        except Exception as error:  # noqa: BLE001 - a __reduce__ of the user's can raise anything
            if not self._here:
                return result  # who sends it back says what is wrong with it
            LOGGER.warning(
                "the result of %s, a %s, is not kept for later runs: %s", name, type(result).__name__, told(error)
            )
            return result
        return _recorded(self._site.run, key, place, mark, payload, result)

    def end(self) -> None:
        try:
            self.close()
        except Exception:
            LOGGER.debug("cannot end a log", exc_info=True)


class _Own:
    """In a process that does one thing at a time: its streams go to a file, which becomes the job's log.

    What the job has written goes to the console in one piece, when it is over.
    """

    def __init__(self, site: Site, member: Member) -> None:
        self._site = site
        self._member = member
        self._at: tuple[str, int | None] = ("", None)
        self._said = -1  # bytes that the job has written; what follows is ours
        self._before = (-1, -1)

    def begin(self, key: str, place: int | None) -> None:
        self._at = (key, place)
        self._member.is_at(key, place)
        try:
            if os.getcwd() != self._site.cwd:
                os.chdir(self._site.cwd)
        except OSError:  # one of them is gone; a job that needs it will say so
            pass
        self._said = -1
        _be_lenient(on=True)
        self._before = (os.dup(1), os.dup(2))
        point_streams_to(self._member.out)

    def failed(self, error: BaseException) -> None:
        if isinstance(error, SystemExit):  # it is stopped; whoever does that says why
            return
        flush_streams()
        self._said = self._size()
        try:
            os.write(self._member.out, _text(error).encode(errors="backslashreplace"))
        except OSError:  # a full disk: it is told elsewhere
            pass

    def keep(self, name: str, key: str, place: int | None, mark: bytes, result: Any) -> Any:
        try:
            payload = pack(result)
        except Exception:  # noqa: BLE001 - who sends it back says what is wrong with it
            return result
        return _recorded(self._site.run, key, place, mark, payload, result)

    def end(self) -> None:
        flush_streams()
        point_streams_to(*self._before)
        for file in self._before:
            os.close(file)
        _be_lenient(on=False)
        size = self._size()
        if size:
            self._put_away(size if self._said < 0 else self._said)

    def close(self) -> None:
        """No more jobs of this run."""
        self._member.close()
        forget(self._site.run)

    def _size(self) -> int:
        return os.fstat(self._member.out).st_size

    def _put_away(self, said: int) -> None:
        member = self._member
        path = member.path.with_name(f"{member.path.name}.out")
        try:
            with path.open("rb") as file:
                keep_log(Path(self._site.run), *self._at, path)
                member.renew()
                while said > 0 and (part := file.read(min(said, PART))):
                    said -= len(part)
                    while part:
                        part = part[os.write(1, part) :]
        except (StorageError, OSError):  # a full disk, or nobody listens any more
            LOGGER.debug("cannot keep a log", exc_info=True)


class _Nowhere:
    """In a process from which the run's folder cannot be reached."""

    def __init__(self, why: str) -> None:
        self._why = why

    def begin(self, key: str, place: int | None) -> None:
        pass

    def failed(self, error: BaseException) -> None:
        pass

    def keep(self, name: str, key: str, place: int | None, mark: bytes, result: Any) -> Any:
        return Unrecorded(result, self._why)

    def end(self) -> None:
        pass

    def close(self) -> None:
        pass


def _open(site: Site) -> _Own | _Nowhere:
    try:
        return _Own(site, Member(Path(site.crew)))
    except FileNotFoundError as error:
        if Path(site.run).exists():
            raise TaskError(
                "this worker is too late: the driver of its run is gone, and another one has come"
            ) from error
        return _Nowhere(f"{site.run} cannot be seen from {os.uname().nodename}")
    except StorageError as error:
        return _Nowhere(str(error))


def _recorded(run: str, key: str, place: int | None, mark: bytes, payload: bytes, result: Any) -> Any:
    try:
        recorder(run).record(key, place, ok=True, payload=payload, stamp=mark)
    except StorageError as error:
        return Unrecorded(result, str(error))
    return result


def _be_lenient(*, on: bool) -> None:
    """Should the driver be killed now, let this job end if it is about to."""
    worker = sys.modules.get("weft.executors.worker")
    if worker is not None:
        worker.be_lenient(on)


def _text(error: BaseException) -> str:
    return traceback_of(error, skip=ABOVE) + "\n"
