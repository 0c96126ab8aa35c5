"""Runs what is wanted: each proc is a task of the engine, which passes its gates and is given to a place.

    starters                the scheduler's thread                        places
    --------                ----------------------                        ------
    plan ─> want ──submit─> dependencies ─> waves, locks, cpus, limit,
                            NO_FAILURES ─> _launch ───────submit────────> call
                            _observe: record, tell, wake  <──────────────  end
                            _look: nothing else can go on? ─> AFTER_ALL, what is missing

All that is written down here about procs is so under the manager's lock; no code of the user's runs under it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Executor, Future
from pathlib import Path
from typing import Any, NamedTuple

from weft.engine.light import LightFuture, outcome
from weft.engine.states import CANCELLED, FAILED, RUNNING, SUCCEEDED, UNREACHABLE, WANTED, State
from weft.errors import ChoiceError, DependencyNeverSatisfied, StorageError
from weft.executors.terms import usable_cpus
from weft.futures import Event, Limit, Locks, ScheduledFuture, Scheduler, Slots, Waves, When
from weft.procs.attempt import Attempt, reason_of
from weft.procs.call import Call
from weft.procs.channel import Channel, Far, Near
from weft.procs.context import Facts, Parent
from weft.procs.options import Options
from weft.procs.places import Elsewhere, OwnProcesses, Place, Threads
from weft.procs.plan import Plan, refuse_late
from weft.procs.proc import Proc
from weft.procs.seats import Seat
from weft.procs.stuck import way_round, will_end
from weft.procs.waiting import Waiter, Waiters
from weft.rundir import safe_name

__all__ = ["Happened", "Running"]


class Happened(NamedTuple):
    """What observers of a manager are told: a proc has begun or ended. It has its state by then."""

    time: float  #: Seconds since the epoch.
    proc: Proc
    state: State


class Running:
    """The engine of one manager, from its first start until `close`.

    Args:
        lock: the manager's.
        options: its options by now.
        params: of `set_params`; as they are when a proc starts.
        answer: does what a running proc asks for.
        tell: called with what has happened.
        folder: for logs.
    """

    def __init__(
        self,
        lock: Any,
        options: Options,
        params: dict[str, Any],
        answer: Callable[..., Any],
        tell: Callable[[Happened], object],
        folder: Path,
    ) -> None:
        self._lock = lock
        self._options = options
        self._params = params
        self._answer = answer
        self._tell = tell
        self._folder = folder
        self.open: dict[Proc, None] = {}  # wanted or running
        self.waiters = Waiters()
        self.failures = 0
        self._active: set[Proc] = set()  # those that run, and do not wait for others
        self._of: dict[Future[Any], Proc] = {}  # whose task it is
        self._missing: dict[str, LightFuture[None]] = {}  # in place of procs that are not defined yet
        self._held: dict[Proc, LightFuture[None]] = {}  # those that come after all others, and what they wait for
        self._places: dict[Any, Place] = {}
        self._channel: Channel | None = None
        self._waves, self._locks = Waves(), Locks(options.locks)
        self._cpus = Slots({"cpus": usable_cpus()})
        self._limit = Limit(1 if options.mode == "single" and options.executor is None else options.parallel)
        self._no_failures = When(lambda _: not self.failures, "run aborted: a task has failed")
        for gate in (self._waves, self._limit):
            gate.default = None  # a seat that is taken again asks for nothing else
        gates = [self._waves, self._locks, self._cpus, self._limit, self._no_failures]
        self._scheduler: Scheduler[Any] = Scheduler(self._launch, gates=gates, name="procs")
        self._scheduler.observe(self._observe, early=False)
        self._scheduler.at_pauses(self.look)

    # Starting -------------------------------------------------------------------------------------------------

    def check(self, proc: Proc) -> None:
        """Refuse a proc that could never start, on the user's line."""
        declaration = proc._declaration
        for name, count in declaration.locks.items():
            if count > self._locks.capacity(name):
                raise ChoiceError(
                    f"{proc.name!r} asks for {count} of the lock {name!r}, of which there are "
                    f"{self._locks.capacity(name)}; write set_options(locks={{{name!r}: {count}}})"
                )
        self._place(declaration.executor).check(declaration.where, declaration.resources)

    def want(self, plan: Plan) -> None:
        """Have the procs of a plan run. The caller holds the lock.

        Raises ChoiceError, and nothing has happened, where one that was to wait for more has started meanwhile.
        """
        for target in plan.late:
            refuse_late(next(iter(plan.late[target])), target)
        for proc in plan.order:
            proc._take_deps(plan.deps[proc.name], plan.specials[proc.name])
            proc._state = WANTED
            self.open[proc] = None
        for proc in plan.order:
            self._submit(proc)
        for target, deps in plan.late.items():
            target._deps.update(deps)
        if plan.late:
            self._submit_again(set(plan.late))

    def _submit(self, proc: Proc) -> None:
        declaration = proc._declaration
        gates: dict[Any, Any] = {self._waves: declaration.wave, self._limit: 1}
        if declaration.locks:
            gates[self._locks] = declaration.locks
        cpus = declaration.resources.cpus
        if cpus and self._place(declaration.executor) is self._places.get("mp"):
            gates[self._cpus] = {"cpus": min(cpus, int(self._cpus.capacity("cpus")))}
        if proc._no_failures:
            gates[self._no_failures] = True
        before: list[Future[Any]] = []
        for name, dep in proc._deps.items():
            if dep is None:
                before.append(self._missing.setdefault(name, LightFuture()))
            elif dep._task is not None and dep._state is not SUCCEEDED:
                before.append(dep._task)
        if proc._after_all:
            before.append(self._held.setdefault(proc, LightFuture()))
        proc._task = self._scheduler.submit(
            [proc, proc._generation], dependencies=before, condition="success", name=proc.name, gates=gates
        )
        self._of[proc._task] = proc

    def _submit_again(self, late: set[Proc]) -> None:
        """Procs that wait for more than they did, and those that wait for them, get new tasks.

        The dependencies of a task of the engine are fixed. A task of an earlier generation never starts its proc.
        """
        old: list[ScheduledFuture[Any]] = []
        grows = True
        while grows:
            more = {proc for proc in self.open if proc not in late and any(dep in late for dep in proc._deps.values())}
            late |= more
            grows = bool(more)
        for proc in self._sorted(late):
            if proc._launched or proc._task is None:
                continue
            self._of.pop(proc._task, None)
            old.append(proc._task)
            proc._generation += 1
            self._submit(proc)
        for task in old:
            task.cancel()

    def _sorted(self, procs: set[Proc]) -> list[Proc]:
        from weft.engine.graph import topological_order

        graph = {proc: [dep for dep in proc._deps.values() if dep in procs] for proc in self.open if proc in procs}
        return [proc for proc in topological_order(graph) if proc is not None]

    def define(self, proc: Proc) -> None:
        """A proc that others wait for is defined, and wanted, by now. The caller holds the lock."""
        placeholder = self._missing.get(proc.name)
        if placeholder is None:
            return
        for other in self.open:
            if proc.name in other._deps:
                other._deps[proc.name] = proc
        if proc._state.is_end:
            self._replaced(proc)

    @property
    def missing(self) -> list[str]:
        """Names of procs that others wait for and that are not defined."""
        return list(self._missing)

    # In the scheduler's thread --------------------------------------------------------------------------------

    def _launch(self, proc: Proc | Seat, generation: int = 0) -> Future[Any]:
        if isinstance(proc, Seat):
            return proc.take()
        with self._lock:
            if proc._generation != generation:
                dead: LightFuture[Any] = LightFuture()
                dead.cancel()
                return dead
            proc._launched = True
        try:
            attempt = self._attempt(proc)
            proc._work = attempt
            attempt.begin()
        except BaseException as error:
            proc._error = error
            raise
        return attempt

    def _attempt(self, proc: Proc) -> Attempt:
        declaration = proc._declaration
        place = self._place(declaration.executor)
        proc._log_path = path = self._folder / f"{safe_name(proc.name)}.log"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StorageError(f"cannot write the log {path}: {error.strerror}") from error
        deps = [dep for dep in proc._deps.values() if dep is not None]
        facts = Facts(
            proc.name,
            dict(self._params),
            dict(proc.args),
            {dep.name: dep._output for dep in deps},
            [dep.name for dep in deps if dep._changed],
            bool(deps),
        )
        call = Call(declaration.function, facts, self._parent(place), str(path), for_good=place.for_good)
        return Attempt(place, call, declaration.resources, str(path))

    def _parent(self, place: Place) -> Parent:
        if place.shares:
            return Near(self._answer)
        if self._channel is None:
            self._channel = Channel(self._answer)
        return Far(self._channel.address)

    def _place(self, executor: Executor | None) -> Place:
        with self._lock:
            key: Any = executor or self._options.executor or self._options.mode
            if key not in self._places:
                made: Place
                if isinstance(key, Executor):
                    made = Elsewhere(key)
                else:
                    made = OwnProcesses() if key == "mp" else Threads()
                self._places[key] = made
            return self._places[key]

    def _observe(self, event: Event) -> None:
        state = event.state
        with self._lock:
            proc = self._of.get(event.task)
            if proc is None:  # a seat, or a task of an earlier generation
                return
            if state is RUNNING:
                proc._state = RUNNING
                proc._times[0] = event.time
                if not proc._waits_for:  # it may have been quick to wait
                    self._active.add(proc)
            else:
                del self._of[event.task]
                proc._times[1] = event.time
                self._record(proc, state, event.detail)
                self._forget(proc)
                self._replaced(proc)
        self._tell(Happened(event.time, proc, proc._state))
        if proc._state.is_end:
            with self._lock:
                woken = self.waiters.ended(proc, none_left=not self.open)
            for waiter in woken:
                waiter.wake()

    def _record(self, proc: Proc, state: State, detail: str) -> None:
        """What became of a proc."""
        proc._state = state
        if state is SUCCEEDED:
            assert proc._work is not None
            proc._state, proc._output, proc._reason, proc._changed = outcome(proc._work)[0]  # type: ignore[misc]
        elif state is FAILED:
            self.failures += 1
            error = proc._error
            if error is None and proc._work is not None:
                try:
                    error = outcome(proc._work)[1]
                except CancelledError as cancelled:
                    error = cancelled
            proc._error, proc._root = error, proc
            proc._reason = detail if error is None else reason_of(error)
        elif state is UNREACHABLE:
            self._blame(proc, detail)
        else:
            proc._reason = "stopped" if proc._launched else "not started"

    def _blame(self, proc: Proc, detail: str) -> None:
        missing = next((name for name, dep in proc._deps.items() if dep is None), None)
        dep = next(
            (dep for dep in proc._deps.values() if dep and dep._state.is_end and not dep._state.is_success), None
        )
        if dep is not None:
            proc._root = dep._root
            proc._reason = f'canceled due to failure of "{(dep._root or dep).name}"'
            if dep._state is CANCELLED:
                proc._reason = f'canceled because "{dep.name}" was stopped'
        elif missing is not None:
            proc._reason = f'dependency "{missing}" missing'
        else:
            proc._reason = detail.removeprefix("DependencyNeverSatisfied: ")

    def _forget(self, proc: Proc) -> None:
        self._active.discard(proc)
        self.open.pop(proc, None)
        proc._waits_for = ()
        if proc._seat is not None:
            proc._seat.leave()
            proc._seat = None
        held = self._held.pop(proc, None)
        if held is not None:
            held.cancel()

    def _replaced(self, proc: Proc) -> None:
        """Those who waited for it to be defined hear of its end."""
        placeholder = self._missing.pop(proc.name, None) if self._missing else None
        if placeholder is not None:
            success = proc._state.is_success
            placeholder._conclude(None, None if success else DependencyNeverSatisfied(f"{proc.name!r} failed"))

    # What cannot go on by itself ------------------------------------------------------------------------------

    def look(self) -> None:
        """Where nothing else can go on: have those run that come after all, and give up what is missing."""
        with self._lock:
            decided = self._decide() if self._held or self._missing or self.waiters.inside else []
        for future, error in decided:
            future._conclude(None, error)

    def _decide(self) -> list[tuple[LightFuture[None], BaseException | None]]:
        if any(not proc._after_all for proc in self._active):
            return []
        others = [proc for proc in self.open if not proc._after_all]
        ending = self._will_end(lambda _: False)
        if any(proc in ending for proc in others):
            return []
        if any(self._lacks(proc) for proc in self.open):
            if self._active or ending or not self.waiters.outside:
                return []
            names = {name: None for proc in self.open for name, dep in proc._deps.items() if dep is None}
            return [(self._missing.pop(name), DependencyNeverSatisfied(f"{name!r} is missing")) for name in names]
        held = [proc for proc in self._held if not self._held[proc].done() and _could_start(proc)]
        chosen = [proc for proc in held if self._frees(proc, others)] or ([] if ending or self._active else held[:1])
        if chosen:
            return [(self._held[proc], None) for proc in chosen]
        if not self._active and not ending:
            self._break_deadlock()
        return []

    def _frees(self, first: Proc, others: list[Proc]) -> bool:
        """Whether all others end once this one of those that come after all may start."""
        ending = self._will_end(lambda proc: proc is first)
        return all(proc in ending for proc in others)

    def _lacks(self, proc: Proc) -> bool:
        return any(dep is None for dep in proc._deps.values())

    def _will_end(self, may_start: Callable[[Proc], bool]) -> set[Proc]:
        def may_come(proc: Proc) -> bool:
            if self._missing and self._lacks(proc):
                return False
            return not proc._after_all or may_start(proc) or self._held[proc].done()

        return will_end(self.open, self._locks.capacity, may_come)

    def way_round(self, proc: Proc) -> str:
        """The way by which a proc that waits would wait for itself. The caller holds the lock."""
        if proc in will_end(self.open, self._locks.capacity, lambda _: True):
            return ""
        return way_round(proc, self.open, self._locks.capacity)

    def _break_deadlock(self) -> None:
        for waiter in self.waiters.inside:
            if way := self.way_round(waiter.proc):
                waiter.refuse(way)
                return

    # A running proc waits for others --------------------------------------------------------------------------

    def pause(self, proc: Proc, others: Iterable[Proc]) -> None:
        """A running proc waits, and leaves its place to others. The caller holds the lock."""
        proc._waits_for = tuple(others)
        self._active.discard(proc)
        if proc._seat is not None:
            proc._seat.leave()
            proc._seat = None
        elif proc._task is not None:
            self._scheduler.give_back(proc._task, self._limit)

    def resume(self, proc: Proc) -> Seat | None:
        """It waits no more; the place that it is to take first, None where it has ended. The caller holds the lock."""
        proc._waits_for = ()
        if proc._state.is_end:
            return None
        proc._seat = seat = Seat()
        self._active.add(proc)
        self._scheduler.submit([seat], gates={self._limit: 1}, name=f"{proc.name} again")
        return seat

    # The end --------------------------------------------------------------------------------------------------

    def stop(self) -> list[Proc]:
        """Cancel all that is wanted or runs; those that ran."""
        with self._lock:
            procs = list(self.open)
            ran = [proc for proc in procs if proc._launched]
        for proc in reversed(procs):  # from the end, so that nothing is told to have failed for want of another
            if proc._task is not None:
                proc._task.cancel()
        return ran

    def leave_alone(self) -> None:
        """Nobody but procs will define or start anything any more."""
        with self._lock:
            self.waiters.add(Waiter(None))
        self.look()

    def settle(self) -> None:
        """Return when all has ended."""
        waiter = Waiter(None)
        with self._lock:
            if not self.open:
                return
            self.waiters.add(waiter)
        waiter.wait()

    def close(self, *, at_once: bool = False) -> None:
        """Take nothing more; return when the processes are gone."""
        self._scheduler.shutdown(wait=False, cancel_futures=at_once)
        for place in self._places.values():
            place.close(at_once=at_once)
        if self._channel is not None:
            self._channel.close()


def _could_start(proc: Proc) -> bool:
    return all(dep is not None and dep._state.is_success for dep in proc._deps.values())
