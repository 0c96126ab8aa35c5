"""What a contender of `local.py` can be asked to do, and the same for all that are executors or nearly so."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias

from floor import ready_queue, wait_for_all
from shapes import Shape

Task: TypeAlias = Callable[..., Any]


class CannotError(Exception):
    """A contender has no way of its own to do this."""


@dataclass(frozen=True)
class Graph:
    """A task to call once per place in a shape: with an item of `roots`, or with its parents' results."""

    task: Task
    shape: Shape
    roots: Sequence[Any]
    wanted: Sequence[int]  # whose results the caller is to have in the end

    def inputs(self, index: int, results: Callable[[int], Any]) -> list[Any]:
        parents = self.shape[index]
        return [results(parent) for parent in parents] if parents else [self.roots[index]]


class Pool:
    """A warm pool of workers. A contender overrides what it has a way for: `start` and `fetch` give the most."""

    def start(self, task: Task, *args: Any) -> Any:
        """Submit a call, and return what stands for its result."""
        raise CannotError("no way to submit one task")

    def fetch(self, handles: Sequence[Any]) -> list[Any]:
        raise CannotError("hands out nothing to wait for")

    def submit_all(self, task: Task, items: Sequence[Any]) -> list[Any]:
        """Call the task with each item, in calls that know nothing of each other."""
        return self.fetch([self.start(task, item) for item in items])

    def run_all(self, task: Task, items: Sequence[Any]) -> list[Any]:
        """The same in whatever way the contender has for it."""
        return self.submit_all(task, items)

    def map_all(self, task: Task, items: Sequence[Any]) -> list[Any]:
        raise CannotError("no map over its workers")

    def call(self, task: Task, arg: Any) -> Any:
        """Call, and wait for the result."""
        return self.fetch([self.start(task, arg)])[0]

    def run_queue(self, graph: Graph) -> list[Any]:
        """Run a graph by a hand-written ready queue, or in this contender's own way."""
        raise CannotError("neither takes dependencies nor hands out futures")

    def run_graph(self, graph: Graph) -> list[Any]:
        """Run a graph through weft's Scheduler, or in this contender's own way."""
        return self.run_queue(graph)


class WithArguments(Pool):
    """The pools that have dependencies: what stands for a result may be an argument of the next call."""

    def run_queue(self, graph: Graph) -> list[Any]:
        handles: list[Any] = []
        for index in range(len(graph.shape)):
            handles.append(self.start(graph.task, *graph.inputs(index, handles.__getitem__)))
        return self.fetch([handles[index] for index in graph.wanted])

    def run_graph(self, graph: Graph) -> list[Any]:
        return self.run_queue(graph)


class Submits(Protocol):
    """As much of an executor as all of them have."""

    def submit(self, fn: Task, /, *args: Any) -> Future[Any]: ...


class WithFutures(Pool):
    """The pools with `submit` that know no dependencies. `map_` is the map of the contender, where it has one."""

    def __init__(self, executor: Submits, map_: Callable[[Task, Sequence[Any]], Any] | None = None) -> None:
        self._executor = executor
        self._map = map_

    def start(self, task: Task, *args: Any) -> Future[Any]:
        return self._executor.submit(task, *args)

    def fetch(self, handles: Sequence[Future[Any]]) -> list[Any]:
        wait_for_all(handles)
        return [future.result() for future in handles]

    def map_all(self, task: Task, items: Sequence[Any]) -> list[Any]:
        return list(self._map(task, items)) if self._map else super().map_all(task, items)

    def run_queue(self, graph: Graph) -> list[Any]:
        futures: list[Any] = [None] * len(graph.shape)

        def submit(index: int) -> Future[Any]:
            futures[index] = self.start(graph.task, *graph.inputs(index, lambda parent: futures[parent].result()))
            return futures[index]  # type: ignore[no-any-return]

        ready_queue(graph.shape, submit)
        return [futures[index].result() for index in graph.wanted]

    def run_graph(self, graph: Graph) -> list[Any]:
        from weft.futures import Scheduler

        futures: list[Future[Any]] = []
        # This submit function needs no thread of its own, so a chain goes on in the thread in which a link ends.
        with Scheduler(partial(self._submit_with_results, graph.task), anywhere=True) as scheduler:
            for index, parents in enumerate(graph.shape):
                dependencies = [futures[parent] for parent in parents]
                inputs = dependencies or [graph.roots[index]]
                futures.append(scheduler.submit(inputs, dependencies=dependencies))
            wait_for_all(futures)
        return [futures[index].result() for index in graph.wanted]

    def _submit_with_results(self, task: Task, *inputs: Any) -> Future[Any]:
        return self.start(task, *[item.result() if isinstance(item, Future) else item for item in inputs])
