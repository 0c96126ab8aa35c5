"""Writes down what happens in a run, and tells of failures."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time as clock
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.errors import JobFailed, RemoteTraceback, StorageError, told
from weft.jobs.site import ABOVE, Unrecorded, forget, recorder
from weft.payload import pack, pack_failure, traceback_of
from weft.rundir import Crew, Journal, RunFolder, keep_log, log_path

if TYPE_CHECKING:
    from weft.engine.states import State
    from weft.jobs.records import Record

__all__ = ["CANCEL", "Scribe", "one_line", "say", "shown"]

LOGGER = logging.getLogger("weft")
LONGEST = 300  # characters of an exception's text that are told in one line
GATHERED = 200  # lines of events that are written at once, at most
TAIL = 16 * 1024  # bytes of a log in which its failure is looked for
CANCEL = "cancel"  # a file in the run's folder: somebody has asked for the end of the run


class Scribe:
    """Is told all by the scheduler's thread, before anybody else is.

    Args:
        folder: of the run; its driver is this process.
        crew: the worker processes.
        at_once: whether the traceback of a failed job is printed when it fails; else that is one line, since the
            traceback comes at the end.
    """

    def __init__(self, folder: RunFolder, crew: Crew, *, at_once: bool) -> None:
        self.at_once = at_once
        self._folder = folder
        self._crew = crew
        self._journal: Journal | None = Journal(folder.journal)
        self._lines: list[str] = []  # not written yet

    def began(self, how: str) -> None:
        """The run goes on from here: it is ``"started"``, or ``"taken over"``."""
        self._lines.append(self._of_run(how))
        self.flush()

    def state(self, time: float, record: Record, place: int | None, state: State, detail: str) -> None:
        """A job, or the element at a place of it, has come to this state."""
        element = "" if record.elements is None or place is None else f'"i":{place},'
        why = f',"detail":{json.dumps(detail)}' if detail else ""
        # Put together by hand: a key needs no quoting, and there are two of these for each job.
        self._lines.append(f'{{"t":{time:.6f},"job":"{record.key}",{element}"state":"{state.word}"{why}}}')
        if len(self._lines) >= GATHERED:
            self.flush()

    def result(self, record: Record, place: int, value: Unrecorded) -> Any:
        """This has come back from it, and is not recorded yet; returns its result."""
        run = str(self._folder.path)
        try:
            # Who recorded nothing gave no fingerprint, so a later run does not build upon this one.
            recorder(run).record(record.key, record.where(place), ok=True, payload=pack(value.value))
        except Exception as error:  # noqa: BLE001 - a full disk, or a __reduce__ of the user's
            LOGGER.warning(
                "the result of %s is not kept for later runs: %s; %s", record.title(place), value.why, told(error)
            )
        return value.value

    def failed(self, failure: JobFailed, record: Record, place: int | None) -> JobFailed:
        """It has failed; returns the failure, with its log."""
        error = failure.__cause__
        where = record.where(place)
        if error is not None:
            _trim(error)
        try:
            self._keep_output(record.key, where)
            failure.log = self._log(record.key, where, failure, error)
        except (StorageError, OSError) as obstacle:
            LOGGER.warning("the log of %s cannot be written: %s", record.title(place), obstacle)
        self._tell(failure)
        try:
            payload = pack_failure(error or failure, traceback=_text(error or failure))
            recorder(str(self._folder.path)).record(record.key, where, ok=False, payload=payload)
        except StorageError as obstacle:
            LOGGER.warning("the failure of %s is not recorded: %s", record.title(place), obstacle)
        return failure

    def ended(self, how: str) -> None:
        """All is over: the run is ``"finished"``, ``"cancelled"`` or ``"interrupted"``."""
        if how == "interrupted" and (self._folder.path / CANCEL).exists():
            how = "cancelled"
        for place in self._crew.left():
            try:
                keep_log(self._folder.path, place.key, place.place, place.out)
            except (StorageError, OSError) as error:
                LOGGER.warning("a log cannot be kept: %s", error)
        self._lines.append(self._of_run(how))
        self.flush()

    def flush(self) -> None:
        """Write what has been gathered: with many jobs at a time, a call of the system for each would cost the most."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        if self._journal is None:
            return
        try:
            self._journal.write_line("\n".join(lines))
        except StorageError as error:
            LOGGER.warning("what happens in run %s is not written down any more: %s", self._folder.name, error)
            self._journal.close()
            self._journal = None

    def close(self) -> None:
        """Nothing of the run is under way any more."""
        self.flush()
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        self._crew.disband()
        forget(str(self._folder.path))
        self._folder.unlock()

    def _of_run(self, how: str) -> str:
        host = json.dumps(socket.gethostname())
        return f'{{"t":{clock.time():.6f},"run":"{how}","pid":{os.getpid()},"host":{host}}}'

    def _keep_output(self, key: str, place: int | None) -> None:
        """What a worker had written that has died at it."""
        left = self._crew.at(key, place)
        if left is None:
            return
        text = left.out.read_bytes().decode(errors="replace")
        keep_log(self._folder.path, key, place, left.out)
        if sys.stdout is not None:
            sys.stdout.write(text)

    def _log(self, key: str, place: int | None, failure: JobFailed, error: BaseException | None) -> Path:
        """The log, which says in any case what went wrong: what a worker could not tell is added here."""
        from weft.rundir import append_to, make_folder

        path = log_path(self._folder.path, key, place)
        make_folder(path.parent)
        kind = type(error or failure).__name__
        with open(append_to(path), "ab") as file:
            size = file.tell()
            with path.open("rb") as before:
                before.seek(max(0, size - TAIL))
                if kind.encode() not in before.read():
                    file.write((_text(error or failure) + "\n").encode(errors="backslashreplace"))
        return path

    def _tell(self, failure: JobFailed) -> None:
        error = failure.__cause__
        log = "" if failure.log is None else f"; log: {shown(str(failure.log))}"
        if self.at_once and error is not None:
            title = str(failure).partition(" failed: ")[0]
            say(f"{_text(error)}\nweft: {title} failed{log}")
        else:
            say(f"weft: {one_line(str(failure))}{log}")


def say(text: str) -> None:
    """Print to stderr, as far as that can be done."""
    stream = sys.stderr
    try:
        stream.write(text + "\n")
        stream.flush()
    except UnicodeError:
        stream.write(text.encode("ascii", "backslashreplace").decode() + "\n")
    except Exception:  # noqa: BLE001 - closed, or one of the user's own: there is nobody to tell
        pass


def one_line(text: str) -> str:
    """The first line of a text, and not too much of it."""
    line, newline, _ = text.partition("\n")
    return line if not newline and len(line) <= LONGEST else f"{line[:LONGEST]} ..."


def shown(text: str) -> str:
    """A name or path for a message of one line: quoted where it would break it."""
    return text if text.isprintable() else repr(text)


def _text(error: BaseException) -> str:
    """Its traceback, where there is one; what is weft's own says it all in one line."""
    if isinstance(error.__cause__, RemoteTraceback):
        return str(error.__cause__).strip("\n")
    return traceback_of(error, skip=ABOVE)


def _trim(error: BaseException) -> None:
    """Take the frames above the user's function out of the traceback of an exception of this process."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(ABOVE):
        traceback = traceback.tb_next
    if traceback is not None:  # nothing but ours: then it is of interest
        error.__traceback__ = traceback
