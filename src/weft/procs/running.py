"""Runs what is wanted: each proc is a task of the engine, which passes its gates and is given to a place.

    starters                the scheduler's thread                        places
    --------                ----------------------                        ------
    plan ─> want ──submit─> dependencies ─> waves, locks, cpus, limit,
                            NO_FAILURES ─> _launch ───────submit────────> call
                            _observe: record, tell, wake  <──────────────  end
                            LooseEnds.look: can nothing else go on? ─> AFTER_ALL, what is missing

All that is written down here about procs is so under the manager's lock; no code of the user's runs under it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from weft.engine.graph import topological_order
from weft.engine.light import LightFuture
from weft.engine.states import FAILED, RUNNING, SUCCEEDED, WANTED, State
from weft.errors import ChoiceError
from weft.executors.terms import Machine
from weft.futures import Event, Gate, Limit, Locks, ScheduledFuture, Scheduler, Slots, Waves, When
from weft.procs.ends import record
from weft.procs.launcher import Launcher
from weft.procs.loose_ends import LooseEnds
from weft.procs.options import Options
from weft.procs.plan import Plan, refuse_late
from weft.procs.proc import Proc
from weft.procs.seats import Seat
from weft.procs.waiting import Waiter, Waiters

__all__ = ["Happened", "Running"]

PATIENCE = 5.0  # seconds


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
        self._tell = tell
        self._launcher = Launcher(lock, options, params, answer, folder)
        self.open: dict[Proc, None] = {}  # wanted or running
        self.waiters = Waiters()
        self.failures = 0
        self._active: set[Proc] = set()  # those that run, and do not wait for others
        self._of: dict[Future[Any], Proc] = {}  # whose task it is
        self._waves, self._locks = Waves(), Locks(options.locks)
        self.loose = LooseEnds(lock, self.open, self._active, self.waiters, self._capacity)
        machine = Machine(None)
        self._cpus = Slots({"cpus": machine.slots})
        self._scarce = {"gpus of this machine": len(machine.gpus), "memory of this machine": machine.memory}
        self._limit = Limit(1 if options.mode == "single" and options.executor is None else options.parallel)
        self._no_failures = When(lambda _: not self.failures, "run aborted: a task has failed")
        for gate in (self._waves, self._limit):
            gate.default = None  # a seat that is taken again asks for nothing else
        gates = [self._waves, self._locks, self._cpus, self._limit, self._no_failures]
        self._scheduler: Scheduler[Any] = Scheduler(self._launch, gates=gates, name="procs")
        self._scheduler.observe(self._observe, early=False)
        self._scheduler.at_pauses(self.loose.look)

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
        self._launcher.place(declaration.executor).check(declaration.where, declaration.resources)

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
        gates = {self._waves: declaration.wave, **self._places_of(proc)}
        if declaration.locks:
            gates[self._locks] = declaration.locks
        if proc._no_failures:
            gates[self._no_failures] = True
        before: list[Future[Any]] = []
        for name, dep in proc._deps.items():
            if dep is None:
                before.append(self.loose.end_of(name, proc))
            elif dep._task is not None and dep._state is not SUCCEEDED:
                before.append(dep._task)
        if proc._after_all:
            before.append(self.loose.end_of_all(proc))
        proc._holds = self._held_by(proc)
        proc._task = self._scheduler.submit(
            [proc, proc._generation], dependencies=before, condition="success", name=proc.name, gates=gates
        )
        self._of[proc._task] = proc

    def _places_of(self, proc: Proc) -> dict[Gate, Any]:
        """What a proc holds as long as it runs and waits for nobody."""
        gates: dict[Gate, Any] = {self._limit: 1}
        cpus = proc._declaration.resources.cpus
        if cpus and self._launcher.shares_cpus(proc._declaration.executor):
            gates[self._cpus] = {"cpus": min(cpus, int(self._cpus.capacity("cpus")))}
        return gates

    def _held_by(self, proc: Proc) -> dict[str, int]:
        """What it keeps as long as it runs; what its executor has shared out cannot be given back."""
        holds = dict(proc._declaration.locks)
        resources = proc._declaration.resources
        if self._launcher.shares_cpus(proc._declaration.executor):
            asked = zip(self._scarce, (resources.gpus, resources.memory), strict=True)
            holds |= {name: count for name, count in asked if count}
        return holds

    def _capacity(self, name: str) -> float:
        return self._scarce[name] if name in self._scarce else self._locks.capacity(name)

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
        return topological_order(
            {
                proc: [dep for dep in proc._deps.values() if dep is not None and dep in procs]
                for proc in self.open
                if proc in procs
            }
        )

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
            attempt = self._launcher.attempt(proc)
            proc._work = attempt
            attempt.begin()
        except BaseException as error:
            proc._error = error
            raise
        return attempt

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
                record(proc, state, event.detail)
                self.failures += proc._state is FAILED
                self._forget(proc)
                self.loose.settle(proc)
        self._tell(Happened(event.time, proc, proc._state))
        if proc._state.is_end:
            with self._lock:
                woken = self.waiters.ended(proc, none_left=not self.open)
            for waiter in woken:
                waiter.wake()

    def _forget(self, proc: Proc) -> None:
        self._active.discard(proc)
        self.open.pop(proc, None)
        proc._waits_for = ()
        if proc._seat is not None:
            proc._seat.leave()
            proc._seat = None

    # A running proc waits for others --------------------------------------------------------------------------

    def pause(self, proc: Proc, others: Iterable[Proc]) -> None:
        """A running proc waits, and leaves its place to others. The caller holds the lock."""
        proc._waits_for = tuple(others)
        self._active.discard(proc)
        if proc._seat is not None:
            proc._seat.leave()
            proc._seat = None
        elif proc._task is not None:
            for gate in (self._limit, self._cpus):
                self._scheduler.give_back(proc._task, gate)

    def resume(self, proc: Proc) -> Seat | None:
        """It waits no more; the place that it is to take first, None where it has ended. The caller holds the lock."""
        proc._waits_for = ()
        if proc._state.is_end:
            return None
        proc._seat = seat = Seat()
        self._active.add(proc)
        self._scheduler.submit([seat], gates=self._places_of(proc), name=f"{proc.name} again")
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
        self.loose.look()

    def settle(self) -> None:
        """Return when all that has been stopped has been recorded.

        Not later than `PATIENCE` seconds from now: in a signal handler, which may have cut short what another thread
        waits for, such as a write to stdout.
        """
        waiter = Waiter(None)
        with self._lock:
            if not self.open:
                return
            self.waiters.add(waiter)
        waiter.wait(PATIENCE)

    def close(self, *, at_once: bool = False) -> None:
        """Take nothing more; return when the processes are gone."""
        self._scheduler.shutdown(wait=False, cancel_futures=at_once)
        self._launcher.close(at_once=at_once)
