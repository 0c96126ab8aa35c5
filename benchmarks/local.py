"""Measure weft's LocalExecutor beside its peers: `python benchmarks/local.py`, or `make bench-local`.

Prints the tables on stdout and the progress on stderr. The verdicts are words; the exit code is 1 only
when weft gave a wrong answer, or none.
"""

import json
import sys
from dataclasses import asdict, dataclass
from random import Random
from time import perf_counter

from child import Outcome, in_child, in_words
from command import load, machine, parser_for, say, show
from figures import BASE, WORKLOADS, Medians, names_of, table
from local_peers import CONTENDERS, ON_REQUEST
from report import findings_table, section
from rounds import Results, Start, interleaved, make_all

# The figures rest on these; the others need fewer rounds to be told apart, and the slow ones one.
JUDGED = ("weft", BASE)


@dataclass(frozen=True)
class Plan:
    """Which starts to make, and how often."""

    contenders: list[str]
    workloads: list[str]
    quick: bool = False

    def places(self, name: str) -> dict[str, Start]:
        workload = WORKLOADS[name]
        contenders = names_of(workload, self.contenders)
        return {each: Start(each, name, workload.tasks_of(each, self.quick)) for each in contenders}

    def starts(self) -> list[Start]:
        topics = [list(self.places(name).values()) for name in self.workloads]
        return list(interleaved(topics, self.rounds, Random(0)))

    def rounds(self, start: Start) -> int:
        most = WORKLOADS[start.shape].rounds
        if start.contender.partition("/")[0] in JUDGED:
            return min(3, most) if self.quick else most
        return 1 if self.quick or start.contender in WORKLOADS[start.shape].slow else min(3, most)


def main() -> int:
    options = parser_for(
        __doc__, list(WORKLOADS), list(CONTENDERS), "fewer tasks and rounds: about 8 minutes", list(ON_REQUEST)
    ).parse_args()
    print(machine(), flush=True)
    started = perf_counter()
    plan = Plan(options.contenders, options.only, options.quick)
    results = make_all(plan.starts(), measure, say, unit)
    report(plan, results)
    show(["", f"{perf_counter() - started:.0f} s in all; {load()}"])
    if options.json:
        options.json.write_text(json.dumps(as_json(plan, results), indent=1) + "\n")
    return int(any(start.contender.startswith("weft") for start in results.problems))


def measure(start: Start, results: Results) -> Outcome:
    if start in results.problems:
        return Outcome(problem=results.problems[start])
    outcome = in_child("workload", WORKLOADS[start.shape].limit_s, **start._asdict())
    return Outcome(outcome.numbers, in_words(outcome.problem))


def unit(workload: str) -> tuple[str, str]:
    return "value", WORKLOADS[workload].columns["value"]


def report(plan: Plan, results: Results) -> None:
    findings = []
    for name in plan.workloads:
        medians = Medians(results, plan.places(name))
        show(section(WORKLOADS[name].title, table(WORKLOADS[name], medians)))
        findings += list(WORKLOADS[name].figures(medians))
    show(section("The figures", findings_table(findings)))


def as_json(plan: Plan, results: Results) -> dict[str, object]:
    findings = {
        name: [asdict(finding) for finding in WORKLOADS[name].figures(Medians(results, plan.places(name)))]
        for name in plan.workloads
    }
    return {"machine": machine(), **results.as_json(), "findings": findings}


if __name__ == "__main__":
    sys.exit(main())
