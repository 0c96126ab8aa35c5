"""The contenders of `local.py`: pools of two worker processes, each in its usual dress.

Each is a context manager that gives a `Pool`. A peer is imported inside its function: each measurement runs
in a process of its own, and pays for the imports of one peer only.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from tempfile import TemporaryDirectory
from typing import Any

import bare
from floor import WORKERS
from pool import CannotError, Pool, Task, WithArguments, WithFutures


@contextmanager
def weft(start: str | None = None) -> Iterator[Pool]:
    from weft.executors import LocalExecutor

    options: dict[str, Any] = {"start": start} if start else {}
    with LocalExecutor(WORKERS, **options) as executor:
        yield WithFutures(executor, executor.map)


@contextmanager
def ppe(start: str, chunksize: int = 1) -> Iterator[Pool]:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(WORKERS, get_context(start)) as executor:
        yield WithFutures(executor, partial(executor.map, chunksize=chunksize))


@contextmanager
def loky() -> Iterator[Pool]:
    from loky import get_reusable_executor

    executor: Executor = get_reusable_executor(WORKERS)
    yield WithFutures(executor, executor.map)
    executor.shutdown()


@contextmanager
def mpire() -> Iterator[Pool]:
    from mpire import WorkerPool

    class Mpire(Pool):
        def start(self, task: Task, *args: Any) -> Any:
            return workers.apply_async(task, args)

        def fetch(self, handles: Sequence[Any]) -> list[Any]:
            return [handle.get() for handle in handles]

        def map_all(self, task: Task, items: Sequence[Any]) -> list[Any]:
            return list(workers.map(task, items))

    with WorkerPool(WORKERS, keep_alive=True) as workers:
        yield Mpire()


@contextmanager
def pebble() -> Iterator[Pool]:
    from pebble import ProcessPool

    class Schedules:
        """What pebble calls `schedule`, under the name that executors have for it."""

        def submit(self, fn: Task, /, *args: Any) -> Future[Any]:
            return workers.schedule(fn, args)  # type: ignore[no-any-return]

    with ProcessPool(WORKERS) as workers:
        yield WithFutures(Schedules(), lambda task, items: workers.map(task, items).result())


@contextmanager
def joblib() -> Iterator[Pool]:
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    class Joblib(Pool):
        """Its one way is a map: all tasks at once, and nothing to hold for each."""

        def start(self, task: Task, *args: Any) -> Any:
            raise CannotError("no submit: Parallel takes all tasks at once (see map)")

        def run_all(self, task: Task, items: Sequence[Any]) -> list[Any]:
            call = delayed(task)
            return list(parallel(call(item) for item in items))

        def map_all(self, task: Task, items: Sequence[Any]) -> list[Any]:
            return self.run_all(task, items)

        def call(self, task: Task, arg: Any) -> Any:
            return self.run_all(task, [arg])[0]

    with Parallel(n_jobs=WORKERS) as parallel:
        yield Joblib()
    get_reusable_executor().shutdown()


@contextmanager
def executorlib() -> Iterator[Pool]:
    from executorlib import SingleNodeExecutor

    class Executorlib(WithArguments, WithFutures):
        """An executor that takes its own futures as arguments."""

    # Without block_allocation each task would start an interpreter of its own.
    with SingleNodeExecutor(max_workers=WORKERS, block_allocation=True, hostname_localhost=True) as executor:
        yield Executorlib(executor, executor.map)


@contextmanager
def dask(workers: Callable[[], AbstractContextManager[Any]] | None = None) -> Iterator[Pool]:
    """Open a client of this cluster; without one, of a cluster on this machine."""
    from distributed import Client

    class Dask(WithArguments):
        # pure=False: not a result that it remembers from an equal call. Arrays are scattered, as its manual asks.
        def start(self, task: Task, *args: Any) -> Any:
            placed = [client.scatter(arg) if hasattr(arg, "nbytes") else arg for arg in args]
            return client.submit(task, *placed, pure=False)

        def fetch(self, handles: Sequence[Any]) -> list[Any]:
            return list(client.gather(handles))

        def map_all(self, task: Task, items: Sequence[Any]) -> list[Any]:
            return list(client.gather(client.map(task, items, pure=False)))

    with (workers or dask_workers)() as cluster, Client(cluster) as client:
        yield Dask()


def dask_workers() -> Any:
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=logging.ERROR
    )


@contextmanager
def ray() -> Iterator[Pool]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray as ray_
    from ray.util.multiprocessing import Pool as RayPool

    class Ray(WithArguments):
        def __init__(self) -> None:
            self._remote = cache(ray_.remote)

        def start(self, task: Task, *args: Any) -> Any:
            return self._remote(task).remote(*args)

        def fetch(self, handles: Sequence[Any]) -> list[Any]:
            return list(ray_.get(handles))

        def map_all(self, task: Task, items: Sequence[Any]) -> list[Any]:
            return list(self._pool().map(task, items))

        @cache  # noqa: B019  (once per process)
        def _pool(self) -> Any:
            return RayPool(WORKERS)

    ray_.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield Ray()
    ray_.shutdown()


@contextmanager
def parsl(provider: Callable[[], Any] | None = None) -> Iterator[Pool]:
    """Open its pool over workers that this provider starts; without one, on this machine."""
    from parsl.app.app import python_app
    from parsl.config import Config
    from parsl.dataflow.dflow import DataFlowKernel
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    class Parsl(WithArguments):
        def __init__(self, kernel: DataFlowKernel) -> None:
            self._app = cache(partial(python_app, data_flow_kernel=kernel))

        def start(self, task: Task, *args: Any) -> Any:
            return self._app(task)(*args)

        def fetch(self, handles: Sequence[Any]) -> list[Any]:
            return [future.result() for future in reversed(handles)][::-1]

    with TemporaryDirectory(prefix="weft-bench-") as run_dir:
        executor = HighThroughputExecutor(
            max_workers_per_node=WORKERS,
            address="127.0.0.1",
            encrypted=False,
            provider=provider() if provider else LocalProvider(init_blocks=1, max_blocks=1),
        )
        config = Config(
            executors=[executor], run_dir=run_dir, strategy="none", usage_tracking=0, initialize_logging=False
        )
        kernel = DataFlowKernel(config)
        try:
            yield Parsl(kernel)
        finally:
            kernel.cleanup()


CONTENDERS: dict[str, Callable[[], AbstractContextManager[Pool]]] = {
    "weft": weft,
    "ppe-fork": partial(ppe, "fork"),
    "ppe-forkserver": partial(ppe, "forkserver"),
    "loky": loky,
    "mpire": mpire,
    "pebble": pebble,
    "joblib": joblib,
    "executorlib": executorlib,
    "dask": dask,
    "ray": ray,
    "parsl": parsl,
    "pipes": bare.pipes,
    "shared": bare.shared,
}

# weft beside itself, for whoever asks.
ON_REQUEST: dict[str, Callable[[], AbstractContextManager[Pool]]] = {
    f"weft-{start}": partial(weft, start) for start in ("fork", "forkserver", "spawn")
}


def opened(contender: str) -> AbstractContextManager[Pool]:
    """Start a pool by its name; `ppe-fork/500` is ppe-fork whose map has chunks of 500."""
    name, _, chunksize = contender.partition("/")
    if chunksize:
        return ppe(name.removeprefix("ppe-"), int(chunksize))
    return {**CONTENDERS, **ON_REQUEST}[name]()
