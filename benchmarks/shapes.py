"""Task graphs as plain lists: the parents of each task by index, parents always before their children."""

import random
from collections.abc import Callable
from typing import TypeAlias

Shape: TypeAlias = list[tuple[int, ...]]

LAYER_WIDTH = 100
PARENTS_PER_TASK = 3


def fan_out(n: int) -> Shape:
    """No dependencies at all."""
    return [()] * n


def fan_out_behind_root(n: int) -> Shape:
    """One task, and all others wait for it."""
    return [(), *[(0,)] * (n - 1)]


def fan_in(n: int) -> Shape:
    """The last task waits for all others."""
    return [*[()] * (n - 1), tuple(range(n - 1))]


def chain(n: int) -> Shape:
    """Each task waits for the one before."""
    return [(), *[(index,) for index in range(n - 1)]]


def reduce_tree(n: int) -> Shape:
    """A binary heap read from its leaves to its top: each inner task waits for two."""

    def parents(index: int) -> tuple[int, ...]:
        place = n - 1 - index
        return tuple(n - 1 - below for below in (2 * place + 1, 2 * place + 2) if below < n)

    return [parents(index) for index in range(n)]


def layers(n: int) -> Shape:
    """Layers of 100, where each task waits for 3 tasks of the layer before, drawn by a fixed seed."""
    draw = random.Random(n)

    def parents(index: int) -> tuple[int, ...]:
        start = index // LAYER_WIDTH * LAYER_WIDTH
        if not start:
            return ()
        return tuple(draw.sample(range(start - LAYER_WIDTH, start), PARENTS_PER_TASK))

    return [parents(index) for index in range(n)]


# A thread that wakes another on a second CPU waits 10 to 90 µs for it, as the kernel likes; on one CPU, a chain
# measures the scheduler again.
ON_ONE_CPU = ("chain-1cpu",)

SHAPES: dict[str, Callable[[int], Shape]] = {
    "fan-out": fan_out,
    "root-fan-out": fan_out_behind_root,
    "fan-in": fan_in,
    "chain": chain,
    "chain-1cpu": chain,
    "reduce-tree": reduce_tree,
    "layers": layers,
}
