"""The schedulers that are measured: weft and its peers, all over two threads, each in its usual dress.

They have the signature of the floors. A peer is imported inside its function: each measurement runs in a
process of its own, and pays for the imports of one peer only.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from floor import WORKERS, Run, noop, wait_for_all
from shapes import Shape


@contextmanager
def weft() -> Iterator[Run]:
    from weft.futures import Scheduler

    with ThreadPoolExecutor(WORKERS) as executor:

        def run(shape: Shape) -> list[Future[Any]]:
            futures: list[Future[Any]] = []
            with Scheduler(lambda _: executor.submit(noop)) as scheduler:
                for index, parents in enumerate(shape):
                    dependencies = [futures[parent] for parent in parents]
                    futures.append(scheduler.submit((index,), dependencies=dependencies))
                wait_for_all(futures)
            return futures

        yield run


@contextmanager
def parman() -> Iterator[Run]:
    from parman.scheduler import Scheduler

    with ThreadPoolExecutor(WORKERS) as executor:

        def run(shape: Shape) -> list[Future[Any]]:
            futures: list[Future[Any]] = []
            with Scheduler(lambda _: executor.submit(noop)) as scheduler:
                for index, parents in enumerate(shape):
                    futures.append(scheduler.submit((index,), {}, [futures[parent] for parent in parents]))
                # Within the block: its shutdown may overtake a task that has just become ready, and lose it.
                wait_for_all(futures)
            return futures

        yield run


@contextmanager
def dask() -> Iterator[Run]:
    # Of the two ways to write a graph, this is the faster: tuples would first be translated into it.
    from dask._task_spec import Task, TaskRef
    from dask.threaded import get

    with ThreadPoolExecutor(WORKERS) as executor:

        def run(shape: Shape) -> object:
            graph = {
                index: Task(index, noop_after, *[TaskRef(parent) for parent in parents])
                for index, parents in enumerate(shape)
            }
            return get(graph, list(graph), pool=executor)

        yield run


def noop_after(*_parents: None) -> None:
    """A no-op that is handed its parents' results, the only way to depend on them in dask."""


@contextmanager
def parsl() -> Iterator[Run]:
    from parsl.app.app import python_app
    from parsl.config import Config
    from parsl.dataflow.dflow import DataFlowKernel
    from parsl.executors.threads import ThreadPoolExecutor as ParslThreads

    with TemporaryDirectory(prefix="weft-bench-") as run_dir:
        config = Config(
            executors=[ParslThreads(max_threads=WORKERS)],
            run_dir=run_dir,
            strategy="none",
            usage_tracking=0,
            initialize_logging=False,
        )
        kernel = DataFlowKernel(config)
        app: Any = python_app(noop_with_inputs, data_flow_kernel=kernel)

        def run(shape: Shape) -> list[Future[Any]]:
            futures: list[Future[Any]] = []
            for parents in shape:
                futures.append(app(inputs=[futures[parent] for parent in parents]))
            wait_for_all(futures)
            return futures

        try:
            yield run
        finally:
            kernel.cleanup()


def noop_with_inputs(inputs: list[None]) -> None:
    """A no-op with the argument by which Parsl passes dependencies."""
