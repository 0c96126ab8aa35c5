"""The workloads of `local.py`, each measured for one contender in a process of its own, and checked."""

import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from heapq import heapify, heapreplace
from random import Random
from time import perf_counter
from typing import Any, TypeAlias

from first import first_result
from floor import WORKERS
from killed import under_fire
from local_peers import opened
from pool import CannotError, Graph, Pool
from race import stay_on_one_cpu
from shapes import chain, layers
from tasks import ARRAY_BYTES, MILLISECOND, add_one, mix, same, spin

Numbers: TypeAlias = dict[str, float]

MB = 1_000_000
GRAIN_S = 0.05
LONG_S = 0.2
LONG_SHARE = 16 / 216
WAKE_S = 0.02


def measure(shape: str, contender: str, n: int) -> Numbers:
    """Measure one workload; `shape` is its name."""
    return MEASURES[shape](contender, n)


def over_pool(run: Callable[[Pool, int], float], warm_up: int) -> Callable[[str, int], Numbers]:
    """Measure with a warm pool: all its workers have worked, and it has done `warm_up` of the same tasks."""

    def measured(contender: str, n: int) -> Numbers:
        with opened(contender) as pool:
            with suppress(CannotError):
                pool.run_all(spin, [WAKE_S] * 2 * WORKERS)
            run(pool, min(warm_up, n))
            gc.collect()
            return {"value": run(pool, n)}

    return measured


def check(got: Any, expected: Any) -> None:
    if got != expected:
        raise AssertionError(f"wrong results: {str(got)[:80]}, not {str(expected)[:80]}")


def check_array(got: Any, expected: Any) -> None:
    if got.shape != expected.shape or not (got == expected).all():
        raise AssertionError("wrong numbers in the array that came back")


def submit(pool: Pool, n: int) -> float:
    return tasks_per_second(n, lambda items: pool.submit_all(same, items))


def map_(pool: Pool, n: int) -> float:
    return tasks_per_second(n, lambda items: pool.map_all(same, items))


def tasks_per_second(n: int, run: Callable[[Sequence[int]], list[int]]) -> float:
    items = list(range(n))
    start = perf_counter()
    results = run(items)
    elapsed = perf_counter() - start
    check(results, items)
    return n / elapsed


def layers_by_hand(pool: Pool, n: int) -> float:
    return graph_tasks_per_second(Graph(mix, layers(n), range(n), range(n)), pool.run_queue)


def layers_by_scheduler(pool: Pool, n: int) -> float:
    return graph_tasks_per_second(Graph(mix, layers(n), range(n), range(n)), pool.run_graph)


def chain_by_scheduler(pool: Pool, n: int) -> float:
    return graph_tasks_per_second(Graph(mix, chain(n), [0], range(n)), pool.run_graph)


def graph_tasks_per_second(graph: Graph, run: Callable[[Graph], list[int]]) -> float:
    expected = serially(graph)
    start = perf_counter()
    results = run(graph)
    elapsed = perf_counter() - start
    check(results, expected)
    return len(graph.shape) / elapsed


def serially(graph: Graph) -> list[Any]:
    results: list[Any] = []
    for index in range(len(graph.shape)):
        results.append(graph.task(*graph.inputs(index, results.__getitem__)))
    return [results[index] for index in graph.wanted]


def chain_by_hand(pool: Pool, n: int) -> float:
    expected = serially(Graph(mix, chain(n), [0], range(n)))
    results: list[int] = []
    value = 0
    start = perf_counter()
    for _ in range(n):
        value = pool.call(mix, value)
        results.append(value)
    elapsed = perf_counter() - start
    check(results, expected)
    return n / elapsed


def grain(pool: Pool, n: int) -> float:
    """Give the percentage of the ideal speed that is reached."""
    durations = [GRAIN_S] * n
    return 100 * greedy(durations) / makespan(pool, durations)


def mixed(pool: Pool, n: int) -> float:
    """Give the makespan of short and long tasks in random order, as a multiple of a perfect greedy one's."""
    long = round(n * LONG_SHARE)
    durations = [LONG_S] * long + [MILLISECOND] * (n - long)
    Random(0).shuffle(durations)
    return makespan(pool, durations) / greedy(durations)


def makespan(pool: Pool, durations: list[float]) -> float:
    start = perf_counter()
    results = pool.run_all(spin, durations)
    elapsed = perf_counter() - start
    check(results, durations)
    return elapsed


def greedy(durations: Sequence[float]) -> float:
    """Compute the makespan where each task in turn goes to the worker that is free first, at no cost."""
    free_at = [0.0] * WORKERS
    heapify(free_at)
    for duration in durations:
        heapreplace(free_at, free_at[0] + duration)
    return max(free_at)


def array_round_trips(pool: Pool, n: int) -> float:
    """Give MB/s, in and out counted; each result is read once within that time."""
    import numpy as np

    elapsed = 0.0
    for index in range(n):
        array = np.arange(index, index + ARRAY_BYTES // 8, dtype=np.float64)
        start = perf_counter()
        result = pool.call(add_one, array)
        result.sum()
        elapsed += perf_counter() - start
        check_array(result, array + 1)
    return in_and_out(n) / elapsed


def array_chain(pool: Pool, n: int) -> float:
    """Give MB/s, in and out of each link counted; the last result is read once within that time."""
    import numpy as np

    array = np.arange(ARRAY_BYTES // 8, dtype=np.float64)
    start = perf_counter()
    [result] = pool.run_graph(Graph(add_one, chain(n), [array], [n - 1]))
    result.sum()
    elapsed = perf_counter() - start
    check_array(result, array + n)
    return in_and_out(n) / elapsed


def in_and_out(calls: int) -> float:
    return 2 * calls * ARRAY_BYTES / MB


def layered(contender: str, n: int) -> Numbers:
    """Measure layers: weft by its Scheduler, others by a hand-written queue, or the other way round."""
    name, _, way = contender.partition("/")
    usual = "scheduler" if name.startswith("weft") else "queue"
    run = layers_by_scheduler if (way or usual) == "scheduler" else layers_by_hand
    return over_pool(run, 200)(name, n)


def on_one_cpu(measured: Callable[[str, int], Numbers]) -> Callable[[str, int], Numbers]:
    """The same with all processes pinned to one CPU: no waking of a second one."""

    def pinned(contender: str, n: int) -> Numbers:
        stay_on_one_cpu()
        return measured(contender, n)

    return pinned


MEASURES: dict[str, Callable[[str, int], Numbers]] = {
    "submit": over_pool(submit, 200),
    "map": over_pool(map_, 200),
    "layers": layered,
    "chain": over_pool(chain_by_hand, 50),
    "chain-1cpu": on_one_cpu(over_pool(chain_by_hand, 50)),
    "chain-graph": over_pool(chain_by_scheduler, 50),
    "grain": over_pool(grain, 2 * WORKERS),
    "mixed": over_pool(mixed, 20),
    "array": over_pool(array_round_trips, 2),
    "array-chain": over_pool(array_chain, 2),
    "first": first_result,
    "killed": under_fire,
}
