"""The measurements beside the race, each with the figure that it is to meet."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chains import CASES
from child import in_child

LIMIT_S = 180.0

KIB = 1024
MOST_BYTES_PER_TASK = 2 * KIB
MOST_CHAIN_MB = 40
MOST_CLOSURE_RATIO = 3.0
MOST_RATIO_TO_SCAN = 1.5
MOST_IMPORT_MS = 10.0


@dataclass(frozen=True)
class Finding:
    """One line of the report. Without a verdict it stands there for comparison; `wrong` fails the run."""

    name: str
    value: str
    figure: str = ""
    verdict: str = ""
    wrong: bool = False


@dataclass(frozen=True)
class Scale:
    """How large the measurements are."""

    tasks: int = 100_000
    starts: int = 20
    repeats: int = 15


QUICK = Scale(tasks=10_000, starts=5, repeats=5)


def verdict(met: bool) -> str:
    return "ok" if met else "MISSED"


def not_measured(name: str, problem: str, of_weft: bool = True) -> Finding:
    return Finding(name, "-", verdict=problem, wrong=of_weft)


def pending(scale: Scale) -> Iterator[Finding]:
    for contender in ("weft", "plain", "parman"):
        for traced in (True, False):
            means = "traced" if traced else "resident"
            name = f"{contender}, {scale.tasks:,} tasks pending, {means}"
            outcome = in_child("pending", LIMIT_S, contender=contender, n=scale.tasks, traced=traced)
            judged = contender == "weft" and traced
            if outcome.problem:
                yield not_measured(name, outcome.problem, contender == "weft")
                continue
            per_task = outcome.numbers["bytes"]
            figure = f"<= {MOST_BYTES_PER_TASK:,} bytes a task" if judged else ""
            met = verdict(per_task <= MOST_BYTES_PER_TASK) if judged else ""
            yield Finding(name, f"{per_task:,.0f} bytes a task", figure, met)


def chains(scale: Scale) -> Iterator[Finding]:
    for case in CASES:
        name = f"{scale.tasks:,} links: {case}"
        outcome = in_child("chain", LIMIT_S, case=case, n=scale.tasks)
        if outcome.problem:
            yield not_measured(name, outcome.problem)
        else:
            yield Finding(name, f"{outcome.numbers['us']:.1f} µs a link", "completes", "ok")


def runners(_scale: Scale) -> Iterator[Finding]:
    for schedule in (True, False):
        for traced in (True, False):
            means = "traced" if traced else "resident"
            name = f"50 calls with 10 MB results, schedule={schedule}, {means}"
            outcome = in_child("runner", LIMIT_S, schedule=schedule, traced=traced)
            if outcome.problem:
                yield not_measured(name, outcome.problem)
                continue
            peak = outcome.numbers["peak_mb"]
            met = verdict(peak <= MOST_CHAIN_MB)
            yield Finding(name, f"peak grows by {peak:.1f} MB", f"<= {MOST_CHAIN_MB} MB", met)


def closure(scale: Scale) -> Iterator[Finding]:
    name = "Closure on 1,000,000 floats"
    outcome = in_child("closure", LIMIT_S, n=1_000_000, repeats=scale.repeats)
    if outcome.problem:
        yield not_measured(name, outcome.problem)
        return
    copy, scan, taken = (outcome.numbers[key] for key in ("copy", "scan", "closure"))
    limit_misses_too = scan > MOST_CLOSURE_RATIO * copy
    if taken <= MOST_CLOSURE_RATIO * copy:
        met = "ok"
    elif limit_misses_too and taken <= MOST_RATIO_TO_SCAN * scan:
        met = f"ok: {taken / scan:.2f} x the limit, itself over the figure"
    else:
        met = "MISSED"
    yield Finding("copying that list", f"{copy:.1f} ms")
    yield Finding("limit: look at each type, and copy", f"{scan:.1f} ms = {scan / copy:.1f} x copying")
    figure = f"<= {MOST_CLOSURE_RATIO:.0f} x"
    yield Finding(name, f"{taken:.1f} ms = {taken / copy:.1f} x copying", figure, met)


def imports(scale: Scale) -> Iterator[Finding]:
    outcome = in_child("imports", LIMIT_S, starts=scale.starts)
    if outcome.problem:
        yield not_measured("import weft", outcome.problem)
        return
    base = outcome.numbers["futures"]
    more = outcome.numbers["weft"] - base
    names = outcome.numbers["weft_names"] - base
    yield Finding("python -c pass", f"{outcome.numbers['python']:.1f} ms CPU")
    yield Finding("import concurrent.futures", f"{base:.1f} ms CPU")
    figure = f"<= {MOST_IMPORT_MS:.0f} ms more"
    yield Finding("import weft", f"{more:+.1f} ms CPU", figure, verdict(more <= MOST_IMPORT_MS))
    yield Finding("from weft import task, ConcurrentRunner", f"{names:+.1f} ms CPU")


PARTS: dict[str, Callable[[Scale], Iterator[Finding]]] = {
    "memory": pending,
    "long-chains": chains,
    "runners": runners,
    "closure": closure,
    "imports": imports,
}
