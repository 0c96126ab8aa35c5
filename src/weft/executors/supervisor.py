"""The thread of an executor: it hears of what workers have done, of their ends, and of time.

It waits on wires, output pipes and the sentinels of processes, all at once, until the next moment at which something is
due; it never looks before.
"""

from __future__ import annotations

import math
import os
import pickle
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from weft.engine.complain import complain
from weft.errors import ExecutorBroken, WorkerDied, told
from weft.executors.console import open_output
from weft.executors.handle import Handle, Kind
from weft.executors.launch import launch
from weft.executors.ledger import Ledger, make_file
from weft.executors.pool import MOST_VAIN, Delivery, Pool, Sends
from weft.executors.processes import UNKNOWN
from weft.executors.publish import Publisher
from weft.executors.tasks import Part, Singles
from weft.executors.terms import environment
from weft.executors.wire import Wire, pair, readable
from weft.executors.worker import Config
from weft.payload import unpack_failure

if TYPE_CHECKING:
    pass

__all__ = ["Supervisor"]

GRACE = 2.0  # seconds from SIGTERM to SIGKILL for a task that is stopped
ABORT_GRACE = 0.4  # the same after Ctrl-C: all is to be over within a second
GATHER = 0.0001  # for more tiny tasks to come in
LOST_GRACE = 0.2  # for the end of a worker that has closed its connection
# For a fork of this process to say something. It has all that this process has, also what another thread had locked at
# that moment and nobody will ever unlock in it: such a one is stuck. It is ended, and another one forked.
FORK_GRACE = 15.0
LEAVE_GRACE = 5.0  # for exit handlers and threads of a worker that leaves
PIPE = select.POLLIN | select.POLLHUP | select.POLLERR


class Supervisor:
    """What belongs to the thread, and the thread."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.thread: threading.Thread | None = None
        pool.wake = self.wake
        self._poll = select.poll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        self._watch(self._woken, self._drain_wake)
        self._publisher = Publisher(pool)
        self._deliveries: list[Delivery] = []  # to be published
        self._outputs: set[int] = set()  # of the watched files, those that are read before all others
        self._called = False  # it has been woken, and has not looked since
        self._roused = True  # there may be more to do than messages bring with them
        self._due = math.inf  # when the next thing is due, by time.monotonic

    # From any thread ------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Have it look at what is to be done."""
        if self._called:
            return
        # All under the lock, so that the file is not closed, and its number given to another one, in between.
        with self.pool.lock:
            if self._wake < 0:  # it has ended
                return
            if self.thread is None:
                thread = threading.Thread(target=self._run, name=f"weft-{self.pool.name}", daemon=True)
                thread.pending_work_items = _Work(self.pool)  # type: ignore[attr-defined] # see `weft.engine.exit`
                thread.start()
                self.thread = thread
            try:
                os.write(self._wake, b"x")
            except BlockingIOError:  # it is full, so it will wake up
                pass
            self._called = True

    def send(self, sends: Sends) -> None:
        """Send what has been decided."""
        for handle, part in sends:
            handle.send(part)

    def mend(self) -> None:
        """Something in the thread of a caller has been cut short: have it made whole."""
        self.pool.doubt = True
        self.wake()

    def abort(self) -> None:
        """Stop everything, now: what waits and what runs is cancelled."""
        pool = self.pool
        with pool.lock:
            pool.close(f"cannot submit: {pool.name} has been interrupted")
            pool.dropping = True
            running = [
                task
                for handle in pool.handles
                for part in handle.parts
                if isinstance(part, Singles)
                for task in part.tasks
            ]
            running = [task for task in running if task._decide()]
            handles = list(pool.handles)
            for handle in handles:
                handle.condemned = handle.leaving = True
                handle.kill_at = time.monotonic() + ABORT_GRACE
        for handle in handles:
            handle.child.signal(signal.SIGTERM)
        self.wake()
        self.end_queued(None)
        for task in running:
            task._publish_cancelled()

    def join(self) -> None:
        """Return when the thread has ended, which it does when all is over; Ctrl-C meanwhile stops everything."""
        thread = self.thread
        if thread is None or thread is threading.current_thread():
            return
        try:
            thread.join()
        except KeyboardInterrupt:
            self.abort()
            thread.join()
            raise

    def close(self) -> None:
        """Nothing will be heard of any more: the thread has ended, or will never be started."""
        with self.pool.lock:
            woken, wake, self._woken, self._wake = self._woken, self._wake, -1, -1
        for end in (woken, wake):
            if end >= 0:
                os.close(end)

    def forget(self) -> None:
        """In the child of a fork: nothing of this is ours."""
        pool = self.pool
        pool.lock = threading.RLock()
        pool.closed = "this executor belongs to the process that was forked; make a new one in the child"
        for handle in pool.handles:
            handle.forget()
        pool.handles = set()
        self.close()
        self.thread = None

    # The thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                if self._turn():
                    break
            except BaseException as error:  # noqa: BLE001 - no thread dies silently, and no future hangs
                complain("unexpected error in the thread of %s", self.pool.name)
                self._give_up(error)
                break
        self.close()

    def _give_up(self, error: BaseException) -> None:
        """A mistake of weft's own: end everything rather than leave anything waiting."""
        self._break(f"{self.pool.name} has met an error of weft's own: {told(error)}", error)
        for delivery in self._deliveries:
            self._publisher.publish(delivery)
        for handle in list(self.pool.handles):
            for delivery in handle.late:
                self._publisher.publish(delivery)
            handle.child.signal(signal.SIGKILL)
            for part in handle.parts:
                self._publisher.give_up(part, self.pool.broken or error)
            self.pool.handles.discard(handle)
            handle.close()

    def _turn(self) -> bool:
        """One round; True when all is over."""
        pool = self.pool
        # A message brings with it what is to be sent next; all else that may be to do is marked by one of these.
        if self._roused or pool.closed or pool.gathering or pool.starting or pool.leaving or pool.retried or pool.doubt:
            self._roused = pool.retried = False
            if self._arrange():
                return True
        timeout = self._timeout()
        # Last, since it wakes those who wait, and then they and this thread compete for the interpreter.
        if self._deliveries:
            self._publish_all()
            if pool.retried or pool.closed:
                return False  # there may be more to do, or nothing at all
            if timeout is not None:  # that took a while
                timeout = self._timeout()
        if pool.gathering:
            time.sleep(GATHER)  # poll() knows nothing shorter than a millisecond
            self._due = math.inf
            timeout = 0
        self._act(self._poll.poll(timeout))
        if self._due <= time.monotonic():
            self._roused = True
            self._tend()
        return False

    def _act(self, events: list[tuple[int, int]]) -> None:
        """See to the files that have something to say."""
        if len(events) > 1:
            # What a task has written comes before its outcome. A worker writes first and sends then, and poll() looks
            # at the wire first, since that was registered first; so where it finds an outcome, it finds the output.
            events.sort(key=lambda event: event[0] not in self._outputs)
        for file, _ in events:
            act = self._watched.get(file)
            if act is not None:
                act()

    def _publish_all(self) -> None:
        # In a frame of its own, which is gone while the thread sleeps: nothing of a result stays here.
        deliveries, self._deliveries = self._deliveries, []
        for delivery in deliveries:
            self._publisher.publish(delivery)

    def _arrange(self) -> bool:
        """Have work given out, workers started and sent away; True when all is over."""
        pool = self.pool
        if pool.doubt:
            self.send(pool.mend())
        if pool.dropping:
            self.end_queued(None)
        with pool.lock:
            sends = pool.decide()
            if pool.closed and pool.is_over() and not self._deliveries:
                return True
        if sends:
            self.send(sends)
        if pool.leaving or pool.starting:
            self._start_and_send_away()
        return False

    def _timeout(self) -> float | None:
        """Milliseconds until something is due."""
        now = 0.0
        due = math.inf
        with self.pool.lock:
            for handle in self.pool.handles:
                if handle.kill_at:
                    due = min(due, handle.kill_at)
                if handle.parts:
                    now = now or time.monotonic()
                    due = min(due, handle.next_look(now))
        self._due = due
        return None if due == math.inf else max(0.0, due - time.monotonic()) * 1000

    def _tend(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        for handle in list(self.pool.handles):
            if handle.kill_at and now >= handle.kill_at:
                handle.kill_at = 0.0
                handle.cut_off = handle.lost
                handle.child.signal(signal.SIGKILL)
            elif handle.next_look(now) <= now:
                delivery = self.pool.look(handle, now)
                self.send(delivery.sends)
                if delivery.kill:
                    self._stop(handle, GRACE)
                self._take(handle, delivery)

    def _drain_wake(self) -> None:
        with self.pool.lock:
            try:
                os.read(self._woken, 4096)
            except BlockingIOError:
                pass
            # Whoever still finds this set has changed something before that, and all is looked at after this.
            self._called = False
        self._roused = True

    # Workers come and go --------------------------------------------------------------------------------------

    def _start_and_send_away(self) -> None:
        pool = self.pool
        while pool.leaving:
            handle = pool.leaving.popleft()
            try:
                handle.wire.send(pickle.dumps(None))
            except OSError:  # it has died; its sentinel will say so
                pass
            handle.kill_at = handle.kill_at or time.monotonic() + LEAVE_GRACE
        while pool.starting:
            try:
                self._start(pool.starting[0])
            except IndexError:  # somebody has just emptied the queue
                return
            except OSError as error:
                pool.failed_to_start()
                self._roused = True
                if not pool.handles or pool.vain >= MOST_VAIN:
                    self._break(f"no worker can be started: {error}", error)

    def _start(self, kind: Kind) -> None:
        options = self.pool.options
        with ExitStack() as kept, ExitStack() as lent:  # each file is closed, whichever of the next cannot be had
            ours, its = pair()
            kept.callback(ours.close)
            lent.callback(its.close)
            memory = make_file()
            lent.callback(os.close, memory)
            ledger = Ledger(memory)
            kept.callback(ledger.close)
            output = open_output(options.capture)
            kept.callback(output.close)
            lent.callback(output.started)
            inherited = self.pool.shelf.unpackable() if options.start == "fork" else {}
            child = launch(options.start, its, memory, *output.its, inherited)
            kept.pop_all()
        handle = Handle(child, Wire(ours), ledger, kind, output, frozenset(inherited))
        environ = environment(*kind, options.environ)
        argv = [str(word) for word in getattr(sys, "argv", ())]
        config = Config(options.setting, environ, argv, options.initializer, options.capture, options.show_locals)
        if options.start == "fork":
            handle.kill_at = time.monotonic() + FORK_GRACE
        self.pool.started(handle)
        self._watch(handle.wire.fileno(), lambda: self._hear(handle))
        for file in output.ours:  # after the wire, see `_act`
            self._outputs.add(file)
            self._watch(file, lambda file=file: self._read(handle, file))  # type: ignore[misc]
        self._watch(handle.child.sentinel, lambda: self._sentinel(handle))
        try:
            handle.wire.send(pickle.dumps(config, 5))
        except OSError:  # it has died already
            pass

    def _read(self, handle: Handle, file: int) -> None:
        if not handle.output.read(file):
            self._unwatch(file)

    def _hear(self, handle: Handle) -> None:
        try:
            for data, files in handle.wire.receive():
                self._message(handle, pickle.loads(data), files)
        except EOFError:
            self._unwatch(handle.wire.fileno())
            handle.lost = True
            # A worker that lives and cannot be talked to is of no use; but nearly always it is about to end.
            handle.kill_at = time.monotonic() + LOST_GRACE

    def _message(self, handle: Handle, message: Any, files: list[int]) -> None:
        if not handle.ready and not handle.condemned and not handle.leaving:
            handle.kill_at = 0.0
        if message is True:
            return
        if message is None:
            self.send(self.pool.is_ready(handle))
            return
        if isinstance(message, bytes):
            error = unpack_failure(message)
            handle.leaving = True
            self._break(f"the initializer of {self.pool.name} failed: {told(error)}", error)
            return
        number, outcomes, scalar, nanoseconds, ended = message
        if handle.output.partial:
            handle.output.settle()
        delivery = self.pool.over(handle, number, outcomes, nanoseconds / 1e9, ended)
        delivery.scalar = scalar
        delivery.files = files
        if delivery.sends:
            self.send(delivery.sends)
        self._take(handle, delivery)

    def _take(self, handle: Handle, delivery: Delivery) -> None:
        """Have it published: soon, or when the worker is gone."""
        (handle.late if self.pool.options.fresh else self._deliveries).append(delivery)

    def _sentinel(self, handle: Handle) -> None:
        status = handle.child.ended()
        if status is None:
            return
        # What it sent before it died is in the wire; a child that it has left may hold the other end open.
        wire = handle.wire
        handle.output.drain()
        while wire.fileno() in self._watched and readable(wire):
            self._hear(handle)
        handle.output.settle()
        self._roused = True
        for file in (wire.fileno(), handle.child.sentinel, *handle.output.ours):
            self._unwatch(file)
        self._buried(handle, status)
        handle.close()

    def _buried(self, handle: Handle, status: int) -> None:
        pool = self.pool
        ready = handle.ready
        burial = pool.buried(handle)
        error: BaseException | None = None
        if burial.part is not None and burial.index is not None:
            error = burial.doom or self._death(handle, burial.part, burial.index, status)
        elif not ready and not handle.leaving and pool.vain >= MOST_VAIN:
            death = self._death(handle, None, 0, status)
            self._break(f"workers of {pool.name} die before they are ready: {death}", death)
        with pool.lock:
            sends = pool.decide()
        self.send(sends)
        self._deliveries += handle.late
        if burial.delivery is not None:
            self._deliveries.append(burial.delivery)
        if burial.part is not None and burial.index is not None and error is not None:
            self._publisher.fail(handle, burial.part, burial.index, error)

    def _death(self, handle: Handle, part: Part | None, index: int, status: int) -> WorkerDied:
        code = None if status == UNKNOWN else os.waitstatus_to_exitcode(status)
        pid = handle.child.pid or None
        tail = handle.output.tail(handle.ledger, part.first + index if part else 0, pid or 0)
        name = part.name(index) if part else "the start of a worker"
        if handle.cut_off and code == -signal.SIGKILL:
            text = f"{name} failed: its worker process {pid} has closed its connection, and was killed"
            return WorkerDied(text, task=name, pid=pid, exitcode=None, signal="SIGKILL", stderr=tail)
        return WorkerDied.told_by(code, task=name, pid=pid, stderr=tail)

    def _stop(self, handle: Handle, grace: float) -> None:
        """SIGTERM now, SIGKILL soon."""
        handle.condemned = handle.leaving = True
        handle.kill_at = time.monotonic() + grace
        handle.child.signal(signal.SIGTERM)

    def _break(self, why: str, cause: BaseException) -> None:
        """No worker will ever be ready: all that waits ends now."""
        pool = self.pool
        broken = ExecutorBroken(f"{why}; what waited has not been run")
        broken.__cause__ = cause
        with pool.lock:
            pool.broken = pool.broken or broken
            pool.close(str(broken))
        self.end_queued(broken)

    def end_queued(self, error: BaseException | None) -> None:
        """What waits ends with this error, or is cancelled. From any thread."""
        tasks, sweeps = self.pool.drain()
        for task in tasks:
            if task._decide():
                task._let_go()
                task._publish(None, error) if error is not None else task._publish_cancelled()
        for sweep in sweeps:
            sweep.give_up(error)

    # Files ----------------------------------------------------------------------------------------------------

    def _watch(self, file: int, act: Callable[[], None]) -> None:
        self._watched[file] = act
        self._poll.register(file, PIPE)

    def _unwatch(self, file: int) -> None:
        if self._watched.pop(file, None) is not None:
            self._outputs.discard(file)
            self._poll.unregister(file)


class _Work:
    """True while a pool has something to do."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __bool__(self) -> bool:
        with self._pool.lock:
            return self._pool.has_work()
