"""The tables: pure functions from results to lines of at most 100 columns."""

from collections.abc import Iterable, Sequence

from further import Finding
from rounds import Plan, Results, Start

PEERS = ("parman", "dask", "parsl")
MAIN = ("floor", "plain", "weft", *PEERS)
LIMITS = ("floor", "floor-direct", "floor-futures", "hand-overs", "weft")

LIMITS_ONLY = {"floor-direct", "floor-futures", "hand-overs"}
EXPLAINED = (
    "floor-direct:  done-callbacks submit from the workers, not from one thread (no such promise)",
    "floor-futures: the floor that takes tasks one by one and hands out a future for each",
    "hand-overs:    two threads that wake each other once per link, without any task",
    "chain-1cpu:    the chain with the process pinned to one CPU: no waking of a second one",
)

MOST_RATIO_TO_FLOOR = 2.0
MOST_GROWTH = 1.3


def cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


class Notes:
    """Numbered footnotes; equal texts share a number."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def mark(self, text: str) -> str:
        if text not in self._texts:
            self._texts.append(text)
        return f"-[{self._texts.index(text) + 1}]"

    def lines(self) -> list[str]:
        return [f"[{number}] {text}"[:100] for number, text in enumerate(self._texts, 1)]


def race_table(plan: Plan, results: Results) -> list[str]:
    """Time per task of all contenders, and weft's verdict in each row."""
    notes = Notes()
    contenders = [name for name in MAIN if name in plan.contenders]
    head = f"{'shape':<13}{'tasks':>8}" + "".join(f"{name:>8}" for name in contenders)
    lines = [head + f"{'w/floor':>9}  verdict"]
    for shape in plan.shapes:
        for n in plan.sizes:
            starts = [Start(name, shape, n) for name in contenders]
            cells = "".join(f"{time_or_note(results, start, notes):>8}" for start in starts)
            to_floor = ratio(results.median("weft", shape, n), results.median("floor", shape, n))
            row = f"{shape:<13}{n:>8,}{cells}{times(to_floor):>9}  {row_verdict(results, shape, n)}"
            lines.append(row.rstrip())
    return [*lines, *notes.lines()]


def time_or_note(results: Results, start: Start, notes: Notes) -> str:
    value = results.median(*start)
    if value is None and start in results.problems:
        return notes.mark(f"{start.contender}: {results.problems[start]}")
    return cell(value)


def row_verdict(results: Results, shape: str, n: int) -> str:
    weft = results.median("weft", shape, n)
    to_floor = ratio(weft, results.median("floor", shape, n))
    if weft is None or to_floor is None:
        return ""
    misses = [f"> {MOST_RATIO_TO_FLOOR:.1f} x floor"] if to_floor > MOST_RATIO_TO_FLOOR else []
    for peer in PEERS:
        peers_time = results.median(peer, shape, n)
        if peers_time is not None and peers_time <= weft:
            misses.append(f"{peer} faster")
    return "MISSED: " + ", ".join(misses) if misses else "ok"


def growth_table(plan: Plan, results: Results) -> list[str]:
    """Weft's time per task at the largest size over that at the smallest, and the floor's beside it."""
    smallest, largest = plan.sizes[0], plan.sizes[-1]
    lines = [f"{'shape':<13}{f'{smallest:,}':>10}{f'{largest:,}':>10}{'ratio':>8}{'floor':>8}  verdict"]
    for shape in plan.shapes:
        small, large = (results.median("weft", shape, n) for n in (smallest, largest))
        floors = ratio(*(results.median("floor", shape, n) for n in (largest, smallest)))
        grown = ratio(large, small)
        row = f"{shape:<13}{cell(small):>10}{cell(large):>10}{times(grown):>8}{times(floors):>8}"
        row += f"  {growth_verdict(grown, floors)}"
        lines.append(row.rstrip())
    return lines


def growth_verdict(grown: float | None, floors: float | None) -> str:
    if grown is None:
        return ""
    if grown <= MOST_GROWTH:
        return "ok"
    too = ", and so does the floor" if floors is not None and floors > MOST_GROWTH else ""
    return f"MISSED: > {MOST_GROWTH}{too}"


def limits_table(plan: Plan, results: Results) -> list[str]:
    """The floors beside each other: what each promise of a scheduler costs in plain Python."""
    contenders = [name for name in LIMITS if name in plan.contenders]
    lines = [f"{'shape':<13}{'tasks':>8}" + "".join(f"{name:>15}" for name in contenders)]
    for shape in plan.shapes:
        for n in plan.sizes:
            cells = "".join(f"{cell(results.median(name, shape, n)):>15}" for name in contenders)
            lines.append(f"{shape:<13}{n:>8,}{cells}")
    return lines


def findings_table(findings: Iterable[Finding]) -> list[str]:
    lines = []
    for finding in findings:
        row = f"{finding.name:<49} {finding.value:<24} {finding.figure:<16} {finding.verdict}"
        lines += folded(row.rstrip())
    return lines


def folded(row: str, width: int = 100) -> list[str]:
    """Break a row that is too wide before its last column."""
    if len(row) <= width:
        return [row]
    at = row.rfind("  ", 0, width)
    return [row[:at].rstrip(), "    " + row[at:].strip()[: width - 4]]


def race_report(plan: Plan, results: Results) -> list[str]:
    lines = section("Time per no-op task over ThreadPoolExecutor(2), µs, medians", race_table(plan, results))
    if len(plan.sizes) > 1 and "weft" in plan.contenders:
        lines += section("Does weft's time per task stay flat? (floor: its ratio)", growth_table(plan, results))
    if LIMITS_ONLY.intersection(plan.contenders):
        lines += section("What Python charges per task, µs", [*limits_table(plan, results), *EXPLAINED])
    return lines


def section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, "-" * len(title), *lines]
