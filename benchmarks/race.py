"""The race: time per no-op task of one contender for one shape."""

import gc
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from statistics import median
from time import perf_counter

import floor
import peers
from floor import Run
from shapes import ON_ONE_CPU, SHAPES, Shape

CONTENDERS: dict[str, Callable[[], AbstractContextManager[Run]]] = {
    "floor": floor.floor,
    "floor-direct": floor.floor_direct,
    "floor-futures": floor.floor_futures,
    "hand-overs": floor.hand_overs,
    "plain": floor.plain,
    "weft": peers.weft,
    "parman": peers.parman,
    "dask": peers.dask,
    "parsl": peers.parsl,
}

# These say nothing about the other shapes.
ONLY_FOR = {"plain": ("fan-out",), "hand-overs": ("chain", "chain-1cpu")}

WARM_UP_TASKS = 200


def time_per_task(contender: str, shape: str, n: int, repeats: int) -> dict[str, float]:
    """Measure the median over the repeats, in microseconds."""
    if shape in ON_ONE_CPU:
        stay_on_one_cpu()
    graph = SHAPES[shape](n)
    with CONTENDERS[contender]() as run:
        run(SHAPES[shape](WARM_UP_TASKS))
        return {"us": median(timed(run, graph) for _ in range(repeats)) / n * 1e6}


def stay_on_one_cpu() -> None:
    if not hasattr(os, "sched_setaffinity"):
        raise RuntimeError("this system cannot pin a process to a CPU")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def timed(run: Run, graph: Shape) -> float:
    gc.collect()
    start = perf_counter()
    held = run(graph)
    elapsed = perf_counter() - start
    del held  # only now: freeing what the user holds is not the scheduler's time
    return elapsed
