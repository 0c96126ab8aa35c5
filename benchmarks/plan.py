"""Workloads that are measured for many contenders: who is measured in which, how often, and what is said of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import TypeAlias

from child import Outcome, in_child, in_words
from command import machine
from further import Finding, verdict
from report import Notes, findings_table, ratio, section
from rounds import Results, Start, interleaved

# Where a figure is beyond what the minimal program reaches, this many times its result counts as met.
MOST_TO_LIMIT = 1.5


@dataclass(frozen=True)
class Medians:
    """The medians of one workload, by contender."""

    results: Results
    places: dict[str, Start]
    base: str

    def __call__(self, contender: str, key: str = "value") -> float | None:
        place = self.places.get(contender)
        return self.results.median(*place, key) if place else None

    def problem(self, contender: str) -> str | None:
        return self.results.problems.get(self.places[contender])

    def to_base(self, contender: str) -> float | None:
        return ratio(self(contender), self(self.base))


Figures: TypeAlias = Callable[[Medians], Iterator[Finding]]


@dataclass(frozen=True)
class Workload:
    """One table of the report. Of a contender's numbers, the first column is compared with that of the base."""

    title: str
    columns: dict[str, str]
    tasks: int
    figures: Figures
    contenders: tuple[str, ...] = ()
    quick_tasks: int = 0
    slow_tasks: int = 0
    slow: tuple[str, ...] = ()
    rounds: int = 5
    limit_s: float = 120.0
    base: str = ""
    limits: tuple[str, ...] = ()
    explained: Mapping[str, str] = field(default_factory=dict)

    def tasks_of(self, contender: str, quick: bool) -> int:
        """Give how many tasks a contender runs: slow ones fewer, which is as well for times per task."""
        tasks = self.quick_tasks or self.tasks if quick else self.tasks
        if contender not in self.slow:
            return tasks
        return min(tasks, (self.slow_tasks or tasks) // (2 if quick and self.slow_tasks else 1))

    def rounds_of(self, contender: str, quick: bool) -> int:
        """Give how often: the figures rest on weft and the base; others are told apart sooner."""
        if contender.partition("/")[0] in ("weft", self.base):
            return min(3, self.rounds) if quick else self.rounds
        return 1 if quick or contender in self.slow else min(3, self.rounds)


@dataclass(frozen=True)
class Plan:
    """Which workloads are measured, and for whom."""

    workloads: Mapping[str, Workload]
    contenders: Sequence[str]
    quick: bool = False

    def places(self, name: str) -> dict[str, Start]:
        workload = self.workloads[name]
        contenders = names_of(workload, self.contenders)
        return {each: Start(each, name, workload.tasks_of(each, self.quick)) for each in contenders}

    def starts(self) -> list[Start]:
        topics = [list(self.places(name).values()) for name in self.workloads]
        return list(interleaved(topics, self.rounds, Random(0)))

    def rounds(self, start: Start) -> int:
        return self.workloads[start.shape].rounds_of(start.contender, self.quick)

    def measure(self, measurement: str, start: Start, results: Results) -> Outcome:
        """Measure once, in a process of its own; who has failed is not tried again."""
        if start in results.problems:
            return Outcome(problem=results.problems[start])
        outcome = in_child(measurement, self.workloads[start.shape].limit_s, **start._asdict())
        return Outcome(outcome.numbers, in_words(outcome.problem))

    def unit(self, name: str) -> tuple[str, str]:
        return "value", self.workloads[name].columns["value"]

    def medians(self, name: str, results: Results) -> Medians:
        return Medians(results, self.places(name), self.workloads[name].base)

    def tables(self, results: Results) -> list[str]:
        lines = []
        for name, workload in self.workloads.items():
            lines += section(workload.title, table(workload, self.medians(name, results)))
        return lines

    def figures(self, results: Results) -> list[str]:
        found = [finding for findings in self.findings(results).values() for finding in findings]
        return section("The figures", findings_table(found))

    def findings(self, results: Results) -> dict[str, list[Finding]]:
        return {name: list(each.figures(self.medians(name, results))) for name, each in self.workloads.items()}

    def as_json(self, results: Results) -> dict[str, object]:
        findings = {name: [asdict(each) for each in found] for name, found in self.findings(results).items()}
        return {"machine": machine(), **results.as_json(), "findings": findings}


def names_of(workload: Workload, chosen: Sequence[str]) -> list[str]:
    """Give the contenders that were chosen; one that is run on request stands beside weft."""
    names: list[str] = []
    for contender in workload.contenders:
        if contender.partition("/")[0] in chosen:
            names.append(contender)
        if contender == "weft":
            names += [name for name in chosen if name.startswith("weft-")]
    return names


# Figures --------------------------------------------------------------------------------------------------


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


# Tables ---------------------------------------------------------------------------------------------------


def table(workload: Workload, medians: Medians) -> list[str]:
    notes = Notes()
    headings = "".join(f"{heading:>15}" for heading in workload.columns.values())
    lines = [f"{'contender':<20}{'tasks':>8}{headings}{f'/ {workload.base}':>12}  verdict"]
    for contender, place in medians.places.items():
        if problem := medians.problem(contender):
            cells = f"{notes.mark(f'{contender}: {problem}'):>15}"
        else:
            cells = "".join(f"{number(medians(contender, key)):>15}" for key in workload.columns)
            cells += f"{number(medians.to_base(contender)):>12}  {verdict_on(contender, workload, medians)}"
        lines.append(f"{contender:<20}{place.n:>8,}{cells}".rstrip())
    explained = [text for contender, text in workload.explained.items() if contender in medians.places]
    if len({place.n for place in medians.places.values()}) > 1:
        explained.append("Slow contenders run fewer tasks, and peers among them one round.")
    return [*lines, *notes.lines(), *explained]


def verdict_on(contender: str, workload: Workload, medians: Medians) -> str:
    if contender in workload.limits:
        return "(limit)"
    if contender != "weft":
        return ""
    words = {finding.verdict.partition(":")[0] for finding in workload.figures(medians)} - {""}
    return "MISSED" if "MISSED" in words else "".join(words)


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
