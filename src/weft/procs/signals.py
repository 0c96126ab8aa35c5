"""Ctrl-C, SIGTERM and SIGHUP while procs run: all is stopped, told, and the program ends with 128 + n."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from weft.procs.proc import Proc

__all__ = ["Guard", "Signals"]

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Guard:
    """A reentrant lock; a signal that comes while the main thread holds it is dealt with when that has let go of it.

    The handler waits for what other threads do, and they may need the lock.
    """

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._signals.hold()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        self._signals.let_go()


class Signals:
    """The handlers of one manager: there while its procs run, and only where they can be, in the main thread.

    Args:
        stop: stops everything and returns what ran; None where nothing was under way.
    """

    def __init__(self, stop: Callable[[], list[Proc] | None]) -> None:
        self._stop = stop
        self._before: dict[int, Any] = {}
        self._holds = 0  # the main thread is in the midst of something that must not be cut short
        self._came = 0  # a signal that came meanwhile
        self._ending = False

    def install(self) -> None:
        """From now on they are ours."""
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        for number in NUMBERS:
            known = signal.getsignal(number)
            if known is signal.SIG_IGN or known is None:  # as under nohup, or set by something that is not Python
                continue
            self._before[number] = known
            signal.signal(number, self._handle)

    def restore(self) -> None:
        """They are what they were before, unless somebody else has taken them meanwhile."""
        if threading.current_thread() is not threading.main_thread():
            return
        before, self._before = self._before, {}
        for number, known in before.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, known)

    def hold(self) -> None:
        """Deal with no signal for now; `let_go` must follow. In the main thread; in others there is nothing to do."""
        if threading.current_thread() is threading.main_thread():
            self._holds += 1

    def let_go(self) -> None:
        """Deal with what came meanwhile."""
        if threading.current_thread() is threading.main_thread():
            self._holds -= 1
            if self._came and not self._holds:
                number, self._came = self._came, 0
                self._end(number)

    def _handle(self, number: int, frame: Any) -> None:
        if self._ending:
            return
        if self._holds:
            self._came = number
            return
        self._end(number)

    def _end(self, number: int) -> NoReturn:
        self._ending = True
        try:
            before = self._before.get(number)
            ran = self._stop()
            self.restore()
            for proc in ran or ():
                with suppress(OSError, RuntimeError):  # nobody reads, or it has interrupted another print
                    print(f"stopped {proc.name}", file=sys.stderr)
        finally:
            self._ending = False
        if number == signal.SIGINT and (hasattr(sys, "ps1") or sys.flags.interactive):
            raise KeyboardInterrupt  # whoever types at a prompt goes on
        if ran is None and callable(before):  # nothing was under way: it is not for us
            before(number, None)
        raise SystemExit(128 + number)
