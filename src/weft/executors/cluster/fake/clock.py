"""Time that a test moves, and knowing when all who wait for it sleep."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from weft.errors import ChoiceError
from weft.executors.cluster.system import Clock

__all__ = ["VirtualClock"]

AHEAD = 60.0  # seconds for which time goes on by itself while processes are at work
FAR = 86400.0  # and while nothing happens
BLINK = 0.02  # real seconds after which somebody looks again whether what is waited for holds


class VirtualClock(Clock):
    """Time that a test moves.

    ::

        clock = VirtualClock()
        with FakeCluster(clock=clock) as cluster:
            ...
            clock.until(future.running)  # time passes as it is needed, and not while a process is at work
            clock.advance(60)            # a minute passes, whatever runs
            with clock.flying():         # time passes by itself, for what waits by itself
                future.result()

    Whoever waits by this clock (the threads of a `FakeCluster`, of a `ClusterExecutor`) wakes up when it is notified or
    when this time has come. Processes are real: they take no time of this clock, and know nothing of it.

    All methods may be called by any thread.

    Args:
        start: what time it is.
        patience: real seconds after which threads or processes that nothing is heard of count as hanging:
            TimeoutError, where this is waited for.
    """

    def __init__(self, start: float = 0.0, *, patience: float = 30.0) -> None:
        self._now = start
        self._patience = patience
        # The innermost of all locks: whoever holds it takes no other. Reentrant, since the garbage collector may come
        # at any moment with a `_Presence` that is over.
        self._changed = threading.Condition(threading.RLock())
        self._changes = 0
        self._sleepers: set[_Sleeper] = set()
        self._awake: set[threading.Thread] = set()  # of the threads that wait by this clock, those that do not now
        self._hosts: set[threading.Thread] = set()  # those that wait for what is to befall processes
        self._occupied = 0  # so many processes are at work
        self._stirred = start  # when something has happened last
        self._here = threading.local()

    def now(self) -> float:
        """Seconds."""
        return self._now

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """With the condition's lock held: until it is notified, or so many seconds have gone by. None: no limit."""
        if seconds is not None and seconds <= 0:
            condition.wait(0)
            return
        inside: Any = condition
        if not inside._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        thread = threading.current_thread()
        if not hasattr(self._here, "presence"):
            self._here.presence = _Presence(self, thread)
        # As `Condition.wait` does it, with a sleeper of ours in the place of its lock: a condition calls `release()` of
        # those that it notifies. So the very moment in which a thread is woken is known, and not merely the later one
        # in which it gets to run.
        sleeper = _Sleeper(self, thread)
        with self._changed:
            sleeper.due = math.inf if seconds is None else self._now + seconds
            self._sleepers.add(sleeper)
            self._awake.discard(thread)
            self._tell()
        inside._waiters.append(sleeper)
        state = inside._release_save()
        try:
            sleeper.gate.acquire()
        finally:
            self._wake(sleeper)  # after a Ctrl-C: nobody has
            inside._acquire_restore(state)
            if sleeper in inside._waiters:
                inside._waiters.remove(sleeper)

    # Moving it ------------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass, whatever runs.

        Whoever waits for a moment in between wakes up at that moment, one after the other, and sleeps again before time
        goes on. Returns when all sleep; raises TimeoutError where that does not come.
        """
        if not seconds >= 0:
            raise ChoiceError(f"time does not go back: advance({seconds!r})")
        end = self._now + seconds
        while True:
            self.settle()
            with self._changed:
                if self._awake_others():
                    continue
                if not self._step(end):
                    self._now = max(self._now, end)
                    return

    def until(self, holds: Callable[[], object], *, most: float = FAR) -> None:
        """Let time pass until this holds.

        It goes from one moment that somebody waits for to the next, whenever all sleep. As long as a process of a fake
        cluster is at work, this ends a minute after one has begun or ended last, so that others can look and see; and
        it never comes to what the cluster itself waits for, such as a time limit. Processes that are known to hang do
        not count, see `FakeCluster.hangs`.

        Args:
            holds: asked whenever all sleep, and now and then.
            most: seconds.

        Raises:
            TimeoutError: it does not hold within that time; or a process hangs; or everybody sleeps for ever.
        """
        end = self._now + most
        deadline = math.inf
        while True:
            self.settle()
            changes = self._changes  # before it is asked: what changes meanwhile is to be asked about again
            if holds():
                return
            with self._changed:
                if changes != self._changes or self._step(self._bound(end)):
                    deadline = math.inf
                    continue
                if not self._occupied and self._next() < math.inf:
                    raise TimeoutError(f"it does not hold after {most:g} seconds of the virtual clock")
                # A process is to end; or somebody is about to come who has never waited by this clock so far; or it
                # comes to hold by something that this clock knows nothing of, such as the end of a thread.
                now = time.monotonic()
                deadline = min(deadline, now + self._patience)
                if not self._changes_after(changes, BLINK) and now >= deadline:
                    raise TimeoutError(self._stuck())

    @contextmanager
    def flying(self) -> Iterator[None]:
        """Time passes by itself meanwhile, as in `until`: for code that waits by itself, such as ``future.result()``.

        It ends a day after something has happened last: a submission, a fault, the start or end of a process.
        """
        over = threading.Event()
        owner = threading.current_thread()
        thread = threading.Thread(target=self._fly, args=(over, owner), name="weft-clock", daemon=True)
        self.stir()
        thread.start()
        try:
            yield
        finally:
            over.set()
            self.stir()
            thread.join()

    def _fly(self, over: threading.Event, owner: threading.Thread) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: over.is_set() or not self._awake - {owner})
                if over.is_set():
                    return
                if not self._step(self._bound(self._stirred + FAR)):
                    self._changes_after(self._changes, None)

    def settle(self) -> None:
        """Return when all threads that wait by this clock sleep, and nobody has woken one of them yet.

        Then all is done that there is to do before time passes or a process ends. Raises TimeoutError.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._awake_others(), self._patience):
                names = ", ".join(sorted(thread.name for thread in self._awake_others()))
                raise TimeoutError(f"busy for {self._patience:g} seconds, though no time passes: {names}")

    # For those who have threads and processes -----------------------------------------------------------------

    def attend(self, thread: threading.Thread, *, host: bool = False) -> None:
        """This thread is about to wait by this clock for the first time: until then it is awake.

        Args:
            thread: that one.
            host: it waits for what is to befall processes.
        """
        with self._changed:
            self._awake.add(thread)
            if host:
                self._hosts.add(thread)

    def leave(self) -> None:
        """This thread waits by this clock no more. A thread that has done so is over with it when it ends."""
        self._left(threading.current_thread())

    def occupy(self) -> None:
        """A process begins."""
        with self._changed:
            self._occupied += 1
            self.stir()

    def vacate(self) -> None:
        """It is over, or known to hang."""
        with self._changed:
            self._occupied -= 1
            self.stir()

    def stir(self) -> None:
        """Something has happened that others may be interested in."""
        with self._changed:
            self._stirred = self._now
            self._tell()

    def __repr__(self) -> str:
        return f"<VirtualClock at {self._now:g}>"

    # Under its lock -------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        self._changes += 1
        self._changed.notify_all()

    def _changes_after(self, changes: int, seconds: float | None) -> bool:
        """Wait for the next change; False: it does not come within so many real seconds."""
        return self._changed.wait_for(lambda: self._changes != changes, seconds)

    def _awake_others(self) -> list[threading.Thread]:
        me = threading.current_thread()
        return [thread for thread in self._awake if thread is not me]

    def _next(self) -> float:
        return min((sleeper.due for sleeper in self._sleepers), default=math.inf)

    def _bound(self, end: float) -> float:
        """Up to where time may go by itself."""
        if not self._occupied:
            return end
        due = min((sleeper.due for sleeper in self._sleepers if sleeper.thread in self._hosts), default=math.inf)
        return min(end, self._stirred + AHEAD, math.nextafter(due, -math.inf))

    def _step(self, end: float) -> bool:
        """On to the next moment that somebody waits for; False: there is none up to `end`."""
        due = self._next()
        if due > end or due == math.inf:
            return False
        self._now = max(self._now, due)
        for sleeper in [sleeper for sleeper in self._sleepers if sleeper.due <= self._now]:
            self._wake(sleeper)
        return True

    def _wake(self, sleeper: _Sleeper) -> bool:
        """Wake one up; False: it is awake."""
        with self._changed:
            if sleeper not in self._sleepers:
                return False
            self._sleepers.remove(sleeper)
            self._awake.add(sleeper.thread)
            self._tell()
            sleeper.gate.release()
            return True

    def _left(self, thread: threading.Thread) -> None:
        """It has ended."""
        with self._changed:
            self._awake.discard(thread)
            self._hosts.discard(thread)
            self._tell()

    def _stuck(self) -> str:
        if self._occupied:
            return (
                f"a process has been at work for {self._patience:g} real seconds; time stands still meanwhile: "
                "use advance(), or say that it hangs by FakeCluster.hangs()"
            )
        return f"everybody sleeps, and nobody for a certain time: it never holds (at {self._now:g} s)"


class _Sleeper:
    """One wait. In the queue of a condition it stands for a lock that is held until it is woken up."""

    __slots__ = ("clock", "due", "gate", "thread")

    def __init__(self, clock: VirtualClock, thread: threading.Thread) -> None:
        self.clock = clock
        self.thread = thread
        self.due = math.inf
        self.gate = threading.Lock()
        self.gate.acquire()

    def release(self) -> None:
        """Called by the condition to notify. RuntimeError, as of a lock: then it turns to the next in its queue."""
        if not self.clock._wake(self):
            raise RuntimeError("it is awake")


class _Presence:
    """Lies in what a thread has of its own, and so is over with the thread."""

    def __init__(self, clock: VirtualClock, thread: threading.Thread) -> None:
        self._clock = clock
        self._thread = thread

    def __del__(self) -> None:
        self._clock._left(self._thread)
