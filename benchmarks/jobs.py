"""Measure weft's jobs beside their peers: `python benchmarks/jobs.py`, or `make bench-jobs`.

Prints the tables on stdout and the progress on stderr. The verdicts are words; the exit code is 1 only
when weft gave a wrong answer, or none.
"""

import json
import sys
from dataclasses import asdict
from random import Random
from time import perf_counter

from child import Outcome, in_child, in_words
from command import load, machine, parser_for, say, show
from job_figures import BACKENDS, CONTENDERS, GRAPHS, PARTS, PEERS, findings, peers_table, rounds, topics, unit
from report import findings_table, section
from rounds import Results, Start, interleaved, make_all

LIMIT_S = 120.0

TITLES = {
    "threads": "Time per no-op job, declared and run in threads, µs, medians",
    "local": "Time per no-op job, declared and run in two worker processes, µs, medians",
}


def main() -> int:
    options = parser_for(__doc__, PARTS, CONTENDERS, "fewer rounds, at most 10,000 jobs: about 4 minutes").parse_args()
    parts = list(options.only)
    print(machine(), flush=True)
    started = perf_counter()
    plan = list(topics(list(options.contenders), parts, options.quick))
    starts = list(interleaved(plan, lambda start: rounds(start, options.quick), Random(0)))
    results = make_all(starts, measure, say, unit)
    found = list(findings(results, parts))
    if set(parts) & set(GRAPHS):
        for backend in BACKENDS:
            if {"weft", *PEERS[backend]} & set(options.contenders):
                show(section(TITLES[backend], peers_table(results, parts, backend)))
    show(section("The figures", findings_table(found)))
    show(["", f"{perf_counter() - started:.0f} s in all; {load()}"])
    if options.json:
        facts = {"machine": machine(), **results.as_json(), "findings": [asdict(finding) for finding in found]}
        options.json.write_text(json.dumps(facts, indent=1) + "\n")
    return int(any(start.contender.startswith("weft") for start in results.problems))


def measure(start: Start, results: Results) -> Outcome:
    if start in results.problems:
        return Outcome(problem=results.problems[start])
    outcome = in_child("jobs", LIMIT_S, **start._asdict())
    return Outcome(outcome.numbers, in_words(outcome.problem))


if __name__ == "__main__":
    sys.exit(main())
