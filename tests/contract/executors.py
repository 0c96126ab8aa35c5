"""The executors under contract, the promises that go beyond ``concurrent.futures``, and who does not make which.

A new executor: add a ``Candidate``. It makes every promise in ``PROMISES``, unless it says which not, and why.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

CPUS = 6  # of a cluster under contract

PROMISES = {
    "workers": "max_workers processes run the tasks, each one after the other",
    "initializer": "each worker begins by calling the initializer; when that fails, nothing waits for ever",
    "renews workers": "max_tasks_per_worker: a worker is replaced after so many tasks",
    "running goes on": "cancel() leaves a running task alone and says so",
    "takes back": "whatever has not started can be cancelled, and never starts",
    "fifo": "one worker starts tasks in the order of submission",
    "checks chunksize": "map refuses a chunksize below one",
    "fails by item": "an exception in map is at its item, whatever the chunksize",
    "remote traceback": "the cause of an exception shows the traceback of the worker",
    "as submitted": "an argument that is changed after submit arrives as it was",
    "lambdas": "lambdas, closures and local classes travel",
    "interactive": "functions typed into an interpreter travel, also those typed after the workers started",
    "no guard": "a script needs no 'if __name__ == \"__main__\"'",
    "crash": "a worker that dies fails the task it ran, and that one alone",
    "exit": "SystemExit in a task is TaskExited, an ordinary exception",
    "time": "a task that runs longer than its limit ends as TaskTimeout, its children are gone",
    "kill": "future.kill() ends a running task",
    "pickling": "an argument that cannot be pickled raises in submit and names the culprit",
    "result": "a result that cannot be pickled fails its future alone",
    "arrival": "what cannot be unpickled, there or back, fails its future alone",
    "orphans": "nothing goes on when the parent is killed",
    "interrupt": "Ctrl-C ends the program and everything it started",
    "leaves in peace": "after shutdown(wait=False) the interpreter ends, and what was accepted is done first",
    "wait sees shutdown": "wait() and as_completed() know of futures that shutdown(cancel_futures=True) cancelled",
    "directory": "a task runs in the working directory of its submit",
    "context": "a task sees the contextvars of its submit",
    "import path": "a task imports from where its submit could",
    "output": "what a task prints is in future.output",
    "using": "using() is the same executor with other resources",
    "retries": "a task that fails is tried again",
    "ends": "every future ends, whatever happens to the workers",
}


@dataclass(frozen=True)
class Not:
    """A promise that an executor does not make."""

    promise: str
    why: str
    tried: bool = True  # its tests run, and must fail: when they pass, the promise can be made

    def __post_init__(self) -> None:
        known(self.promise)
        assert self.why, f"say why {self.promise!r} is not promised"


@dataclass(frozen=True)
class Candidate:
    """An executor under contract. ``make(max_workers, **options)`` makes one; ``death`` is the error of a crash."""

    name: str
    make: Callable[..., Executor]
    lacks: frozenset[Not] = frozenset()
    death: str = "WorkerDied"
    slow: bool = False  # left out by `make unit`
    prompt: float = 0.5  # seconds in which a small task is done, if a worker is there
    dear: int = 1  # a task costs so many times what it costs in a pool
    cluster: str = ""  # the fixture of the cluster on which it runs
    asked_for: bool = False  # takes many minutes: `make contract`, and not `make test`

    def many(self, number: int) -> int:
        """As many tasks as a test can afford that would like to have so many."""
        return max(min(number, 10), number // self.dear)

    def missing(self, promises: Iterable[str]) -> list[Not]:
        return [lack for lack in sorted(self.lacks, key=lambda lack: lack.promise) if lack.promise in promises]

    def marks(self, promises: Iterable[str]) -> list[pytest.MarkDecorator]:
        """How a test that needs these promises is run: as usual, to fail, or not at all."""
        import pytest  # not for the scripts, which take a candidate from here

        missing = self.missing(promises)
        for lack in missing:
            if not lack.tried:
                return [pytest.mark.skip(reason=f"{self.name} does not promise {lack.promise!r}: {lack.why}")]
        return (
            [pytest.mark.slow] * self.slow
            + [pytest.mark.cluster] * bool(self.cluster)
            + [pytest.mark.asked_for] * self.asked_for
            + [
                pytest.mark.xfail(reason=f"{self.name} does not promise {lack.promise!r}: {lack.why}", strict=True)
                for lack in missing
            ]
        )


def known(promise: str) -> str:
    assert promise in PROMISES, f"no promise is called {promise!r}; there are: {', '.join(PROMISES)}"
    return promise


def needs(*promises: str) -> pytest.MarkDecorator:
    """Mark a test, or a module, that holds only where these promises are made."""
    import pytest

    return pytest.mark.needs(*map(known, promises))


def process_pool(method: str) -> Callable[..., Executor]:
    def make(max_workers: int, **options: Any) -> Executor:
        return ProcessPoolExecutor(max_workers, multiprocessing.get_context(method), **options)

    return make


def weft_executor(name: str, **fixed: Any) -> Callable[..., Executor]:
    def make(max_workers: int, **options: Any) -> Executor:
        return getattr(importlib.import_module("weft.executors"), name)(max_workers, **fixed, **options)

    return make


def fake_cluster(max_workers: int, **options: Any) -> Executor:
    """A cluster of one node with as many cpus as there are to be workers; folder and cluster go with the executor."""
    from shutil import rmtree
    from tempfile import mkdtemp
    from weakref import finalize

    from weft.executors import ClusterExecutor, FakeCluster

    folder = mkdtemp(prefix="weft-contract-")
    system = FakeCluster(nodes=1, cpus=max_workers)
    finalize(system, rmtree, folder, ignore_errors=True)
    return ClusterExecutor(system, poll_interval=0.1, directory=os.path.join(folder, "x"), **options)


def slurm(max_workers: int, **options: Any) -> Executor:
    """On a Slurm with CPUS cpus, of which each task takes its part."""
    from weft import SlurmExecutor

    return SlurmExecutor(cpus=CPUS // max_workers, poll_interval=0.2, **options)


def condor(max_workers: int, **options: Any) -> Executor:
    """On an HTCondor with CPUS cpus, of which each task takes its part."""
    from weft import CondorExecutor

    # A part that is kept for what follows would be in the way of a test with other parts.
    return CondorExecutor(cpus=CPUS // max_workers, keep_claim_idle=0, poll_interval=0.2, **options)


def nots(why: str, *promises: str, tried: bool = True) -> set[Not]:
    return {Not(promise, why, tried) for promise in promises}


STDLIB = nots("not in the standard library", "directory", "context", "time", "kill", "output", "using", "retries")
STDLIB |= nots(
    "futures that shutdown() cancels leave the queue without notice: wait() may hang", "wait sees shutdown", tried=False
)
STDLIB |= nots("SystemExit is raised by result()", "exit")
PROCESS_POOL = STDLIB | {
    Not("renews workers", "max_tasks_per_child deadlocks, CPython gh-115634", tried=False),
    Not("leaves in peace", "hangs or loses tasks, CPython gh-83386", tried=False),
    Not("takes back", "one more than it has workers is queued where it cannot be cancelled", tried=False),
    Not("fails by item", "a chunk has one outcome"),
    Not("as submitted", "pickled when there is room in the queue"),
    Not("lambdas", "pickled by name"),
    Not("interactive", "pickled by name"),
    Not("crash", "the pool is broken by one crash"),
    Not("pickling", "pickled by another thread; the future fails"),
    Not("arrival", "breaks the pool"),
    Not("orphans", "workers wait for ever on pipes that they hold open themselves", tried=False),
    Not("interrupt", "waits for its running tasks", tried=False),
    Not("import path", "as it was when the worker started"),
}
THREADS = STDLIB | {
    *nots("threads share one process", "remote traceback", "as submitted", "pickling", "result", "arrival"),
    *nots("threads share one process, which would die", "crash", "ends", tried=False),
    Not("checks chunksize", "has no chunks, ignores it"),
    Not("renews workers", "threads need no renewal"),
    Not("interrupt", "waits for its running tasks", tried=False),
    Not("orphans", "leaves the children of its tasks", tried=False),
}

CLUSTER = nots("each task, or each few tasks, are a process of their own", "initializer", "renews workers", tried=False)
CLUSTER |= nots("nodes run its tasks; how many at a time is theirs to say", "workers", tried=False)
CLUSTER |= nots("cancel() is for what runs, too", "running goes on", tried=False)
CLUSTER |= nots("a client that dies leaves its jobs to whoever attaches to them", "orphans", tried=False)
CLUSTER |= nots("what it prints is in future.stdout, and in its log", "output", tried=False)

CANDIDATES = [
    Candidate("threads", ThreadPoolExecutor, frozenset(THREADS)),
    Candidate("processes-fork", process_pool("fork"), frozenset(PROCESS_POOL), slow=True),
    Candidate(
        "processes-forkserver",
        process_pool("forkserver"),
        frozenset(PROCESS_POOL | {Not("no guard", "workers import the script")}),
        slow=True,
    ),
    Candidate("local-forkserver", weft_executor("LocalExecutor", start="forkserver")),
    Candidate("cluster-fake", fake_cluster, frozenset(CLUSTER), death="JobDied", slow=True, prompt=10, dear=10),
    Candidate(
        "slurm", slurm, frozenset(CLUSTER), death="JobDied", slow=True, prompt=20, dear=50, cluster="slurm_of_one_node"
    ),
    Candidate(
        "condor",
        condor,
        frozenset(CLUSTER),
        death="JobDied",
        slow=True,
        prompt=20,
        dear=50,
        cluster="condor_of_one_node",
        asked_for=True,
    ),
    Candidate("local-spawn", weft_executor("LocalExecutor", start="spawn"), slow=True),
    Candidate(
        "local-fork",
        weft_executor("LocalExecutor", start="fork"),
        frozenset(nots("a worker forked for it has it without pickling", "pickling")),
        slow=True,
    ),
]


def candidate(name: str) -> Candidate:
    return next(c for c in CANDIDATES if c.name == name)
