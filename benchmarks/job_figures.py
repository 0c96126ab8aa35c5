"""The parts of `jobs.py`: who is measured in each, the figures to meet, and the tables."""

from collections.abc import Iterator
from itertools import product

from further import Finding, verdict
from job_graphs import MEMORY
from plan import judged_most
from report import MOST_GROWTH, Notes, cell, ratio
from rounds import Results, Start

GRAPHS = ("fan-out", "chain", "layers")
PARTS = (*GRAPHS, "declare", "run-directory", "again", "files")

# Beside each backend those that run jobs as it does: among the objects of one process, or in others.
PEERS = {"threads": ("awflow", "luigi"), "local": ("dawgz", "doit", "pytask", "snakemake")}
BACKENDS = tuple(PEERS)
CONTENDERS = ("weft", *PEERS["threads"], *PEERS["local"])
KINDS = ("disk", "memory", "null") if MEMORY.is_dir() else ("disk", "null")

SMALL, LARGE = 1_000, 10_000
DECLARED = (1_000, 10_000, 100_000)
FEW = 100
# These take seconds for what others do in milliseconds, or cannot do more.
FEWER = {("dawgz", "chain"), ("dawgz", "layers"), *product(("pytask", "snakemake"), GRAPHS)}
SLOW = ("luigi", "dawgz", "pytask", "snakemake")
FEWER_WHY = {
    "dawgz": f"dawgz: {FEW} jobs in a chain or layers; larger ones fail when they are pickled, by recursion",
    "pytask": f"pytask: {FEW} jobs, in its own process, one after the other; workers are a package of their own",
    "snakemake": f"snakemake: {FEW} jobs, each a shell that writes a line and makes a file",
}

MOST_SHARE = 30
MOST_FILES = 2
MOST_AGAIN_MS = 1.0


def size_of(contender: str, graph: str) -> int:
    return FEW if (contender, graph) in FEWER else SMALL


def topics(contenders: list[str], parts: list[str], quick: bool) -> Iterator[list[Start]]:
    """Give what is compared with each other, topic by topic."""
    for graph, backend in product([name for name in GRAPHS if name in parts], BACKENDS):
        starts = [Start(f"weft/{backend}", graph, n) for n in (SMALL, LARGE)]
        starts += [Start(peer, graph, size_of(peer, graph)) for peer in PEERS[backend]]
        yield chosen(starts, contenders)
    others = {
        "declare": [Start(f"weft/{graph}", "declare", n) for graph in GRAPHS for n in DECLARED],
        "run-directory": [
            Start(f"weft/{backend}/{kind}", "run-directory", LARGE) for backend in BACKENDS for kind in KINDS
        ],
        "again": [Start(f"weft/{backend}", "again", n) for backend in BACKENDS for n in (SMALL, LARGE)],
        "files": [Start(f"weft/{backend}", "files", SMALL) for backend in BACKENDS],
    }
    for part, starts in others.items():
        if part in parts:
            yield chosen([each for each in starts if not quick or each.n <= LARGE], contenders)


def chosen(starts: list[Start], contenders: list[str]) -> list[Start]:
    return [start for start in starts if start.contender.partition("/")[0] in contenders]


def rounds(start: Start, quick: bool) -> int:
    if start.contender in SLOW or start.shape == "files":
        return 1
    return 2 if quick else 5


def unit(part: str) -> tuple[str, str]:
    """Say which of the numbers of a part is told on the way, and what it counts."""
    return {"again": ("ms", "ms"), "files": ("all", "files")}.get(part, ("us", "µs"))


# Tables ---------------------------------------------------------------------------------------------------


def peers_table(results: Results, parts: list[str], backend: str) -> list[str]:
    """Time per job of weft and of those that run jobs as its backend does."""
    notes = Notes()
    contenders = (f"weft/{backend}", *PEERS[backend])
    measured = {start.contender for start in results.samples} & set(contenders)
    lines = [f"{'graph':<12}{'jobs':>8}" + "".join(f"{name:>14}" for name in contenders) + "  verdict"]
    for graph in [name for name in GRAPHS if name in parts]:
        times = {}
        cells = ""
        for name in contenders:
            start = Start(name, graph, size_of(name, graph))
            times[name] = results.median(*start)
            problem = results.problems.get(start)
            cells += f"{notes.mark(f'{name}: {problem}') if problem else cell(times[name]):>14}"
        lines.append(f"{graph:<12}{SMALL:>8,}{cells}  {ahead(times, f'weft/{backend}')}".rstrip())
    return [*lines, *notes.lines(), *(why for name, why in FEWER_WHY.items() if name in measured)]


def ahead(times: dict[str, float | None], own: str) -> str:
    mine = times[own]
    peers = {name: time for name, time in times.items() if name != own and time is not None}
    if mine is None or not peers:
        return ""
    faster = [name for name, time in peers.items() if time <= mine]
    return f"MISSED: {', '.join(faster)} faster" if faster else "ok"


def findings(results: Results, parts: list[str]) -> Iterator[Finding]:
    for graph, backend in product([name for name in GRAPHS if name in parts], BACKENDS):
        small, large = (results.median(f"weft/{backend}", graph, n) for n in (SMALL, LARGE))
        if large is not None:
            yield Finding(
                f"{graph}, {backend}: {SMALL:,} and {LARGE:,} jobs", f"{cell(small)} and {cell(large)} µs a job"
            )
        yield from judged_most(f"{graph}, {backend}: time per job, growth", ratio(large, small), MOST_GROWTH)
    for graph in GRAPHS:
        yield from declaring(results, graph)
    for backend in BACKENDS:
        yield from run_directory(results, backend)
        yield from again(results, backend)
        yield from files(results, backend)


def declaring(results: Results, graph: str) -> Iterator[Finding]:
    for n in DECLARED:
        parts = [results.median(f"weft/{graph}", "declare", n, key) for key in ("declare", "prune", "cycles")]
        if None not in parts:
            yield Finding(f"{graph}, {n:,} jobs: declare, prune, cycles", ", ".join(map(cell, parts)) + " µs a job")
    few, *_, many = (results.median(f"weft/{graph}", "declare", n) for n in DECLARED)
    if (grown := ratio(many, few)) is not None:
        yield Finding(f"{graph}: all three, {DECLARED[-1]:,} to {DECLARED[0]:,}", f"{grown:.2f} x", "(square: 100 x)")


def run_directory(results: Results, backend: str) -> Iterator[Finding]:
    times = {kind: results.median(f"weft/{backend}/{kind}", "run-directory", LARGE) for kind in KINDS}
    disk, null = times["disk"], times["null"]
    if disk is None or null is None:
        return
    told = ", ".join(f"{kind} {cell(time)}" for kind, time in times.items())
    yield Finding(f"run directory, {backend}: {LARGE:,} jobs in a fan-out", f"{told} µs a job")
    share = 100 * (1 - null / disk)
    met = verdict(share <= MOST_SHARE) if share >= 0 else "less than the noise"
    yield Finding(f"run directory, {backend}: share of the time", f"{share:.0f} %", f"<= {MOST_SHARE} %", met)


def again(results: Results, backend: str) -> Iterator[Finding]:
    for n in (SMALL, LARGE):
        took = results.median(f"weft/{backend}", "again", n, "ms")
        if took is not None:
            name = f"again, {backend}: {n:,} done jobs, less conditions"
            yield Finding(name, f"{took:.3f} ms a job", f"<= {MOST_AGAIN_MS:g} ms", verdict(took <= MOST_AGAIN_MS))


def files(results: Results, backend: str) -> Iterator[Finding]:
    for key, whose in (("all", "a run of no-op jobs"), ("own", "jobs that print and return 100 KB")):
        count = results.median(f"weft/{backend}", "files", SMALL, key)
        if count is not None:
            yield Finding(
                f"files, {backend}: {whose}", f"{count:.3f} a job", f"<= {MOST_FILES}", verdict(count <= MOST_FILES)
            )
