"""Measure weft's SlurmExecutor beside its peers: `python benchmarks/slurm.py`, or `make bench-slurm`.

Prints the tables on stdout and the progress on stderr. The verdicts are words; the exit code is 1 only
when weft gave a wrong answer, or none, and 2 where there is no Slurm.
"""

import json
import sys
from functools import partial
from pathlib import Path
from time import perf_counter

from child import Outcome
from command import load, machine, parser_for, say, show
from plan import Plan
from report import section
from rounds import Results, Start, make_all
from slurm_cluster import NoClusterError, clean, cluster, version
from slurm_figures import WORKLOADS, calls_table
from slurm_peers import CONTENDERS


def main() -> int:
    names = list(dict.fromkeys(name.partition("/")[0] for name in CONTENDERS))
    parser = parser_for(__doc__, list(WORKLOADS), names, "fewer tasks and rounds: about 8 minutes")
    own = "a cluster of tools/slurm, used and left up (default: one of its own). What is queued there is cancelled"
    parser.add_argument("--cluster", type=Path, metavar="DIR", help=own)
    options = parser.parse_args()
    plan = Plan({name: WORKLOADS[name] for name in options.only}, options.contenders, options.quick)
    try:
        with cluster(options.cluster):
            print(f"{version()}; {machine()}", flush=True)
            started = perf_counter()
            results = make_all(plan.starts(), partial(measure, plan), say, plan.unit)
            clean()
    except NoClusterError as error:
        say(str(error))
        return 2
    show(plan.tables(results))
    if "map" in plan.workloads:
        show(section("Calls of Slurm's commands in map", calls_table(plan.medians("map", results))))
    show(plan.figures(results))
    show(["", f"{perf_counter() - started:.0f} s in all; {load()}"])
    if options.json:
        options.json.write_text(json.dumps(plan.as_json(results), indent=1) + "\n")
    return int(any(start.contender.startswith("weft") for start in results.problems))


def measure(plan: Plan, start: Start, results: Results) -> Outcome:
    clean()
    return plan.measure("slurm", start, results)


if __name__ == "__main__":
    sys.exit(main())
