"""What several tests share: work that is done by hand, names of values, and time.

Workers import this too, so it imports what is heavy where it is needed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import Future

PATIENCE = 30  # seconds after which a test counts as hanging; never waited for in a test that passes


class Hand:
    """A submit function whose work is done by hand, in the order and at the time that the test wants."""

    def __init__(self):
        import queue

        self.calls: list[tuple] = []
        self._started: queue.Queue[tuple[tuple, Future]] = queue.Queue()

    def __call__(self, *args):
        future = Future()
        self.calls.append(args)
        self._started.put((args, future))
        return future

    def next(self) -> tuple[tuple, Future]:
        """The next submitted call: its arguments and its future, once it has been submitted."""
        return self._started.get(timeout=PATIENCE)

    def finish(self, result=None) -> tuple:
        """Let the next submitted call succeed; returns its arguments."""
        args, future = self.next()
        future.set_result(result)
        return args


def named(value) -> str:
    """A value in the name of a test: as repr shows it, without its address, which is another in every process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def fastest(work) -> float:
    """Seconds of processor time that it takes this thread to do this, the best of several times.

    For ratios to other work of the same thread; what else runs on the machine hardly changes them.
    """
    import timeit

    return min(timeit.repeat(work, timer=time.thread_time, number=1, repeat=7))


def done(result=None, error=None) -> Future:
    """A future that is done."""
    future = Future()
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
    return future


def cancelled() -> Future:
    """A future that has been cancelled."""
    future = Future()
    future.cancel()
    future.set_running_or_notify_cancel()
    return future


def eventually(holds: Callable[[], object]) -> bool:
    """Whether it holds at last: for what sends no word when it comes true."""
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def settled(scheduler) -> None:
    """Return once the scheduler's thread has dealt with everything that it could by now."""
    dispatcher = scheduler._dispatcher
    assert dispatcher.flushed().wait(PATIENCE)
    # It has been awake since we came. It sleeps, or ends, when nothing is left to do.
    assert eventually(lambda: dispatcher._asleep or dispatcher._over or dispatcher.thread is None)


def forgive(run) -> None:
    """Have a runner forget how its calls have failed, once they have all ended, so that it does not raise that."""
    run._calls.wait()
    run._calls.take_failures()
