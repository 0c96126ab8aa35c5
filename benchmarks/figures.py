"""The workloads of `local.py`, the figures they are to meet, and the tables."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from further import Finding, verdict
from report import Notes, ratio
from rounds import Results, Start

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
LIMITS = ("pipes", "shared")

# Where a figure is beyond what the minimal program reaches, this many times its result counts as met.
MOST_TO_LIMIT = 1.5

EXPLAINED = {
    "pipes": "pipes: a limit: a minimal program over bare pipes that batches what is ready, no futures; for the\n"
    "first result, one fresh interpreter that is sent one function: no fork of the script, whatever it has imported",
    "shared": "shared: a limit: a minimal program that copies arrays into memory which both processes see",
    BASE + "/500": f"{BASE}/500: {BASE} with a chunksize of 500, and so on; {BASE} alone has 1",
    "weft/queue": "weft/queue: LocalExecutor under the hand-written ready queue that the others have",
    BASE + "/scheduler": f"{BASE}/scheduler: {BASE} under weft's Scheduler",
}


@dataclass(frozen=True)
class Medians:
    """The medians of one workload, by contender."""

    results: Results
    places: dict[str, Start]

    def __call__(self, contender: str, key: str = "value") -> float | None:
        place = self.places.get(contender)
        return self.results.median(*place, key) if place else None

    def problem(self, contender: str) -> str | None:
        return self.results.problems.get(self.places[contender])

    def to_base(self, contender: str) -> float | None:
        return ratio(self(contender), self(BASE))


Figures: TypeAlias = Callable[[Medians], Iterator[Finding]]


@dataclass(frozen=True)
class Workload:
    """One table of the report. Of a contender's numbers, the first column is the one that is compared."""

    title: str
    columns: dict[str, str]
    tasks: int
    figures: Figures
    contenders: tuple[str, ...] = POOLS
    quick_tasks: int = 0
    slow_tasks: int = 0
    slow: tuple[str, ...] = ("executorlib", "dask", "ray", "parsl")
    rounds: int = 5
    limit_s: float = 120.0

    def tasks_of(self, contender: str, quick: bool) -> int:
        """Give how many tasks a contender runs: slow ones fewer, which is as well for times per task."""
        tasks = self.quick_tasks or self.tasks if quick else self.tasks
        if contender not in self.slow:
            return tasks
        return min(tasks, (self.slow_tasks or tasks) // (2 if quick and self.slow_tasks else 1))


def judged(name: str, value: float | None, least: float, limit: float | None = None) -> Iterator[Finding]:
    """Judge a ratio that is to be at least so large, or near the limit where that is smaller itself."""
    if value is None:
        return
    met = verdict(value >= least)
    if value < least and limit is not None and limit < least and value >= limit / MOST_TO_LIMIT:
        met = f"ok: {limit / value:.2f} x the limit's time, itself below the figure"
    yield Finding(name, f"{value:.2f} x", f">= {least:g} x", met)


def judged_most(name: str, value: float | None, most: float, limit: float | None = None) -> Iterator[Finding]:
    """Judge a ratio that is to be at most so large, or near the limit where that is larger itself."""
    if value is None:
        return
    met = verdict(value <= most)
    if value > most and limit is not None and limit > most and value <= limit * MOST_TO_LIMIT:
        met = f"ok: {value / limit:.2f} x the limit's time, itself above the figure"
    yield Finding(name, f"{value:.3f} x", f"<= {most:g} x", met)


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
    "submit": Workload(
        "Independent no-op tasks through submit, to the last result",
        {"value": "tasks/s"},
        tasks=100_000,
        quick_tasks=20_000,
        slow_tasks=5_000,
        contenders=(*POOLS, "pipes"),
        figures=submit,
    ),
    "map": Workload(
        "The same through map",
        {"value": "tasks/s"},
        tasks=100_000,
        quick_tasks=20_000,
        slow=("executorlib", "dask"),
        slow_tasks=5_000,
        contenders=(*POOLS, *SWEEP, "pipes"),
        figures=map_,
    ),
    "layers": Workload(
        "Layers of 100, each task behind 3 of the layer before: the Scheduler; a hand-written queue",
        {"value": "tasks/s"},
        tasks=10_000,
        quick_tasks=5_000,
        slow_tasks=2_000,
        contenders=(*POOLS, "weft/queue", f"{BASE}/scheduler", "pipes"),
        figures=to_base("layers: tasks/s", 5, "pipes"),
    ),
    "chain": Workload(
        "A chain by hand: each task is submitted when the one before is done",
        {"value": "links/s"},
        tasks=10_000,
        quick_tasks=2_000,
        slow=("joblib", "executorlib", "dask", "ray", "parsl"),
        slow_tasks=500,
        contenders=(*POOLS, "pipes"),
        figures=to_base("chain: links/s", 1.5, "pipes"),
    ),
    "chain-1cpu": Workload(
        "The same with all processes pinned to one CPU: no waking of a second one",
        {"value": "links/s"},
        tasks=10_000,
        quick_tasks=2_000,
        contenders=("weft", BASE, "ppe-forkserver", "pipes"),
        figures=lambda _: iter(()),
    ),
    "chain-graph": Workload(
        "The same chain through weft's Scheduler over each pool, or in a peer's own way",
        {"value": "links/s"},
        tasks=10_000,
        quick_tasks=2_000,
        slow_tasks=500,
        contenders=(*POOLS, "pipes"),
        figures=to_base("chain-graph: links/s", 1.5, "pipes"),
    ),
    "grain": Workload(
        "Tasks of 50 ms of Python",
        {"value": "% of ideal"},
        tasks=64,
        figures=grain,
    ),
    "mixed": Workload(
        "Tasks of 1 ms and 200 ms in random order: makespan, to a perfect greedy one (less is better)",
        {"value": "x greedy"},
        tasks=216,
        figures=mixed,
    ),
    "array": Workload(
        "A NumPy array of 10 MB in and out, one call after the other",
        {"value": "MB/s"},
        tasks=20,
        contenders=(*POOLS, "shared"),
        figures=to_base("array: MB/s", 2, "shared"),
    ),
    "array-chain": Workload(
        "An array of 10 MB through a chain of tasks, in a graph",
        {"value": "MB/s"},
        tasks=20,
        contenders=(*POOLS, "shared"),
        figures=to_base("array-chain: MB/s", 4, "shared"),
    ),
    "first": Workload(
        "The first result in a fresh process, beyond the start of Python (less is better)",
        {"value": "ms", "after_import": "ms from import"},
        tasks=7,
        quick_tasks=3,
        slow_tasks=2,
        contenders=(*POOLS, "pipes"),
        figures=first,
    ),
    "killed": Workload(
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


def table(workload: Workload, medians: Medians) -> list[str]:
    notes = Notes()
    headings = "".join(f"{heading:>15}" for heading in workload.columns.values())
    lines = [f"{'contender':<20}{'tasks':>8}{headings}{f'/ {BASE}':>12}  verdict"]
    for contender, place in medians.places.items():
        if problem := medians.problem(contender):
            cells = f"{notes.mark(f'{contender}: {problem}'):>15}"
        else:
            cells = "".join(f"{number(medians(contender, key)):>15}" for key in workload.columns)
            cells += f"{number(medians.to_base(contender)):>12}  {verdict_on(contender, workload, medians)}"
        lines.append(f"{contender:<20}{place.n:>8,}{cells}".rstrip())
    explained = [text for contender, text in EXPLAINED.items() if contender in medians.places]
    if len({place.n for place in medians.places.values()}) > 1:
        explained.append("Slow contenders run fewer tasks, and one round.")
    return [*lines, *notes.lines(), *explained]


def verdict_on(contender: str, workload: Workload, medians: Medians) -> str:
    if contender in LIMITS:
        return "(limit)"
    if contender != "weft":
        return ""
    words = {finding.verdict.partition(":")[0] for finding in workload.figures(medians)} - {""}
    return "MISSED" if "MISSED" in words else "".join(words)


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def names_of(workload: Workload, chosen: Sequence[str]) -> list[str]:
    """Give the contenders that were chosen; one that is run on request stands beside weft."""
    names: list[str] = []
    for contender in workload.contenders:
        if contender.partition("/")[0] in chosen:
            names.append(contender)
        if contender == "weft":
            names += [name for name in chosen if name.startswith("weft-")]
    return names
