"""Keeps what happens in a run, and tells of failures."""

from __future__ import annotations

import concurrent.futures
import sys
from typing import TYPE_CHECKING, Any

from weft.engine.states import State
from weft.errors import JobFailed, RemoteTraceback, told
from weft.payload.failures import OURS

if TYPE_CHECKING:
    from weft.jobs.records import Record

__all__ = ["Scribe", "one_line", "say", "traceback_of"]

ABOVE = (OURS, concurrent.futures.__path__[0])
LONGEST = 300  # characters of an exception's text that are told in one line


class Scribe:
    """Is told all by the scheduler's thread, before anybody else is.

    Args:
        at_once: whether the traceback of a failed job is printed when it fails; else that is one line, since the
            traceback comes at the end.
    """

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once

    def state(self, time: float, record: Record, place: int | None, state: State, detail: str) -> None:
        """A job, or the element at a place of it, has come to this state."""

    def failed(self, failure: JobFailed, record: Record, place: int | None) -> JobFailed:
        """It has failed; returns the failure, with its log."""
        if failure.__cause__ is not None:
            _trim(failure.__cause__)
        self._tell(failure)
        return failure

    def result(self, record: Record, place: int, value: Any) -> Any:
        """This has come back from it; returns its result."""
        return value

    def ended(self, interrupted: bool) -> None:
        """All is over."""

    def _tell(self, failure: JobFailed) -> None:
        error = failure.__cause__
        log = "" if failure.log is None else f"; log: {failure.log}"
        if self.at_once and error is not None:
            text = f"{traceback_of(error)}\nweft: {failure.args[0].partition(': ')[0]}{log}"
        else:
            text = f"weft: {one_line(str(failure))}{log}"
        say(text)


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


def traceback_of(error: BaseException) -> str:
    """The traceback of a job's exception, as text, from the user's function on."""
    if isinstance(error.__cause__, RemoteTraceback):
        return str(error.__cause__).strip("\n")
    from traceback import format_exception

    try:
        return "".join(format_exception(error)).rstrip("\n")
    except BaseException:  # noqa: BLE001 - attributes of exceptions are somebody's code
        return told(error)


def _trim(error: BaseException) -> None:
    """Take the frames above the user's function out of the traceback of an exception of this process."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(ABOVE):
        traceback = traceback.tb_next
    if traceback is not None:  # nothing but ours: then it is of interest
        error.__traceback__ = traceback


def one_line(text: str) -> str:
    """The first line of a text, and not too much of it."""
    line, newline, _ = text.partition("\n")
    return line if not newline and len(line) <= LONGEST else f"{line[:LONGEST]} ..."
