"""The workloads of `slurm.py`, the figures they are to meet, and the table of calls."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from further import Finding, verdict
from plan import Medians, Workload, judged, judged_most, number
from report import ratio
from slurm_calls import NAMES
from slurm_peers import CONTENDERS, PILOTS, POLL_S

BASE = "by-hand"
ONE_JOB_PER_CALL = ("clusterfutures", "submitit", "dawgz", "executorlib")

MOST_SBATCH = 10
MOST_TO_BASE = 1.2
LEAST_AHEAD = 1.5
MOST_SUBMIT_US = 200
MOST_WAITING = 2
LEAST_PACKED = 10

EXPLAINED = {
    "weft/50": "weft/50: with tasks_per_job=50",
    "by-hand": "by-hand: one script, one array; plain Python unpickles the call, and leaves the result in a file",
    "bare": "bare: an array of `python -c pass`; it has no results",
    "submitit/array": "submitit/array: map_array; submitit alone is a job for each call",
    "dawgz/array": "dawgz/array: its array; dawgz alone is a job for each call. Results: files, as by-hand",
    "parsl": "parsl, dask-jobqueue: one job with two workers, which all tasks go to",
}


@dataclass(frozen=True)
class OnSlurm(Workload):
    """A workload on the cluster."""

    slow: tuple[str, ...] = (*ONE_JOB_PER_CALL, "submitit/array", "dawgz/array")
    rounds: int = 3
    limit_s: float = 240.0
    base: str = BASE
    limits: tuple[str, ...] = ("bare",)
    explained: Mapping[str, str] = field(default_factory=lambda: EXPLAINED)


def map_(medians: Medians) -> Iterator[Finding]:
    tasks = f"{medians.places['weft'].n:,} tasks" if "weft" in medians.places else ""
    if (calls := medians("weft", "sbatch")) is not None:
        yield Finding(
            f"map: {tasks}, calls of sbatch", f"{calls:.0f}", f"<= {MOST_SBATCH}", verdict(calls <= MOST_SBATCH)
        )
    queries, polls, gap = (medians("weft", key) for key in ("status", "polls", "gap"))
    if queries is not None and polls is not None:
        told = f"{queries:.0f}, {gap:.2f} s apart" if queries > 1 else f"{queries:.0f}"
        yield Finding(
            f"map: status queries, polls of {POLL_S:g} s or more", told, f"<= {polls:.0f}", verdict(queries <= polls)
        )
    yield from judged_most(f"map: time, to {BASE}", medians.to_base("weft"), MOST_TO_BASE)
    for peer in ONE_JOB_PER_CALL:
        yield from judged(
            f"map: time of {peer} per task, to weft's", ratio(medians(peer), medians("weft")), LEAST_AHEAD
        )
    for peer in PILOTS:
        if (times := ratio(medians(peer), medians("weft"))) is not None:
            yield Finding(f"map: time of {peer} per task, to weft's", f"{times:.2f} x")


def submit(medians: Medians) -> Iterator[Finding]:
    if (took := medians("weft")) is not None:
        yield Finding("submit: one call", f"{took:.0f} µs", f"< {MOST_SUBMIT_US} µs", verdict(took < MOST_SUBMIT_US))


def waiting(medians: Medians) -> Iterator[Finding]:
    if (used := medians("weft")) is not None:
        name = f"waiting: CPU of a client with {medians.places['weft'].n:,} tasks"
        yield Finding(name, f"{used:.2f} % of a core", f"< {MOST_WAITING} %", verdict(used < MOST_WAITING))


def packed(medians: Medians) -> Iterator[Finding]:
    yield from judged("packed: tasks/s, to weft's one by one", medians.to_base("weft/50"), LEAST_PACKED)


WORKLOADS: dict[str, Workload] = {
    "map": OnSlurm(
        "Tasks of no length through map, from making the executor to the last result",
        {"value": "ms a task", "s": "s"},
        tasks=1_000,
        quick_tasks=200,
        slow_tasks=200,
        contenders=tuple(CONTENDERS),
        figures=map_,
    ),
    "submit": OnSlurm(
        "One call of submit",
        {"value": "µs, median", "most": "µs, most"},
        tasks=1_000,
        quick_tasks=100,
        slow_tasks=50,
        contenders=("weft", *ONE_JOB_PER_CALL, *PILOTS),
        base="weft",
        figures=submit,
    ),
    "waiting": OnSlurm(
        "CPU time of a client whose tasks wait in the queue, all that it starts included",
        {"value": "% of a core", "calls": "calls a minute"},
        tasks=10_000,
        quick_tasks=1_000,
        slow_tasks=200,
        contenders=("weft", "clusterfutures", "submitit", "submitit/array", "executorlib", *PILOTS),
        slow=ONE_JOB_PER_CALL,
        base="weft",
        figures=waiting,
    ),
    "packed": OnSlurm(
        "The same as map, one by one and 50 to a job",
        {"value": "tasks/s", "s": "s"},
        tasks=10_000,
        quick_tasks=2_000,
        slow_tasks=1_000,
        contenders=("weft", "weft/50"),
        slow=("weft",),
        base="weft",
        figures=packed,
    ),
}


def calls_table(medians: Medians) -> list[str]:
    """Calls of each command, as `map` was measured; those of jobs are among them (srun is only called there)."""
    lines = [f"{'contender':<20}{'tasks':>8}" + "".join(f"{name:>9}" for name in NAMES) + f"{'a task':>9}"]
    for contender, place in medians.places.items():
        counted = [medians(contender, name) for name in NAMES]
        if None not in counted:
            cells = "".join(f"{number(count):>9}" for count in counted)
            lines.append(f"{contender:<20}{place.n:>8,}{cells}{number(sum(filter(None, counted)) / place.n):>9}")
    return lines
