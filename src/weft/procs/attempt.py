"""The work of a proc: a call, and further ones where it fails and may be tried again."""

from __future__ import annotations

import os
from concurrent.futures import CancelledError, Future
from typing import Any

from weft.engine.complain import complain
from weft.engine.light import LightFuture, outcome
from weft.engine.states import FAILED
from weft.errors import ProcFailedError, TaskExited, TaskTimeout, WorkerDied, told
from weft.procs.call import Call, Outcome
from weft.procs.places import NotInheritedError, Place
from weft.resources import Cause, Resources, cause_of

__all__ = ["Attempt", "reason_of"]


class Attempt(LightFuture[Outcome]):
    """What the engine sees of a proc that runs, however often it is tried.

    Args:
        place: where.
        call: what.
        resources: with the time limit of a try, and `retries`.
        log: takes what the proc itself cannot tell: that it was killed, and that it is tried again.
    """

    __slots__ = ("_inner", "_log", "_place", "_resources", "_tries", "_what")

    def __init__(self, place: Place, call: Call, resources: Resources, log: str) -> None:
        super().__init__()
        self._place = place
        self._what = call
        self._resources = resources
        self._log = log
        self._tries: dict[Cause, int] = {}
        self._inner: Future[Outcome] | None = None

    def begin(self) -> None:
        """Submit it. Raises what that raises."""
        self._inner = inner = self._place.submit(self._what, self._resources)
        inner.add_done_callback(self._over)
        if self._decided:  # killed meanwhile
            _stop(inner)

    def running(self) -> bool:
        return self._inner is not None and not self.done() and self._inner.running()

    def kill(self) -> bool:
        """Stop it; it is cancelled then. True unless it was done before."""
        cancelled = self.cancel()
        if cancelled and self._inner is not None:
            _stop(self._inner)
        return cancelled

    def _over(self, inner: Future[Any]) -> None:
        """A try has ended, in the thread of whoever has run it."""
        if self._decided:
            return
        result: Any
        error: BaseException | None
        try:
            result, error = outcome(inner)
            if result is not None and result.state is FAILED:
                result, error = None, result.value.error()
        except CancelledError:
            self.cancel()
            return
        except BaseException as failed:  # noqa: BLE001 - a future of any make
            result, error = None, failed
        if error is None:
            self._conclude(result, None)
            return
        try:
            if isinstance(error, NotInheritedError) or self._may_try_again(error):
                self.begin()
                return
            if isinstance(error, (WorkerDied, TaskTimeout)):
                self._note(f"{reason_of(error)}\n")
        except BaseException as worse:  # noqa: BLE001 - it ends in the future
            complain("cannot try a proc again")
            error = worse
        self._conclude(None, error)

    def _may_try_again(self, error: BaseException) -> bool:
        retries = self._resources.retries
        cause = cause_of(error)
        retry = None if retries is None else retries.allows(cause, self._tries)
        if retry is None:
            return False
        self._tries[cause] = self._tries.get(cause, 0) + 1
        self._resources = self._resources.grown(retry)
        self._note(f"try {sum(self._tries.values())} failed: {reason_of(error)}; trying again\n")
        return True

    def _note(self, text: str) -> None:
        try:
            file = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError:  # the log's folder is gone: what became of the proc is told all the same
            return
        with open(file, "w", encoding="utf-8", errors="backslashreplace") as log:
            log.write(text)


def _stop(inner: Future[Outcome]) -> None:
    kill = getattr(inner, "kill", None)
    inner.cancel() if kill is None else kill()


def reason_of(error: BaseException) -> str:
    """Why a proc has failed, in a few words."""
    if isinstance(error, ProcFailedError):
        return str(error)
    if isinstance(error, TaskTimeout):
        return f"timed out after {error.seconds:g} s"
    if isinstance(error, WorkerDied):
        if error.signal is not None:
            return f"killed by {error.signal}"
        return f"ended with exit code {error.exitcode}" if error.exitcode is not None else str(error)
    if isinstance(error, (TaskExited, SystemExit)):
        return f"called sys.exit({error.code!r})"
    return told(error)
