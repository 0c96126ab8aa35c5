"""The workers of one executor, and what is to be done: decided here, under one lock; done by whoever has asked.

    submit ──> an idle worker is there: send                                         (the caller's thread)
           └─> backlog <── map
    messages, deaths, timers, wake ──> over, look, buried ──> decide ──> send, publish   (the supervisor's thread)

A task is in the backlog, or in a part that is with a worker, or over. What is with a worker that dies goes back into
the backlog, but for the one task that the worker had begun.

Under the lock there is no I/O and no code of the user's. Only the supervisor takes something out of the backlog, so
that no Ctrl-C can come while it is in nobody's hands. What one may cut short in the caller's thread is made whole by
`mend`: a worker that is neither idle nor has a part, a part that was noted and not sent.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from weft.errors import ClosedError, ExecutorBroken
from weft.executors.backlog import WORTH, Backlog
from weft.executors.functions import Common, Shelf
from weft.executors.handle import LOOK, Handle, Kind
from weft.executors.ledger import DELAY, ROWS
from weft.executors.tasks import LocalFuture, Part, Singles, Span, Sweep
from weft.executors.terms import Claims, Machine, Terms
from weft.executors.worker import Setting

if TYPE_CHECKING:
    from weft.executors.launch import Start
    from weft.resources import Cause

__all__ = ["Options", "Pool", "Sends"]

Task: TypeAlias = LocalFuture[Any]
Sends: TypeAlias = list[tuple[Handle, Part]]

PETTY = 0.0001  # seconds of work that are not worth a message of their own
TINY = 0.0001  # seconds; tasks that take less are worth waiting for more of them
BURST = 0.00005  # seconds between two submits that follow each other without anything between them
AHEAD = 0.001  # seconds: a worker that will be done sooner is sent more, so that it need not wait for it
MOST_VAIN = 3  # workers that may die with a task, or before they are ready, without having begun anything


class Options(NamedTuple):
    """How workers are made."""

    setting: Setting
    start: Start
    initializer: bytes
    environ: dict[str, str]
    capture: str | None
    show_locals: bool
    max_tasks: int | None
    fresh: bool


class Pool:
    """Queue, workers and claims. Everything here but the lock itself belongs to whoever holds the lock."""

    def __init__(self, machine: Machine, options: Options, name: str) -> None:
        self.lock = threading.RLock()  # reentrant, for signal handlers
        self.machine = machine
        self.options = options
        self.name = name
        self.shelf = Shelf()
        self.handles: set[Handle] = set()
        self.starting: deque[Kind] = deque()  # workers that the supervisor is to start
        self.leaving: deque[Handle] = deque()  # workers that it is to send away
        self.closed = ""  # why nothing more is accepted
        self.broken: BaseException | None = None
        self.dropping = False  # what comes back into the queue is cancelled
        self.vain = 0  # workers that have died before they were ready, since one was
        self.wake: Callable[[], object] = int  # have the supervisor look at what is to be done
        self.gathering = False  # what is queued may wait for more, but not for long
        self.retried = False  # a failed task is in the queue again
        self.doubt = False  # something may have been cut short: mend it
        self._came = 0.0  # when a task came last
        self._streaming = False  # right after another one
        self._gathers_since = 0.0
        self._backlog = Backlog()
        self._idle: list[Handle] = []
        self._claims = Claims(machine)

    # What is asked of it -------------------------------------------------------------------------------------

    def accept(self, task: Task) -> tuple[Sends, bool]:
        """Take a task; what to send now, and whether the supervisor is to be woken.

        The caller's thread, which a Ctrl-C may interrupt at any place, gives a task to an idle worker if nothing stands
        in the way. All else is put down for the supervisor: whoever takes something out of the backlog must not be
        interrupted with it in hand.
        """
        seconds = task._function.seconds
        if self._is_full():
            # What happened meanwhile is looked at afterwards: whoever makes a worker idle, or closes the pool, says so
            # first and looks into the backlog then. One of us sees the other. With the lock, a flood of submits would
            # keep the supervisor waiting for it, and be kept.
            self._backlog.append(task)
            if self.closed:
                self._withdraw(task)
            return [], not self._is_full()
        before, self._came = self._came, time.monotonic()
        self._streaming = self._came - before < BURST
        if seconds is None or seconds >= TINY or not self._streaming:
            with self.lock:
                self.check_open()
                # Tiny ones may be worth waiting for more of them while others are at work, see `_can_wait`.
                if not self._backlog and (len(self._idle) == len(self.handles) or seconds is None or seconds >= TINY):
                    handle = self._idle_for(task._terms, task._function)
                    if handle is not None:
                        task._taken = True
                        part = Singles([task], task._terms, math.inf if seconds is None else seconds)
                        handle.add(part, self._came)
                        return [(handle, part)], part.terms.time is not None
        self._backlog.append(task)
        if self.closed:
            self._withdraw(task)
        return [], not self.gathering  # while it gathers, the supervisor looks again soon by itself

    def accept_all(self, sweep: Sweep[Any]) -> None:
        """Take the calls of a map; the supervisor is to be woken."""
        with self.lock:
            self.check_open()
            self._backlog.add(sweep, sweep.waiting())

    def _is_full(self) -> bool:
        return not self._idle and len(self.handles) + len(self.starting) >= self.machine.slots

    def _withdraw(self, task: Task) -> None:
        """It came when the pool had just been closed: then it is refused, unless somebody has taken it by now."""
        with self.lock:
            if not task._taken and task._decide():
                self.check_open()

    def check_open(self) -> None:
        """Raise ClosedError or ExecutorBroken where nothing is accepted."""
        if self.broken is not None:
            raise ExecutorBroken(*self.broken.args) from self.broken.__cause__
        if self.closed:
            raise ClosedError(self.closed)

    def drop(self, task: Task) -> bool:
        """Cancel a task that waits; whether its caller is to publish that."""
        with self.lock:
            if task._taken or not task._decide():
                return False
            task._let_go()
            return True

    def recall(self, task: Task) -> bool:
        """Take back a task that is with a worker, if that has not begun it; it takes `DELAY`."""
        with self.lock:
            handle, number = self._whereabouts(task)
            if handle is None or number <= handle.started():
                return False
            handle.hold(handle.started() + 1)
            held = handle.holds
        time.sleep(DELAY)
        with self.lock:
            if task._taken and handle.holds == held and self._whereabouts(task)[0] is handle:
                # Whatever it has begun by now: it begins nothing that comes after, see `ledger`.
                self._take_back(handle, handle.started())
            return not task._taken

    def _whereabouts(self, task: Task) -> tuple[Handle | None, int]:
        """The worker that a task is with, and its number there."""
        for handle in self.handles:
            for part in handle.parts:
                if isinstance(part, Singles) and task in part.tasks[: part.size]:
                    return handle, part.first + part.tasks.index(task)
        return None, 0

    def _take_back(self, handle: Handle, started: int) -> None:
        """What a worker on hold has not begun, being past the task that it has begun last, is for others."""
        for part in reversed(handle.parts):
            self._put_back(part, max(part.delivered, min(part.size, started + 1 - part.first), 0))

    def kill(self, task: Task) -> bool:
        """Cancel a task wherever it is; whether its caller is to publish that."""
        with self.lock:
            if not task._decide():
                return False
            handle, number = self._whereabouts(task)
            if handle is not None:
                handle.doomed[number] = None
        self.wake()
        return True

    def stop(self, sweep: Sweep[Any]) -> None:
        """Nobody wants more of its results: what has not been sent is not run."""
        with self.lock:
            sweep.over = True
            self._backlog.stop(sweep)
            for handle in self.handles:
                if any(isinstance(part, Span) and part.sweep is sweep for part in handle.parts):
                    handle.hold(handle.started() + 1)

    def close(self, why: str) -> None:
        """Accept nothing more."""
        with self.lock:
            self.closed = self.closed or why

    def drop_all(self) -> None:
        """From now on what is in the queue, or comes back into it, is cancelled; workers begin nothing more."""
        with self.lock:
            self.dropping = True
            for handle in self.handles:
                if handle.parts:
                    handle.hold(handle.started() + 1)

    def drain(self) -> tuple[list[Task], list[Sweep[Any]]]:
        """Empty the queue; what was in it is the caller's to end."""
        with self.lock:
            self.starting.clear()
            return self._backlog.drain()

    def is_over(self) -> bool:
        """Whether nothing is left to do, and nothing new can come."""
        return bool(self.closed) and not self.handles and not self.has_work()

    def has_work(self) -> bool:
        """Whether something is queued or with a worker."""
        return self._backlog.head() is not None or any(handle.parts for handle in self.handles)

    # Who gets what -------------------------------------------------------------------------------------------

    def decide(self) -> Sends:
        """Give work to workers as long as there are both; note which to start, and which to send away."""
        self.gathering = False
        sends: Sends = []
        if not self._backlog and not self.closed:
            return sends
        if self.dropping:  # what is in the queue is about to be cancelled
            self._close_idle()
            return sends
        while (head := self._backlog.head()) is not None:
            handle = self._worker_for(head)
            if handle is None:
                return sends
            part = self._cut(head, handle)
            handle.add(part, time.monotonic())
            sends.append((handle, part))
        self._close_idle()
        return sends

    def _close_idle(self) -> None:
        """After the last task, workers are sent away."""
        if self.closed and not self._backlog:
            self.starting.clear()
            for handle in self._idle:
                self._send_away(handle)
            self._idle.clear()

    def _worker_for(self, head: Task | Sweep[Any]) -> Handle | None:
        if isinstance(head, LocalFuture):
            terms, function = head._terms, head._function
        else:
            terms, function = head.terms, head.function
        if self._can_wait(function):
            return None
        if self._claims.fit(terms):
            if (handle := self._idle_for(terms, function)) is not None:
                return handle
            self._start_for(terms, function)
        if function.packed is not None and not self.starting:
            for handle in self.handles:
                if self._is_hungry(handle, terms):
                    return handle
        return None

    def _idle_for(self, terms: Terms, function: Common) -> Handle | None:
        """An idle worker for such a task, which is not idle any more."""
        if not self._claims.fit(terms):
            return None
        idle = self._idle
        for place in range(len(idle) - 1, -1, -1):  # the last to become idle is the warmest
            handle = idle[place]
            if self._suits(handle, terms, function):
                del idle[place]
                self._claims.take(terms, handle.kind[1])
                handle.claimed = terms
                return handle
        return None

    def _can_wait(self, function: Common) -> bool:
        """Whether what is queued is worth no message of its own yet, and more is about to come.

        As Nagle has it for small packets (RFC 896): while something is under way, a little more is gathered; and, as
        network cards have it, while more keeps coming in. For `LOOK` seconds at most.
        """
        if function.seconds is not None and self._backlog.count() * function.seconds < PETTY:
            now = time.monotonic()
            streaming = self._streaming and now - self._came < 2 * BURST
            if streaming or self._is_brisk(now):
                self._gathers_since = self._gathers_since or now
                if now - self._gathers_since < LOOK:
                    self.gathering = True
                    return True
        self._gathers_since = 0.0
        return False

    def _is_brisk(self, now: float) -> bool:
        """Whether a worker was sent something lately that it is soon done with."""
        for handle in self.handles:
            parts = handle.parts
            if parts and parts[-1].seconds < WORTH and now - parts[0].sent_at < LOOK:
                return True
        return False

    def _suits(self, handle: Handle, terms: Terms, function: Common) -> bool:
        cpus, devices = handle.kind
        return (
            cpus == terms.cpus
            and len(devices) == terms.gpus
            and (not devices or all(device in self._claims.gpus for device in devices))
            and (function.packed is not None or function.id in handle.known)
        )

    def _is_hungry(self, handle: Handle, terms: Terms) -> bool:
        """Whether a worker will soon be done with what it has, and can be given more of the same."""
        if len(handle.parts) != 1 or handle.claimed is not terms or handle.held or handle.leaving or handle.doomed:
            return False
        if self.options.max_tasks is not None and handle.total >= self.options.max_tasks:
            return False
        part = handle.parts[0]
        if not part.sent:  # another thread is about to: parts must arrive in their order
            return False
        return -LOOK < part.sent_at + part.seconds - time.monotonic() < AHEAD

    def _start_for(self, terms: Terms, function: Common) -> None:
        """Have workers started for what is at the head of the queue, as many as can be of use."""
        kind = (terms.cpus, tuple(self._claims.gpus[: terms.gpus]))
        coming = sum(1 for known in self.starting if known == kind)
        coming += sum(1 for handle in self.handles if not handle.ready and handle.kind == kind and not handle.leaving)
        if function.packed is None:  # only a worker that is forked from now on has it
            wanted = 1 - sum(1 for handle in self.handles if not handle.ready and function.id in handle.known)
            wanted -= len(self.starting)
        else:
            fitting = self._claims.cpus // terms.cpus
            if terms.gpus:
                fitting = min(fitting, 1)  # each has devices of its own: one after the other
            wanted = min(fitting, self._backlog.count()) - coming
        for _ in range(wanted):
            living = sum(1 for handle in self.handles if not handle.leaving) + len(self.starting)
            if living >= self.machine.slots:
                if not self._idle:
                    return
                self._send_away(self._idle.pop(0))
            self.starting.append(kind)

    def _send_away(self, handle: Handle) -> None:
        handle.leaving = True
        self.leaving.append(handle)

    def _cut(self, head: Task | Sweep[Any], handle: Handle) -> Part:
        """Take off the queue what is worth a message, and no more than this worker's share."""
        most = max(1, -(-self._backlog.count() // self.machine.slots))
        function = head._function if isinstance(head, LocalFuture) else head.function
        if function.seconds is not None and most * function.seconds < PETTY:
            most = int(PETTY / max(function.seconds, 1e-9))  # not worth sharing out
        if function.id not in handle.known:
            most = 1  # it has to be brought in there first, with all that it imports: nobody is to wait behind that
        largest = ROWS
        if self.options.max_tasks is not None:
            largest = min(ROWS, self.options.max_tasks - handle.total)
        if isinstance(head, LocalFuture):
            return self._backlog.cut_singles(head._terms, min(most, largest))
        return self._backlog.cut_span(head, min(most, largest), largest)

    # What workers have done ----------------------------------------------------------------------------------

    def over(self, handle: Handle, number: int, outcomes: list[Any], seconds: float, ended: bool) -> Delivery:
        """A worker has sent outcomes. What of them is new, and what to send now."""
        with self.lock:
            part = handle.parts[0]
            handle.quiet_since = time.monotonic()
            handle.noted = -1
            known = part.first + part.delivered - number  # of these, a look has found so many before
            delivery = self._deliver(part, outcomes[known:] if known else outcomes)
            if outcomes:
                part.learn(number - part.first, len(outcomes), seconds)
            if ended:
                handle.parts.popleft()
                if part.delivered < part.size:  # it has come to LIMIT, and so nothing of what follows will be begun
                    for later in reversed(handle.parts):
                        self._put_back(later, 0)
                    self._put_back(part, part.delivered)
                if handle.parts:
                    handle.parts[0].sent_at = handle.quiet_since
                else:
                    self._rest(handle)
            delivery.sends = self.decide()
            return delivery

    def _deliver(self, part: Part, outcomes: list[Any]) -> Delivery:
        delivery = Delivery(part, part.delivered, outcomes)
        part.delivered += len(outcomes)
        return delivery

    def _rest(self, handle: Handle) -> None:
        """It has nothing left to do."""
        handle.release()
        if handle.doomed:
            handle.doomed.clear()
        if handle.claimed is not None:
            self._claims.give_back(handle.claimed, handle.kind[1])
            handle.claimed = None
        if handle.leaving:
            return
        if self.options.max_tasks is not None and handle.total >= self.options.max_tasks:
            self._send_away(handle)
        else:
            self._idle.append(handle)

    def _put_back(self, part: Part, index: int) -> None:
        """What has not been begun, from this task of the part on, goes to the front of the queue."""
        count = self._backlog.put_back(part, index)
        if count:
            assert part.worker is not None
            part.worker.total -= count

    def once_more(self, part: Part, index: int, cause: Cause) -> bool:
        """Have a task that has failed run again, if its `retries` allow it."""
        with self.lock:
            if self.dropping or self.broken is not None:
                return False
            if isinstance(part, Span):
                tries = part.sweep.tries.setdefault(part.start + index, {})
            else:
                assert isinstance(part, Singles)
                tries = part.tasks[index]._told().tries
            terms = self.machine.grown(part.terms, cause, tries)
            if terms is None:
                return False
            if isinstance(part, Span):
                start = part.start + index
                part.sweep.spans.append((start, start + 1, terms))
                self._backlog.add(part.sweep, 1)
            else:
                task = part.tasks[index]
                task._taken, task._terms = False, terms
                self._backlog.append(task)
            self.retried = True
            return True

    # What can be known of a worker that says nothing ---------------------------------------------------------

    def look(self, handle: Handle, now: float) -> Delivery:
        """Look at what a worker has written down. Called a while after it was heard of last, and then again."""
        with self.lock:
            part = handle.parts[0]
            delivery = self._deliver(part, handle.written(part))
            started = handle.started()
            # It has not moved since the last look: in the middle of a task, or before the first of this part.
            stuck = handle.noted == started and not 0 <= started - part.first < part.delivered
            for key in [key for key in handle.doomed if key < part.first + part.delivered]:
                del handle.doomed[key]  # it was done before it could be stopped
            handle.time_out(part, started, now)
            if stuck and handle.held:
                # LIMIT was set a while ago, and it has not moved since: nothing after this one will be begun.
                self._take_back(handle, started)
                handle.doomed = {key: doom for key, doom in handle.doomed.items() if key == started}
                delivery.kill = bool(handle.doomed) and not handle.condemned
            elif stuck or started in handle.doomed:
                handle.hold(started + 1)
            handle.noted = started
            handle.quiet_since = now
            delivery.sends = self.decide()
            return delivery

    # Beginnings and ends of workers --------------------------------------------------------------------------

    def started(self, handle: Handle) -> None:
        """A process has been started; it will say when it is ready."""
        with self.lock:
            self.handles.add(handle)
            if handle.kind in self.starting:  # until now, so that it was counted all the time
                self.starting.remove(handle.kind)

    def failed_to_start(self) -> None:
        """No process could be started for the first that was to be."""
        with self.lock:
            self.vain += 1
            if self.starting:
                self.starting.popleft()

    def is_ready(self, handle: Handle) -> Sends:
        """A worker can be given work."""
        with self.lock:
            handle.ready = True
            self.vain = 0
            if not handle.leaving:
                self._idle.append(handle)
            return self.decide()

    def buried(self, handle: Handle) -> Burial:
        """A worker has ended. What it had begun, what it had done; what it had not begun goes to others."""
        with self.lock:
            self.handles.discard(handle)
            if handle in self._idle:
                self._idle.remove(handle)
            burial = Burial()
            if handle.parts:
                part = handle.parts[0]
                burial.delivery = self._deliver(part, handle.written(part))
                self._blame(handle, part, burial)
                for later in reversed(list(handle.parts)[1:]):
                    self._put_back(later, 0)
                self._put_back(part, part.delivered + (burial.index is not None))
            handle.parts.clear()
            if handle.claimed is not None:
                self._claims.give_back(handle.claimed, handle.kind[1])
                handle.claimed = None
            if not handle.ready and not handle.leaving:
                self.vain += 1
            return burial

    def _blame(self, handle: Handle, part: Part, burial: Burial) -> None:
        """Which task has died with its worker: the one that it had begun, or, the third time, was about to begin."""
        index = part.delivered
        number = part.first + index
        if index >= part.size:
            return
        begun = handle.started() >= number and not (handle.held and handle.limit() <= number)
        if not begun and (handle.condemned or part.died_in_vain(index) < MOST_VAIN):
            return
        burial.part, burial.index = part, index
        burial.doom = handle.doomed.get(number)

    def mend(self) -> Sends:
        """Make whole what a Ctrl-C in the thread of a caller may have cut short."""
        with self.lock:
            self.doubt = False
            unsent = []
            for handle in self.handles:
                unsent += [(handle, part) for part in handle.parts if not part.sent]
                if handle.ready and not handle.parts and not handle.leaving and handle not in self._idle:
                    self._rest(handle)
            self._claims = Claims(self.machine)  # counted anew
            for handle in self.handles:
                if handle.claimed is not None:
                    self._claims.take(handle.claimed, handle.kind[1])
            return unsent + self.decide()


class Delivery:
    """Outcomes of tasks of one part, from an index on, that are to be published."""

    __slots__ = ("files", "index", "kill", "outcomes", "part", "scalar", "sends")

    def __init__(self, part: Part, index: int, outcomes: list[Any]) -> None:
        self.part = part
        self.index = index
        self.outcomes = outcomes
        self.files: list[int] = []  # in which large ones lie
        self.scalar = False  # they are values as they are
        self.sends: Sends = []
        self.kill = False  # the worker is to be killed, for the task that it runs


class Burial:
    """What a dead worker leaves."""

    delivery: Delivery | None = None
    part: Part | None = None
    index: int | None = None  #: Of the task that died with it.
    doom: BaseException | None = None  #: What that task is to end with, when it was stopped for it.
