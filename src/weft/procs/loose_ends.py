"""What procs wait for that no task of the engine stands for: what is not defined yet, and the end of all others.

Each is a future that is concluded here: when it is defined and has ended, or when nothing else can go on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from weft.engine.light import LightFuture
from weft.errors import DependencyNeverSatisfied
from weft.procs.proc import Proc
from weft.procs.stuck import way_round, will_end
from weft.procs.waiting import Waiters

__all__ = ["LooseEnds"]

Decision: TypeAlias = tuple[LightFuture[None], BaseException | None]  # what it is to be concluded with


class LooseEnds:
    """Of one run. All but `look` is called under the manager's lock.

    Args:
        lock: the manager's.
        open: the procs that are wanted or run.
        active: those that run, and do not wait for others.
        waiters: threads that wait.
        capacity: how many may hold a lock.
    """

    def __init__(
        self,
        lock: Any,
        open: Mapping[Proc, None],
        active: set[Proc],
        waiters: Waiters,
        capacity: Callable[[str], float],
    ) -> None:
        self._lock = lock
        self._open = open
        self._active = active
        self._waiters = waiters
        self._capacity = capacity
        self._missing: dict[str, LightFuture[None]] = {}  # in place of procs that were not defined yet
        self._lacking: dict[str, list[Proc]] = {}  # who waits for those that are not defined now
        self._held: dict[Proc, LightFuture[None]] = {}  # those that come after all others, and what they wait for

    @property
    def missing(self) -> Collection[str]:
        """Names of procs that others wait for, and that are not defined."""
        return self._lacking.keys()

    def end_of(self, name: str, proc: Proc) -> LightFuture[None]:
        """What stands for the end of a proc that is not defined, and that `proc` waits for."""
        self._lacking.setdefault(name, []).append(proc)
        return self._missing.setdefault(name, LightFuture())

    def end_of_all(self, proc: Proc) -> LightFuture[None]:
        """What stands for the end of all that `proc` is to come after."""
        return self._held.setdefault(proc, LightFuture())

    def define(self, proc: Proc) -> None:
        """A proc that others may wait for is defined, and wanted."""
        for other in self._lacking.pop(proc.name, ()):
            other._deps[proc.name] = proc

    def settle(self, proc: Proc) -> None:
        """A proc has ended."""
        held = self._held.pop(proc, None)
        if held is not None:
            held.cancel()
        waited_for = self._missing.pop(proc.name, None) if self._missing else None
        if waited_for is not None:
            failed = not proc._state.is_success
            waited_for._conclude(None, DependencyNeverSatisfied(f"{proc.name!r} failed") if failed else None)

    def look(self) -> None:
        """Where nothing else can go on: have those run that come after all, and give up what is missing."""
        with self._lock:
            # While somebody outside may still define and start things, only those that come after all can go on.
            decided = self._decide() if self._held or self._waiters.outside else []
        for future, error in decided:
            future._conclude(None, error)

    def _decide(self) -> list[Decision]:
        if not (self._held or self._lacking or self._waiters.inside):
            return []
        if any(not proc._after_all for proc in self._active):
            return []
        others = [proc for proc in self._open if not proc._after_all]
        ending = self._will_end(lambda _: False)
        if any(proc in ending for proc in others):
            return []
        nothing_runs = not self._active and not ending
        if self._lacking:
            return self._give_up() if nothing_runs and self._waiters.outside else []
        return self._let_go(others, nothing_runs)

    def _give_up(self) -> list[Decision]:
        """Nothing is left that could define what is missing."""
        names, self._lacking = list(self._lacking), {}
        return [(self._missing.pop(name), DependencyNeverSatisfied(f"{name!r} is missing")) for name in names]

    def _let_go(self, others: list[Proc], nothing_runs: bool) -> list[Decision]:
        """Those that come after all others may start, if the others wait for them. Two may wait for each other."""
        held = [proc for proc, all_others in self._held.items() if not all_others.done() and _could_start(proc)]
        chosen = [proc for proc in held if self._frees(proc, others)] or (held[:1] if nothing_runs else [])
        if not chosen and nothing_runs:
            self._break_deadlock()
        return [(self._held[proc], None) for proc in chosen]

    def _frees(self, first: Proc, others: list[Proc]) -> bool:
        """Whether all others end once this one of those that come after all may start."""
        ending = self._will_end(lambda proc: proc is first)
        return all(proc in ending for proc in others)

    def _will_end(self, may_start: Callable[[Proc], bool]) -> set[Proc]:
        def may_come(proc: Proc) -> bool:
            if self._lacking and any(dep is None for dep in proc._deps.values()):
                return False
            return not proc._after_all or may_start(proc) or self._held[proc].done()

        return will_end(self._open, self._capacity, may_come)

    def way_round(self, proc: Proc) -> str:
        """The way by which a proc that waits would wait for itself. The caller holds the lock."""
        if proc in will_end(self._open, self._capacity, lambda _: True):
            return ""
        return way_round(proc, self._open, self._capacity)

    def _break_deadlock(self) -> None:
        for waiter in self._waiters.inside:
            if way := self.way_round(waiter.proc):
                waiter.refuse(way)
                return


def _could_start(proc: Proc) -> bool:
    return all(dep is not None and dep._state.is_success for dep in proc._deps.values())
