"""The backends that there are: worker processes, threads, the calling thread, and any executor.

A function here makes the backend of its name; its parameters are what ``schedule(..., backend=name)`` takes beside.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any

from weft.errors import ArgumentError, ChoiceError
from weft.jobs.backends import Place
from weft.jobs.call import INSTEAD
from weft.jobs.pool import ThreadPool
from weft.payload import pack, unpack, unpackable_arguments

if TYPE_CHECKING:
    from weft.executors import LocalExecutor
    from weft.executors.cluster.system import BatchSystem
    from weft.jobs.call import JobCall
    from weft.jobs.cluster.place import Cluster
    from weft.jobs.node import Job
    from weft.resources import Resources

__all__ = [
    "Foreign",
    "Local",
    "Serial",
    "Threads",
    "condor",
    "foreign",
    "local",
    "refused",
    "serial",
    "slurm",
    "threads",
]

LOGGER = logging.getLogger("weft")

ARGUMENTS = 5  # of a JobCall: where the arguments of the function are among its own


def local(
    max_workers: int | None = None,
    max_tasks_per_worker: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
    env: Mapping[str, str] | None = None,
    start: Any = "forkserver",
    locals: bool | None = None,
) -> Local:
    """Worker processes on this machine; see `weft.LocalExecutor` for the options."""
    from weft.executors import LocalExecutor

    executor = LocalExecutor(
        max_workers,
        max_tasks_per_worker=max_tasks_per_worker,
        initializer=initializer,
        initargs=initargs,
        env=env,
        start=start,
        locals=locals,
    )
    return Local(executor, own=True, packs=start != "fork")


def threads(max_workers: int | None = None) -> Threads:
    """Threads of this process: jobs share memory. Default: as many as there are cpus that this process may use."""
    from weft.executors.terms import usable_cpus

    if max_workers is not None and (not isinstance(max_workers, int) or isinstance(max_workers, bool)):
        raise ArgumentError(f"max_workers must be a whole number, got {max_workers!r:.60}")
    if max_workers is not None and max_workers < 1:
        raise ChoiceError(f"max_workers must be at least 1, got {max_workers}")
    return Threads(max_workers or usable_cpus())


def serial() -> Serial:
    """The thread that calls `schedule`: one job after the other."""
    return Serial()


def slurm(**options: Any) -> Cluster:
    """Jobs of Slurm; see `weft.SlurmExecutor` for the options, which are for jobs that do not say so themselves."""
    from weft.jobs.cluster.place import Cluster
    from weft.jobs.cluster.systems import made_system

    return Cluster(made_system("slurm"), options)


def condor(**options: Any) -> Cluster:
    """Jobs of HTCondor; see `weft.CondorExecutor` for the options, which are for jobs that do not say so themselves."""
    from weft.jobs.cluster.place import Cluster
    from weft.jobs.cluster.systems import made_system

    return Cluster(made_system("condor"), options)


def cluster(system: BatchSystem, options: Mapping[str, Any]) -> Cluster:
    """A batch system of the user's, such as a `FakeCluster`."""
    from weft.jobs.cluster.place import Cluster

    return Cluster(system, options)


def foreign(executor: Executor) -> Place:
    """An executor of the user's."""
    from weft.executors import ClusterExecutor, LocalExecutor

    if isinstance(executor, ClusterExecutor):
        from weft.jobs.cluster.place import Cluster

        return Cluster(executor._system, {}, executor)
    if isinstance(executor, LocalExecutor):
        return Local(executor, own=False, packs=executor._pool.options.start != "fork")
    return Foreign(executor)


class Local(Place):
    """A `LocalExecutor`. It sees to cpus, memory, GPUs, time limits and retries."""

    retries = True

    def __init__(self, executor: LocalExecutor, *, own: bool, packs: bool) -> None:
        self.executor = executor
        self._own = own
        self._packs = packs  # workers that are forked from this very process get what cannot be packed, too
        self._views: dict[Resources, LocalExecutor] = {}

    def check(self, job: Job[..., Any], call: JobCall) -> None:
        self._view(job)
        if self._packs:
            call.packed()

    def submit(self, call: Callable[..., Any], args: tuple[Any, ...], job: Job[..., Any]) -> Future[Any]:
        try:
            return self._view(job).submit(call, *args)
        except ArgumentError as error:
            if error.__cause__ is None or len(args) < ARGUMENTS:
                raise
            raise refused(job, args, error.__cause__) from error.__cause__

    def close(self, *, wait: bool, interrupted: bool) -> None:
        if not self._own:
            return
        if interrupted:
            # As if the Ctrl-C went through its own `with`: what does not stop when it is told to is killed soon.
            self.executor.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
        else:
            self.executor.shutdown(wait=wait)

    def _view(self, job: Job[..., Any]) -> LocalExecutor:
        resources = job.spec.resources
        view = self._views.get(resources)
        if view is None:
            try:
                view = self.executor.using(**resources.words())
            except ChoiceError as error:
                raise ChoiceError(f"{job.name} cannot run here: {error}") from None
            self._views[resources] = view
        return view


def refused(job: Job[..., Any], args: tuple[Any, ...], error: BaseException) -> ArgumentError:
    """What cannot travel, named as the function's arguments are: without ours before them."""
    element = () if job.elements is None else (args[ARGUMENTS - 1],)
    given, kwargs = args[ARGUMENTS:] or ((), {})
    return unpackable_arguments(job.function_name, (*element, *given), kwargs, error, instead=INSTEAD)


class Threads(Place):
    """Threads, of which a job takes as many as it asks for cpus."""

    shares_memory = True
    anywhere = True

    def __init__(self, count: int) -> None:
        self.slots: int = count
        self._pool = ThreadPool(count, "weft-job")
        self._greedy = False

    def check(self, job: Job[..., Any], call: JobCall) -> None:
        if job.spec.env:
            raise ArgumentError(
                f"{job.name} has an environment of its own (env=...), which threads of one process cannot have; use "
                'backend="local" or "serial"'
            )
        if self.cpus(job) < (job.spec.resources.cpus or 1) and not self._greedy:
            self._greedy = True
            LOGGER.warning(
                "%s asks for %s cpus and gets all that there are: %d", job.name, job.spec.resources.cpus, self.slots
            )

    def cpus(self, job: Job[..., Any]) -> int:
        cpus = job.spec.resources.cpus
        return 1 if cpus is None else min(cpus, self.slots)

    def submit(self, call: Callable[..., Any], args: tuple[Any, ...], job: Job[..., Any]) -> Future[Any]:
        return self._pool.submit(call, args)

    def close(self, *, wait: bool, interrupted: bool) -> None:
        # A thread cannot be stopped. After a Ctrl-C nobody wants to wait for what it does.
        self._pool.shutdown(wait=wait and not interrupted, cancel_futures=interrupted)

    def when_idle(self, function: Callable[[], object]) -> None:
        self._pool.when_idle(function)


class Serial(Place):
    """One job after the other, in the thread that waits for the run."""

    shares_memory = True

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()
        self._interrupted: tuple[Future[Any], KeyboardInterrupt] | None = None

    def submit(self, call: Callable[..., Any], args: tuple[Any, ...], job: Job[..., Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._queue.put((future, call, args))
        return future

    def work(self, over: Event) -> None:
        """Run what comes until the run is over. A Ctrl-C in a job ends it."""
        while not over.is_set():
            item = self._queue.get()
            if item is None:
                return
            future, call, args = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = contextvars.copy_context().run(call, *args)
            except KeyboardInterrupt as interrupt:
                # Not yet: first the run is cancelled, this job with it, for it has not failed.
                self._interrupted = (future, interrupt)
                raise
            except BaseException as error:  # noqa: BLE001 - whatever a job raises is its outcome
                future.set_exception(error)
            else:
                future.set_result(result)
            del item, future, call, args

    def close(self, *, wait: bool, interrupted: bool) -> None:
        self._queue.put(None)
        if self._interrupted is not None:
            (future, interrupt), self._interrupted = self._interrupted, None
            future.set_exception(interrupt)


class Foreign(Place):
    """Any `concurrent.futures.Executor`. It stays the user's to shut down."""

    def __init__(self, executor: Executor) -> None:
        from weft.runners.concurrent import shares_memory

        self.executor = executor
        self.shares_memory = shares_memory(executor)
        self._packed: tuple[Any, bytes] = (None, b"")

    def check(self, job: Job[..., Any], call: JobCall) -> None:
        if not self.shares_memory:
            call.packed()
        elif job.spec.env:
            raise ArgumentError(
                f"{job.name} has an environment of its own (env=...), which threads of one process cannot have; use "
                'backend="local" or "serial"'
            )

    def submit(self, call: Callable[..., Any], args: tuple[Any, ...], job: Job[..., Any]) -> Future[Any]:
        if self.shares_memory:
            return self.executor.submit(contextvars.copy_context().run, call, *args)
        from weft.runners.remote import RemoteFuture

        if self._packed[0] is not call:
            self._packed = (call, pack(call))
        try:
            packed = pack(args)
        except Exception as error:
            if len(args) < ARGUMENTS:
                raise
            raise refused(job, args, error) from error
        return RemoteFuture(self.executor.submit(run_packed_job, self._packed[1], packed))


_last: tuple[bytes, Any] = (b"", None)  # the call that came last: elements of an array share one


def run_packed_job(call: bytes, args: bytes) -> bytes:
    """At the other end: make the call; its outcome for `RemoteFuture`."""
    from weft.runners.remote import packed_outcome

    def make() -> Any:
        global _last
        if _last[0] != call:
            _last = (call, unpack(call))
        return _last[1](*unpack(args))

    return packed_outcome(make, lambda: str(getattr(_last[1], "__name__", "the job")))
