"""The tasks of `local.py` and `jobs.py`: what the workers of all contenders run. Light, for each worker imports it."""

import os
from functools import cache
from time import perf_counter
from typing import Any

MODULUS = 1_000_003
MILLISECOND = 0.001
ARRAY_BYTES = 10_000_000
MARKS = "WEFT_BENCH_MARKS"  # the environment variable with the path of the file that `mark` writes to


def same(item: int) -> int:
    """The no-op; that it hands back its argument lets the caller check each result."""
    return item


def mix(*values: int) -> int:
    """A no-op with a value that depends on all values it got."""
    return (sum(values) * 31 + 7) % MODULUS


def spin(seconds: float) -> float:
    """Keep Python busy for this long by the clock on the wall."""
    end = perf_counter() + seconds
    while perf_counter() < end:
        pass
    return seconds


def add_one(array: Any) -> Any:
    """A new array, as large as the one it got."""
    return array + 1


def tell_worker(item: int) -> tuple[int, int]:
    """Work for a millisecond, and say in which process."""
    spin(MILLISECOND)
    return item, os.getpid()


def mark(index: int) -> None:
    """The no-op job, but for its mark, by which the caller sees that each job ran once."""
    os.write(_marks(), b"%d\n" % index)


@cache
def _marks() -> int:
    return os.open(os.environ[MARKS], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
