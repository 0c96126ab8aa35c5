"""Threads that wait for procs to end."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from weft.procs.proc import Proc

__all__ = ["Waiter", "Waiters"]


class Waiter:
    """One thread that waits.

    Args:
        procs: for these; None: for all that are wanted.
        proc: the running proc that waits; None: it is none.
    """

    def __init__(self, procs: Iterable[Proc] | None, proc: Proc | None = None) -> None:
        self.left: set[Proc] | None = None if procs is None else {one for one in procs if not one._state.is_end}
        self._proc = proc
        self._event = threading.Event()
        self.refused = ""  # the way by which it would wait for itself

    @property
    def proc(self) -> Proc:
        """The running proc that waits."""
        assert self._proc is not None
        return self._proc

    @property
    def is_inside(self) -> bool:
        """Whether it is a running proc that waits."""
        return self._proc is not None

    def wait(self, seconds: float | None = None) -> None:
        """Sleep until it is over, or so many seconds."""
        self._event.wait(seconds)

    def wake(self) -> None:
        """It is over."""
        self._event.set()

    def refuse(self, way: str) -> None:
        """It would never be over."""
        self.refused = way
        self._event.set()


class Waiters:
    """All of one manager. Under its lock."""

    def __init__(self) -> None:
        self._all: dict[Waiter, None] = {}
        self._of: dict[Proc, list[Waiter]] = {}

    @property
    def inside(self) -> list[Waiter]:
        """Those that are procs, the last one first."""
        return [waiter for waiter in reversed(self._all) if waiter.is_inside]

    @property
    def outside(self) -> bool:
        """Whether somebody else waits: then nobody but procs can define or start anything."""
        return any(not waiter.is_inside for waiter in self._all)

    def add(self, waiter: Waiter) -> None:
        """From now on it hears of ends."""
        self._all[waiter] = None
        for proc in waiter.left or ():
            self._of.setdefault(proc, []).append(waiter)

    def remove(self, waiter: Waiter) -> None:
        """It waits no more."""
        self._all.pop(waiter, None)
        for proc in waiter.left or ():
            listed = self._of.get(proc, [])
            if waiter in listed:
                listed.remove(waiter)

    def ended(self, proc: Proc, *, none_left: bool) -> list[Waiter]:
        """A proc has ended; those that are to be woken."""
        woken = []
        for waiter in self._of.pop(proc, ()):
            assert waiter.left is not None
            waiter.left.discard(proc)
            if not waiter.left:
                woken.append(waiter)
        if none_left:
            woken += [waiter for waiter in self._all if waiter.left is None]
        return woken
