"""The measurements of `jobs.py`, each made in a process of its own, and checked outside of the clock."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from time import perf_counter
from typing import Any

from floor import WORKERS
from job_peers import CONTENDERS, RunGraph, declared, leaves, weft
from race import timed
from shapes import SHAPES, Shape, fan_out, layers
from tasks import MARKS, mark
from workloads import Numbers, check

WARM_UP_JOBS = 20
LARGE = 100_000  # bytes of a result that is too large to lie among others
MEMORY = Path("/dev/shm")  # where Linux has a file system in memory


def measure(shape: str, contender: str, n: int) -> Numbers:
    """Measure one part; `shape` is its name."""
    os.environ[MARKS] = str(new_folder() / "marks")
    return PARTS.get(shape, per_job)(contender, shape, n)


def new_folder() -> Path:
    """Go to an empty working directory."""
    os.chdir(mkdtemp())
    return Path.cwd()


# Graphs of no-op jobs -------------------------------------------------------------------------------------


def per_job(contender: str, shape: str, n: int) -> Numbers:
    """Measure the time to declare a graph and run it, in µs for each job."""
    return {"us": run_time(CONTENDERS[contender](), SHAPES[shape](n)) / n * 1e6}


def run_time(run: RunGraph, graph: Shape) -> float:
    new_folder()
    run(fan_out(WARM_UP_JOBS))
    new_folder()
    Path(os.environ[MARKS]).write_text("")
    elapsed = timed(run, graph)
    check_marks(graph)
    return elapsed


def check_marks(graph: Shape) -> None:
    """See that each job ran once, after those that it waits for."""
    marks = [int(line) for line in Path(os.environ[MARKS]).read_text().split()]
    check(sorted(marks), list(range(len(graph))))
    when = {index: place for place, index in enumerate(marks)}
    for index, parents in enumerate(graph):
        if any(when[parent] > when[index] for parent in parents):
            raise AssertionError(f"job {index} ran before one that it waits for: {parents}")


def run_directory(contender: str, _shape: str, n: int) -> Numbers:
    """Measure weft with a run directory on disk, in memory, or whose writers do nothing."""
    _, backend, kind = contender.split("/")
    with weft_dir_in_memory() if kind == "memory" else nullcontext():
        elapsed = run_time(weft(backend, kind), fan_out(n))
        size = sum(
            path.stat().st_size for path in Path(os.environ.get("WEFT_DIR", ".weft")).rglob("*") if path.is_file()
        )
    # Each job makes two lines and a record; should they be written by others than those that do nothing, it shows.
    if (size < n) != (kind == "null"):
        raise AssertionError(f"{size:,} bytes in the run directory of {n:,} jobs ({kind})")
    return {"us": elapsed / n * 1e6}


@contextmanager
def weft_dir_in_memory() -> Iterator[None]:
    with TemporaryDirectory(prefix="weft-", dir=MEMORY) as folder:
        os.environ["WEFT_DIR"] = folder
        yield


# Declaring ------------------------------------------------------------------------------------------------


def never() -> bool:
    """A postcondition of jobs that are not done."""
    return False


def declaring(contender: str, _shape: str, n: int) -> Numbers:
    """Measure declaring, pruning and looking for cycles, in µs for each job."""
    from weft.jobs import Plan, cycles, ensure

    graph = SHAPES[contender.partition("/")[2]](n)
    last = leaves(graph)
    gc.collect()
    times = [perf_counter()]
    jobs = [ensure(never)(job) for job in declared(graph)]
    times.append(perf_counter())
    plan = Plan([jobs[index] for index in last])
    times.append(perf_counter())
    found = cycles(*jobs)
    times.append(perf_counter())
    check([found, {part.state.value for part in plan}, len(list(plan))], [[], {"wanted"}, n])
    declare, prune, look = ((after - before) / n * 1e6 for before, after in pairwise(times))
    return {"us": declare + prune + look, "declare": declare, "prune": prune, "cycles": look}


# Again, with all done -------------------------------------------------------------------------------------


def leave(index: int) -> None:
    """A job that leaves a file."""
    mark(index)
    Path(str(index)).touch()


def left(index: int) -> Callable[[], bool]:
    return lambda: os.path.exists(str(index))


def again(contender: str, _shape: str, n: int) -> Numbers:
    """Measure a schedule with all jobs done, without the time that their conditions take, in ms for each job."""
    from weft.jobs import schedule

    new_folder()
    conditions = [left(index) for index in range(n)]

    def run() -> tuple[Any, float]:
        jobs = [job.ensure(left) for job, left in zip(declared(layers(n), leave), conditions, strict=True)]
        gc.collect()
        start = perf_counter()
        ended = schedule(*jobs, backend=contender.partition("/")[2], max_workers=WORKERS)
        return ended, perf_counter() - start

    run()
    second, elapsed = run()
    check_marks(layers(n))
    check({state.value for state in second.states.values()}, {"up to date"})
    start = perf_counter()
    check([condition() for condition in conditions], [True] * n)
    asked = perf_counter() - start
    return {"ms": (elapsed - asked) / n * 1e3, "conditions": asked / n * 1e3}


# Files ----------------------------------------------------------------------------------------------------


def speak(index: int) -> bytes:
    """A job that writes to its log, and gives back what needs a file of its own."""
    print(f"job {index}")
    return bytes(LARGE)


def files(contender: str, _shape: str, n: int) -> Numbers:
    """Count files for each job: all of a run of no-op jobs, and a job's own where it writes and returns much."""
    from weft.jobs import schedule

    new_folder()
    counts = []
    for function, where in ((mark, "."), (speak, "tasks")):
        run = schedule(*declared(fan_out(n), function), backend=contender.partition("/")[2], max_workers=WORKERS)
        check({state.value for state in run.states.values()}, {"succeeded"})
        assert run.path is not None
        counts.append(sum(path.is_file() for path in (run.path / where).rglob("*")) / n)
    return dict(zip(("all", "own"), counts, strict=True))


PARTS: dict[str, Callable[[str, str, int], Numbers]] = {
    "run-directory": run_directory,
    "declare": declaring,
    "again": again,
    "files": files,
}
