"""The workloads of `local.py`, and the figures they are to meet."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from further import Finding, verdict
from plan import Figures, Medians, Workload, judged, judged_most, number
from report import ratio

POOLS = (
    "weft",
    "ppe-fork",
    "ppe-forkserver",
    "loky",
    "mpire",
    "pebble",
    "joblib",
    "executorlib",
    "dask",
    "ray",
    "parsl",
)
BASE = "ppe-fork"
CHUNKSIZES = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
SWEEP = tuple(f"{BASE}/{chunksize}" for chunksize in CHUNKSIZES)

EXPLAINED = {
    "pipes": "pipes: a limit: a minimal program over bare pipes that batches what is ready, no futures; for the\n"
    "first result, one fresh interpreter that is sent one function: no fork of the script, whatever it has imported",
    "shared": "shared: a limit: a minimal program that copies arrays into memory which both processes see",
    BASE + "/500": f"{BASE}/500: {BASE} with a chunksize of 500, and so on; {BASE} alone has 1",
    "weft/queue": "weft/queue: LocalExecutor under the hand-written ready queue that the others have",
    BASE + "/scheduler": f"{BASE}/scheduler: {BASE} under weft's Scheduler",
}


@dataclass(frozen=True)
class OverPools(Workload):
    """A workload for pools of two worker processes."""

    contenders: tuple[str, ...] = POOLS
    slow: tuple[str, ...] = ("executorlib", "dask", "ray", "parsl")
    base: str = BASE
    limits: tuple[str, ...] = ("pipes", "shared")
    explained: Mapping[str, str] = field(default_factory=lambda: EXPLAINED)


def submit(medians: Medians) -> Iterator[Finding]:
    yield from judged(f"submit: tasks/s, to {BASE}", medians.to_base("weft"), 10, medians.to_base("pipes"))
    weft = medians("weft")
    peers = {name: value for name in POOLS if name != "weft" and (value := medians(name))}
    if weft and peers:
        fastest = max(peers, key=lambda name: peers[name])
        times = f"{weft / peers[fastest]:.2f} x {fastest}"
        yield Finding("submit: tasks/s, to the fastest peer", times, "> 1 x", verdict(weft > peers[fastest]))


def map_(medians: Medians) -> Iterator[Finding]:
    name = f"map: tasks/s, to {BASE} with chunksize 1"
    yield from judged(name, medians.to_base("weft"), 20, medians.to_base("pipes"))
    sweep = {name: value for name in SWEEP if (value := medians(name))}
    if sweep:
        best = max(sweep, key=lambda name: sweep[name])
        yield from judged_most(f"map: time, to {best}, its best", ratio(sweep[best], medians("weft")), 1.3)


def to_base(name: str, least: float, limit: str) -> Figures:
    """Give the figure of a workload that has no other: so many times as fast as the base."""

    def figures(medians: Medians) -> Iterator[Finding]:
        yield from judged(f"{name}, to {BASE}", medians.to_base("weft"), least, medians.to_base(limit))

    return figures


def grain(medians: Medians) -> Iterator[Finding]:
    if (value := medians("weft")) is not None:
        yield Finding("grain: of the ideal speed", f"{value:.1f} %", ">= 97 %", verdict(value >= 97))


def mixed(medians: Medians) -> Iterator[Finding]:
    yield from judged_most("mixed: makespan, to a perfect greedy one", medians("weft"), 1.05)


def first(medians: Medians) -> Iterator[Finding]:
    yield from judged_most(f"first: time, to {BASE}", medians.to_base("weft"), 1.5, medians.to_base("pipes"))
    if (value := ratio(medians("weft"), medians("ppe-forkserver"))) is not None:
        yield Finding("first: time, to ppe-forkserver", f"{value:.3f} x")


def killed(medians: Medians) -> Iterator[Finding]:
    if medians("weft") is not None:
        failed, shot, cost = (number(medians("weft", key)) for key in ("failed", "killed", "value"))
        # That all others were right has been checked: a wrong one is a problem, and leaves no numbers.
        yield Finding("killed: workers and tasks", f"{shot} and {failed}", "others are right", "ok")
        yield Finding("killed: time, to the same in peace", f"{cost} x")


WORKLOADS: dict[str, Workload] = {
    "submit": OverPools(
        "Independent no-op tasks through submit, to the last result",
        {"value": "tasks/s"},
        tasks=100_000,
        quick_tasks=20_000,
        slow_tasks=5_000,
        contenders=(*POOLS, "pipes"),
        figures=submit,
    ),
    "map": OverPools(
        "The same through map",
        {"value": "tasks/s"},
        tasks=100_000,
        quick_tasks=20_000,
        slow=("executorlib", "dask"),
        slow_tasks=5_000,
        contenders=(*POOLS, *SWEEP, "pipes"),
        figures=map_,
    ),
    "layers": OverPools(
        "Layers of 100, each task behind 3 of the layer before: the Scheduler; a hand-written queue",
        {"value": "tasks/s"},
        tasks=10_000,
        quick_tasks=5_000,
        slow_tasks=2_000,
        contenders=(*POOLS, "weft/queue", f"{BASE}/scheduler", "pipes"),
        figures=to_base("layers: tasks/s", 5, "pipes"),
    ),
    "chain": OverPools(
        "A chain by hand: each task is submitted when the one before is done",
        {"value": "links/s"},
        tasks=10_000,
        quick_tasks=2_000,
        slow=("joblib", "executorlib", "dask", "ray", "parsl"),
        slow_tasks=500,
        contenders=(*POOLS, "pipes"),
        figures=to_base("chain: links/s", 1.5, "pipes"),
    ),
    "chain-1cpu": OverPools(
        "The same with all processes pinned to one CPU: no waking of a second one",
        {"value": "links/s"},
        tasks=10_000,
        quick_tasks=2_000,
        contenders=("weft", BASE, "ppe-forkserver", "pipes"),
        figures=lambda _: iter(()),
    ),
    "chain-graph": OverPools(
        "The same chain through weft's Scheduler over each pool, or in a peer's own way",
        {"value": "links/s"},
        tasks=10_000,
        quick_tasks=2_000,
        slow_tasks=500,
        contenders=(*POOLS, "pipes"),
        figures=to_base("chain-graph: links/s", 1.5, "pipes"),
    ),
    "grain": OverPools(
        "Tasks of 50 ms of Python",
        {"value": "% of ideal"},
        tasks=64,
        figures=grain,
    ),
    "mixed": OverPools(
        "Tasks of 1 ms and 200 ms in random order: makespan, to a perfect greedy one (less is better)",
        {"value": "x greedy"},
        tasks=216,
        figures=mixed,
    ),
    "array": OverPools(
        "A NumPy array of 10 MB in and out, one call after the other",
        {"value": "MB/s"},
        tasks=20,
        contenders=(*POOLS, "shared"),
        figures=to_base("array: MB/s", 2, "shared"),
    ),
    "array-chain": OverPools(
        "An array of 10 MB through a chain of tasks, in a graph",
        {"value": "MB/s"},
        tasks=20,
        contenders=(*POOLS, "shared"),
        figures=to_base("array-chain: MB/s", 4, "shared"),
    ),
    "first": OverPools(
        "The first result in a fresh process, beyond the start of Python (less is better)",
        {"value": "ms", "after_import": "ms from import"},
        tasks=7,
        quick_tasks=3,
        slow_tasks=2,
        contenders=(*POOLS, "pipes"),
        figures=first,
    ),
    "killed": OverPools(
        "Tasks of 1 ms while a worker is killed every 50 ms: time, to that in peace (less is better)",
        {"value": "x in peace", "peace_s": "s in peace", "killed": "killed", "failed": "failed"},
        tasks=10_000,
        quick_tasks=2_000,
        contenders=("weft", BASE, "loky", "pebble"),
        figures=killed,
        rounds=3,
        limit_s=45,
    ),
}
