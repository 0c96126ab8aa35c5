"""The measurements of `slurm.py`, each made for one contender in a process of its own, and checked."""

import gc
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

from job_graphs import new_folder
from naps import nap
from pool import CannotError, Pool
from slurm_calls import calls, counts, start_counting
from slurm_cluster import occupy, wait_until, waiting_jobs
from slurm_peers import CONTENDERS, PILOTS, POLL_S
from workloads import Numbers, check

SETTLE_S = 3.0
WINDOW_S = 30.0
TICKS = os.sysconf("SC_CLK_TCK")


def measure(shape: str, contender: str, n: int) -> Numbers:
    """Measure one workload; `shape` is its name."""
    new_folder()
    start_counting()
    return MEASURES[shape](contender, n)


# Tasks to the last result ---------------------------------------------------------------------------------


def ms_per_task(contender: str, n: int) -> Numbers:
    numbers = map_all(contender, n)
    return {"value": numbers["s"] / n * 1e3, **numbers}


def tasks_per_second(contender: str, n: int) -> Numbers:
    numbers = map_all(contender, n)
    return {"value": n / numbers["s"], **numbers}


def map_all(contender: str, n: int) -> Numbers:
    """Measure from before the executor is made until the last result is there; count calls until it is closed."""
    opened = CONTENDERS[contender]()
    items = list(range(n))
    gc.collect()
    start = perf_counter()
    with opened() as pool:
        results = mapped(pool, items)
        elapsed = perf_counter() - start
    polls = 1 + int((perf_counter() - start) / POLL_S)
    check(results, [] if contender == "bare" else items)
    return {"s": elapsed, "polls": polls, **counts(calls())}


def mapped(pool: Pool, items: list[int]) -> list[Any]:
    try:
        return pool.map_all(nap, items)
    except CannotError:
        return pool.run_all(nap, items)


# One call of submit ---------------------------------------------------------------------------------------


def submit(contender: str, n: int) -> Numbers:
    """Measure each call, in µs; `value` is the median."""
    handles, times = [], []
    with CONTENDERS[contender]()() as pool:
        for item in range(n):
            start = perf_counter()
            handles.append(pool.start(nap, item))
            times.append((perf_counter() - start) * 1e6)
        check(pool.fetch(handles), list(range(n)))
    return {"value": median(times), "most": max(times)}


# While tasks wait -----------------------------------------------------------------------------------------

HELD: list[AbstractContextManager[Pool]] = []  # closing one would wait for tasks that never run


def waiting(contender: str, n: int) -> Numbers:
    """Measure the CPU time of a client, and of all that it starts, whose tasks wait in the queue behind others."""
    occupy()
    manager = CONTENDERS[contender]()()
    HELD.append(manager)
    pool = manager.__enter__()
    results = ThreadPoolExecutor(1).submit(mapped, pool, list(range(n)))
    jobs = 1 if contender in PILOTS else n

    def is_queued() -> bool:
        return results.done() or waiting_jobs() == jobs

    wait_until(is_queued, f"{jobs:,} jobs in the queue")
    sleep(SETTLE_S)
    before, asked, start = cpu_seconds(), len(calls()), perf_counter()
    sleep(WINDOW_S)
    used, elapsed = cpu_seconds() - before, perf_counter() - start
    asked = len(calls()) - asked
    if results.done():
        raise AssertionError(f"gave up: {results.exception() or 'there are results'}")
    check(waiting_jobs(), jobs)
    return {"value": 100 * used / elapsed, "calls": 60 * asked / elapsed}


def cpu_seconds() -> float:
    """Give the CPU time of this process, of those below it, and of those that these have waited for."""
    children: dict[str, list[str]] = {}
    ticks: dict[str, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name of the command stands in brackets, and may have any character within.
            pid, _, rest = path.read_text().partition(" (")
        except OSError:
            continue  # it has just ended, and is in the time of the one that waited for it
        fields = rest.rpartition(")")[2].split()
        children.setdefault(fields[1], []).append(pid)
        ticks[pid] = sum(map(int, fields[11:15]))
    family = [str(os.getpid())]
    for member in family:
        family += children.get(member, [])
    return sum(ticks.get(member, 0) for member in family) / TICKS


MEASURES: dict[str, Callable[[str, int], Numbers]] = {
    "map": ms_per_task,
    "packed": tasks_per_second,
    "submit": submit,
    "waiting": waiting,
}
