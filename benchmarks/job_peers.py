"""The contenders of `jobs.py`: each declares a graph of no-op jobs in its usual dress and runs it, two at a time.

What a function here gives is called in an empty working directory. A peer is imported inside its function: each
measurement runs in a process of its own, and the imports are over before its clock starts.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from floor import WORKERS
from shapes import Shape
from tasks import MARKS, mark

RunGraph = Callable[[Shape], object]


def leaves(graph: Shape) -> list[int]:
    """Give the jobs that no other waits for."""
    parents = {parent for each in graph for parent in each}
    return [index for index in range(len(graph)) if index not in parents]


def declared(graph: Shape, function: Callable[[int], object] = mark) -> list[Any]:
    """Give the same graph as weft's jobs, whose function is called with the number of its job."""
    from weft.jobs import job

    jobs: list[Any] = []
    for index, parents in enumerate(graph):
        made = job(name=f"job_{index}")(function).bind(index)
        jobs.append(made.after(*[jobs[parent] for parent in parents]))
    return jobs


def weft(backend: str, variant: str = "") -> RunGraph:
    from weft.jobs import schedule

    function = mark
    if variant == "null":
        # Whoever imports this, a worker process that gets the function too, has writers that do nothing.
        from unwritten import mark as function

    def run(graph: Shape) -> object:
        jobs = declared(graph, function)
        return schedule(*[jobs[index] for index in leaves(graph)], backend=backend, max_workers=WORKERS)

    return run


def awflow() -> RunGraph:
    """Its threads are asyncio's: their number cannot be said."""
    from awflow import job, schedule

    def run(graph: Shape) -> object:
        jobs: list[Any] = []
        for index, parents in enumerate(graph):
            made = job(partial(mark, index), name=f"job_{index}")
            made.after(*[jobs[parent] for parent in parents])
            jobs.append(made)
        return schedule(*[jobs[index] for index in leaves(graph)], backend="local")

    return run


def luigi() -> RunGraph:
    """One worker, in this process: two would be a process for each task. What is complete, a set in memory says."""
    import luigi as luigi_

    done: set[int] = set()
    graph: Shape = []

    class Node(luigi_.Task):  # type: ignore[misc]
        index = luigi_.IntParameter()

        def requires(self) -> list[Any]:
            return [Node(parent) for parent in graph[self.index]]

        def complete(self) -> bool:
            return self.index in done

        def run(self) -> None:
            mark(self.index)
            done.add(self.index)

    def run(shape: Shape) -> object:
        graph[:] = shape
        done.clear()
        return luigi_.build([Node(index) for index in leaves(shape)], local_scheduler=True, log_level="CRITICAL")

    return run


def dawgz() -> RunGraph:
    from dawgz import job, schedule

    def run(graph: Shape) -> object:
        jobs: list[Any] = []
        for index, parents in enumerate(graph):
            jobs.append(job(mark, name=f"job_{index}")(index).after(*[jobs[parent] for parent in parents]))
        wanted = [jobs[index] for index in leaves(graph)]
        return schedule(*wanted, backend="async", name="graph", quiet=True, max_workers=WORKERS)

    return run


def doit() -> RunGraph:
    from doit.cmd_base import ModuleTaskLoader
    from doit.doit_cmd import DoitMain

    def run(graph: Shape) -> object:
        def task_job() -> Any:
            for index, parents in enumerate(graph):
                after = [f"job:{parent}" for parent in parents]
                yield {"name": str(index), "actions": [(mark, [index])], "task_dep": after}

        return DoitMain(ModuleTaskLoader({"task_job": task_job})).run(["run", "-n", str(WORKERS), "-r", "zero"])

    return run


def pytask() -> RunGraph:
    """In this process, one after the other: workers are a package of their own. Its edges are files."""
    from pytask import build, task

    def made(index: int, parents: tuple[int, ...]) -> Any:
        needs = [Path(f"{parent}.out").absolute() for parent in parents]
        makes = Path(f"{index}.out").absolute()

        def task_(needs: list[Path] = needs, produces: Path = makes) -> None:
            mark(index)
            produces.touch()

        return task(name=f"task_{index}")(task_)

    def run(graph: Shape) -> object:
        tasks = [made(index, parents) for index, parents in enumerate(graph)]
        return build(tasks=tasks, paths=Path.cwd(), verbose=0)

    return run


SNAKEFILE = """
PARENTS = {graph!r}
rule all:
    input: [f"{{i}}.out" for i in {leaves!r}]
rule job:
    input: lambda wildcards: [f"{{parent}}.out" for parent in PARENTS[int(wildcards.i)]]
    output: "{{i}}.out"
    shell: "echo {{wildcards.i}} >> ${marks} && : > {{output}}"
"""


def snakemake() -> RunGraph:
    """One rule, and a shell for each job: a job in Python would start another snakemake. Its edges are files."""
    from snakemake.cli import main

    def run(graph: Shape) -> object:
        Path("Snakefile").write_text(SNAKEFILE.format(graph=graph, leaves=leaves(graph), marks=MARKS))
        try:
            main(["-j", str(WORKERS), "--quiet", "all"])
        except SystemExit as end:
            return end.code
        return 0

    return run


CONTENDERS: dict[str, Callable[[], RunGraph]] = {
    "weft/threads": partial(weft, "threads"),
    "weft/local": partial(weft, "local"),
    "awflow": awflow,
    "luigi": luigi,
    "dawgz": dawgz,
    "doit": doit,
    "pytask": pytask,
    "snakemake": snakemake,
}
