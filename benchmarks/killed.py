"""Workers that are killed again and again while they work: who is right in the end, and what it costs."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Event, Thread
from time import perf_counter
from typing import Any

from floor import WORKERS
from local_peers import opened
from pool import Pool
from tasks import tell_worker

EVERY_S = 0.05
# By name, for a peer is imported only where it is measured. Each says: the worker died with this task.
DEATHS = ("WorkerDied", "ProcessExpired")


class Hunter:
    """Kills a worker every so often: the one that was the last to report, and is still alive."""

    def __init__(self) -> None:
        self.killed: set[int] = set()
        self._seen: dict[int, None] = {}  # the newest is the last
        self._stop = Event()

    def note(self, future: Future[Any]) -> None:
        if not future.cancelled() and not future.exception():
            _, pid = future.result()
            self._seen.pop(pid, None)
            self._seen[pid] = None

    @contextmanager
    def hunting(self) -> Iterator[None]:
        thread = Thread(target=self._hunt)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _hunt(self) -> None:
        while not self._stop.wait(EVERY_S):
            any(self._kill(pid) for pid in reversed(list(self._seen)) if pid not in self.killed)

    def _kill(self, pid: int) -> bool:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.killed.add(pid)
        return True


def under_fire(contender: str, n: int) -> dict[str, float]:
    """Run n tasks of a millisecond in peace and n under fire; `value` is how many times as long that took."""
    with opened(contender) as pool:
        run(pool, 10 * WORKERS, Hunter())
        in_peace, _ = run(pool, n, Hunter())
        hunter = Hunter()
        with hunter.hunting():
            elapsed, failed = run(pool, n, hunter)
    if failed > len(hunter.killed):
        raise AssertionError(f"{failed} tasks failed, and only {len(hunter.killed)} workers were killed")
    return {"value": elapsed / in_peace, "peace_s": in_peace, "killed": len(hunter.killed), "failed": failed}


def run(pool: Pool, n: int, hunter: Hunter) -> tuple[float, int]:
    """Give the time, and how many failed with their worker; anything else that is wrong raises."""
    start = perf_counter()
    futures: list[Future[Any]] = [pool.start(tell_worker, index) for index in range(n)]
    for future in futures:
        future.add_done_callback(hunter.note)
    outcomes = [future.exception() for future in futures]
    elapsed = perf_counter() - start
    failed = 0
    for index, (future, error) in enumerate(zip(futures, outcomes, strict=True)):
        if type(error).__name__ in DEATHS:
            failed += 1
        elif future.result()[0] != index:
            raise AssertionError(f"task {index} gave {future.result()[0]}")
    return elapsed, failed
