"""The contenders of `slurm.py`, each in its usual dress; every task asks for one CPU.

Each is a function that imports what it needs, and gives another which opens a `Pool` in the working directory:
importing is not measured, opening is. A contender that holds workers of its own in one job is among the `PILOTS`.
"""

import logging
import os
import pickle
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any, TypeAlias

import local_peers
from floor import WORKERS
from naps import leave
from pool import Pool, Submits, Task, WithFutures

Open: TypeAlias = Callable[[], AbstractContextManager[Pool]]

POLL_S = 0.5  # the shortest pause between two polls of weft, where nothing else is asked for
LOOK_S = 0.1  # how often the folder of results is looked at, by hand
WALL_TIME = "00:10:00"
PARTITION = "debug"  # the default one of the cluster
ELEMENT = Path(__file__).with_name("element.py")


def weft(tasks_per_job: int | None = None) -> Open:
    from weft import SlurmExecutor

    options: dict[str, Any] = {"tasks_per_job": tasks_per_job} if tasks_per_job else {}

    @contextmanager
    def opened() -> Iterator[Pool]:
        with SlurmExecutor(**options) as executor:
            yield WithFutures(executor, executor.map)

    return opened


# By hand --------------------------------------------------------------------------------------------------

ARRAY = """\
#!/bin/sh
#SBATCH --array=0-{last}
#SBATCH --output=logs/%a.log
exec {command}
"""


def submit_array(count: int, *command: str) -> str:
    """Write a script in the working directory, submit it, and give the id."""
    Path("logs").mkdir()
    Path("script.sh").write_text(ARRAY.format(last=count - 1, command=shlex.join(command)))
    return subprocess.check_output(["sbatch", "--parsable", "script.sh"], text=True).strip()


class Bare(Pool):
    """An array of interpreters that do nothing: what Slurm and Python charge. It has no results."""

    def map_all(self, task: Task, items: Sequence[Any]) -> list[Any]:
        job = submit_array(len(items), sys.executable, "-c", "pass")
        while subprocess.check_output(["squeue", "-h", "-o", "%i", "-j", job]):
            sleep(LOOK_S)
        return []


class ByHand(Pool):
    """What a user would write: one file with the function and its arguments, one array, one file for each result."""

    def map_all(self, task: Task, items: Sequence[Any]) -> list[Any]:
        Path("calls").write_bytes(pickle.dumps((task, items)))
        Path("results").mkdir()
        submit_array(len(items), sys.executable, str(ELEMENT))
        return results_of(len(items))


def results_of(count: int) -> list[Any]:
    """Wait until the folder of results has all of them."""
    while sum("." not in name for name in os.listdir("results")) < count:
        sleep(LOOK_S)
    return [pickle.loads(Path("results", str(index)).read_bytes()) for index in range(count)]


def opens(pool: Callable[[], Pool]) -> Open:
    """Give the way to open a pool that needs no closing."""

    @contextmanager
    def opened() -> Iterator[Pool]:
        yield pool()

    return opened


# One job for each call, or an array -----------------------------------------------------------------------


class OneByOne(WithFutures):
    """The executors whose map, if they have one, submits call by call and then shuts them down."""

    def map_all(self, task: Task, items: Sequence[Any]) -> list[Any]:
        return self.submit_all(task, items)

    def fetch(self, handles: Sequence[Any]) -> list[Any]:
        return [handle.result() for handle in handles]


def clusterfutures() -> Open:
    from cfut import SlurmExecutor

    @contextmanager
    def opened() -> Iterator[Pool]:
        with SlurmExecutor() as executor:
            yield OneByOne(executor)

    return opened


def submitit(array: bool = False) -> Open:
    from submitit import SlurmExecutor

    class AsArray(OneByOne):
        def __init__(self, executor: Submits) -> None:
            super().__init__(executor)
            self._array = executor

        def map_all(self, task: Task, items: Sequence[Any]) -> list[Any]:
            return self.fetch(self._array.map_array(task, items))  # type: ignore[attr-defined]

    return opens(lambda: (AsArray if array else OneByOne)(SlurmExecutor("submitit")))


def dawgz(array: bool = False) -> Open:
    """It hands out no results: its jobs leave them in files, as those by hand do."""
    import dawgz as dawgz_

    class Dawgz(Pool):
        def map_all(self, task: Task, items: Sequence[Any]) -> list[Any]:
            Path("results").mkdir()
            make = dawgz_.job(leave, name="task", interpreter=sys.executable)
            jobs = [make(str(Path("results", str(index)).absolute()), task, item) for index, item in enumerate(items)]
            if array:
                jobs = [dawgz_.array(*jobs)]
            dawgz_.schedule(*jobs, backend="slurm", name="map")
            return results_of(len(items))

    return opens(Dawgz)


def executorlib() -> Open:
    from executorlib import SlurmClusterExecutor

    @contextmanager
    def opened() -> Iterator[Pool]:
        # Without a partition its script asks for one without a name, which is refused.
        with SlurmClusterExecutor(cache_directory="cache", resource_dict={"partition": PARTITION}) as executor:
            yield OneByOne(executor)

    return opened


# Workers of their own, in one job -------------------------------------------------------------------------


def parsl() -> Open:
    from parsl.launchers import SingleNodeLauncher
    from parsl.providers import SlurmProvider

    def provider() -> Any:
        return SlurmProvider(
            init_blocks=1,
            max_blocks=1,
            cores_per_node=WORKERS,
            mem_per_node=1,  # GB; its processes are more than the default lets a cpu have
            exclusive=False,
            walltime=WALL_TIME,
            launcher=SingleNodeLauncher(),
        )

    return partial(local_peers.parsl, provider)


def dask_jobqueue() -> Open:
    from dask_jobqueue import SLURMCluster

    @contextmanager
    def cluster() -> Iterator[Any]:
        with SLURMCluster(
            cores=WORKERS,
            processes=WORKERS,
            memory="1GB",
            walltime=WALL_TIME,
            log_directory="logs",
            scheduler_options={"host": "127.0.0.1", "dashboard_address": None},
            silence_logs=logging.ERROR,
        ) as opened:
            opened.scale(jobs=1)
            yield opened

    return partial(local_peers.dask, cluster)


PILOTS = ("parsl", "dask-jobqueue")

CONTENDERS: dict[str, Callable[[], Open]] = {
    "weft": weft,
    "weft/50": partial(weft, 50),
    "by-hand": partial(opens, ByHand),
    "bare": partial(opens, Bare),
    "clusterfutures": clusterfutures,
    "submitit": submitit,
    "submitit/array": partial(submitit, array=True),
    "dawgz": dawgz,
    "dawgz/array": partial(dawgz, array=True),
    "executorlib": executorlib,
    "parsl": parsl,
    "dask-jobqueue": dask_jobqueue,
}
