"""What ends a task on a cluster before its end: SIGTERM, which the batch system sends, and its own time limit."""

from __future__ import annotations

import os
import signal

from weft.executors.terminating import forget_callbacks, run_callbacks

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from weft.executors.cluster.descendants import Processes

__all__ = ["Ending", "Stopped", "TimeUp"]


class Stopped(BaseException):
    """SIGTERM has come: unwind, so that `finally` blocks of the task run, and then die of it."""


class TimeUp(BaseException):
    """The task has had its time."""

    def __init__(self, started: Processes) -> None:
        super().__init__()
        self.started = started  #: What it had started by then. As it unwinds, parents may go before their children.


class Ending:
    """Hears SIGTERM from now on."""

    def __init__(self) -> None:
        self.stopped = False
        self._busy = False  # with a task
        self._pid = os.getpid()
        signal.signal(signal.SIGTERM, self._stop)

    def run(self, task: Callable[[], Any]) -> Any:
        """Run a task. Raises what it raises, Stopped, and TimeUp where it is limited."""
        try:
            self._busy = True
            if self.stopped:
                raise Stopped
            return task()
        except TimeUp as end:
            # What it has started would go on: no batch system ends a job that goes on to its next task, and some
            # do not find the children of a process that is gone.
            from weft.executors.cluster.descendants import end_all

            self._busy = False
            end_all(end.started)
            raise
        finally:
            self._busy = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            forget_callbacks()
            if os.getpid() != self._pid:
                os._exit(0)  # a child that the task has forked, which has returned, too

    def limit(self, seconds: float | None) -> None:
        """From now on the task has so many seconds; None: as many as it likes."""
        if seconds is not None:
            signal.signal(signal.SIGALRM, self._time_up)
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def die(self) -> NoReturn:
        """End as SIGTERM ends a process."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(128 + signal.SIGTERM)  # not reached

    def _stop(self, *_: object) -> None:
        """On SIGTERM; once, so that nothing interrupts the clean-up of a task."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.stopped = True
        if self._busy:  # else what is over is written down first
            run_callbacks()
            raise Stopped

    def _time_up(self, *_: object) -> None:
        if self._busy:
            from weft.executors.cluster.descendants import descendants

            run_callbacks()
            raise TimeUp(descendants(os.getpid()))
