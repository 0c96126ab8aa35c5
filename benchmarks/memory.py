"""Memory: of a task that waits, and of a chain of large results."""

import gc
import resource
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event
from time import sleep
from typing import Any, TypeAlias

from floor import WORKERS, noop

Args: TypeAlias = tuple[int]
Submit: TypeAlias = Callable[[Args], Future[Any]]

MB = 1_000_000
CALLS = 50
RESULT_BYTES = 10 * MB
PATIENCE_S = 60
SETTLE_S = 1.0  # for what a scheduler's thread has still to note down


class Growth:
    """By how much memory has grown since this was made: traced by Python, or resident by the kernel."""

    def __init__(self, traced: bool) -> None:
        self._traced = traced
        gc.collect()
        if traced:
            tracemalloc.start()
        self._before = self._now()[0]

    def held(self) -> int:
        return self._now()[0] - self._before

    def peak(self) -> int:
        return self._now()[1] - self._before

    def _now(self) -> tuple[int, int]:
        return tracemalloc.get_traced_memory() if self._traced else resident()


def resident() -> tuple[int, int]:
    """Give the resident bytes of this process, now and at their peak."""
    status = Path("/proc/self/status")
    if not status.exists():
        # macOS tells the peak alone: growth is then a lower bound.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return peak, peak
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024, int(fields["VmHWM"].split()[0]) * 1024


def pending(contender: str, n: int, traced: bool) -> dict[str, float]:
    """Measure the bytes of one pending task, at the peak of submitting n, beyond what its arguments take."""
    with PENDING[contender]() as submit:
        all_args: list[Args] = [(index,) for index in range(n)]
        futures: list[Future[Any] | None] = [None] * n
        growth = Growth(traced)
        for index, args in enumerate(all_args):
            futures[index] = submit(args)
        sleep(SETTLE_S)
        grown = growth.peak()
    unfinished = wait([future for future in futures if future], timeout=PATIENCE_S).not_done
    if unfinished:
        raise AssertionError(f"{len(unfinished):,} of {n:,} tasks did not end")
    return {"bytes": grown / n}


@contextmanager
def pending_in_weft() -> Iterator[Submit]:
    from weft.futures import Scheduler

    gate: Future[None] = Future()
    with ThreadPoolExecutor(WORKERS) as executor, Scheduler(lambda _: executor.submit(noop)) as scheduler:
        yield lambda args: scheduler.submit(args, dependencies=(gate,))
        gate.set_result(None)


@contextmanager
def pending_in_parman() -> Iterator[Submit]:
    from parman.scheduler import Scheduler

    gate: Future[None] = Future()
    no_kwargs: dict[str, object] = {}
    with ThreadPoolExecutor(WORKERS) as executor, Scheduler(lambda _: executor.submit(noop)) as scheduler:
        yield lambda args: scheduler.submit(args, no_kwargs, (gate,))
        gate.set_result(None)


@contextmanager
def pending_in_executor() -> Iterator[Submit]:
    """The queue of a ThreadPoolExecutor whose workers are all busy."""
    gate = Event()
    with ThreadPoolExecutor(WORKERS) as executor:
        for _ in range(WORKERS):
            executor.submit(gate.wait)
        yield lambda args: executor.submit(take, *args)
        gate.set()


def take(_index: int) -> None:
    """A no-op that takes its argument."""


PENDING: dict[str, Callable[[], AbstractContextManager[Submit]]] = {
    "weft": pending_in_weft,
    "plain": pending_in_executor,
    "parman": pending_in_parman,
}


def runner_chain(schedule: bool, traced: bool) -> dict[str, float]:
    """Measure the peak growth over a chain of calls with large results, the earlier ones dropped."""
    from weft.calls import task
    from weft.runners import ConcurrentRunner

    step = task(pass_on)
    with ConcurrentRunner(schedule=schedule) as runner:
        runner(step, b"warm-up").result()
        growth = Growth(traced)
        data: Any = b"x" * RESULT_BYTES
        for _ in range(CALLS):
            data = runner(step, data)
        if len(data.result()) != RESULT_BYTES:
            raise AssertionError("the chain lost some of its data")
        return {"peak_mb": growth.peak() / MB, "held_mb": growth.held() / MB}


def pass_on(data: bytes) -> bytes:
    """Give as many bytes as it got, in memory of their own."""
    return b"y" * len(data)
