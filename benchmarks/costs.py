"""What is paid at the door: importing weft, and the snapshot that a Closure takes of its arguments."""

import gc
import os
import sys
from collections.abc import Callable
from itertools import groupby
from random import random
from statistics import median
from time import perf_counter

STATEMENTS = {
    "python": "pass",
    "futures": "import concurrent.futures",
    "weft": "import weft",
    "weft_names": "from weft import task, ConcurrentRunner",
}


def imports(starts: int) -> dict[str, float]:
    """Measure the median CPU milliseconds of an interpreter per statement, in interleaved starts."""
    for statement in STATEMENTS.values():
        start_ms(statement)  # compiles what is not yet compiled
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(starts):
        for name, statement in STATEMENTS.items():
            times[name].append(start_ms(statement))
    return {name: median(values) for name, values in times.items()}


def start_ms(statement: str) -> float:
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", statement], os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise RuntimeError(f"python -c {statement!r} failed")
    return (usage.ru_utime + usage.ru_stime) * 1e3


def closure(n: int, repeats: int) -> dict[str, float]:
    """Measure a Closure on a list of floats beside copying that list, in milliseconds.

    `scan` is the limit for any snapshot that is sound: it must look at the type of each item, since one
    list among a million floats has to be copied too. No loop is known that does so for less than `groupby`,
    which runs in C and compares by identity first (`operator.countOf`: 1.2 x, `set(map(type, ...))`: 1.6 x).
    """
    from weft.calls import Closure, task

    step = task(total)
    values = [random() for _ in range(n)]
    actions: dict[str, Callable[[], object]] = {
        "copy": lambda: values[:],
        "scan": lambda: (len(list(groupby(values, type))), values[:]),
        "closure": lambda: Closure(step, [values]),
    }
    times: dict[str, list[float]] = {name: [] for name in actions}
    order = list(actions)
    for _ in range(repeats):
        order.append(order.pop(0))  # nobody always finds the caches as the same other left them
        for name in order:
            times[name].append(timed_ms(actions[name]))
    return {name: median(taken) for name, taken in times.items()}


def timed_ms(action: Callable[[], object]) -> float:
    gc.collect()
    start = perf_counter()
    result = action()
    elapsed = perf_counter() - start
    del result
    return elapsed * 1e3


def total(values: list[float]) -> float:
    return sum(values)
